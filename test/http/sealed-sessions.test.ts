import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { openDatabase } from '../../src/app.ts'
import { fromB64u, toB64u } from '../../src/crypto/encoding.ts'
import { padded } from '../../src/crypto/records.ts'
import type { SealedSuite } from '../../src/crypto/suites.ts'
import { COMPONENT_TYPES } from '../../src/wire/sealed.ts'
import { DATABASES, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { ACTOR, type Bench, openBench, runProgram } from '../support/legacy.ts'
import {
  checkData,
  injecting,
  MACHINE,
  OTHER_MACHINE,
  openSession,
  type Post,
  payloadOf,
  pinOf,
} from '../support/sealed.ts'

// Of a time to come, so that the database's own clean-up leaves these sessions alone.
const NOW = Date.UTC(2031, 5, 1, 12)
const NO_LIMITS = { RATE_LIMIT_PER_MINUTE: '0', SEALED_S3: 'true' }
const SUITES = ['S1', 'S2', 'S3'] as const
const ADDRESS = '198.51.100.7'

type Shop = { bench: Bench; post: Post; key: string; licenceId: string }

/** A server with one product and one licence. */
async function openShop(t: Test, { freshConfig }: TestDatabase, env: TestEnv = NO_LIMITS): Promise<Shop> {
  const bench = await openBench(t, await freshConfig(t, env), NOW)
  await bench.app.products.create(ACTOR, 'demo', 'Demo', { sk: 'skv', status1Text: 'Selamat' })
  const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: NOW + 30 * 86_400_000 }
  const { key, licence } = await bench.app.licences.create(ACTOR, wish)
  return { bench, post: injecting(bench, ADDRESS), key, licenceId: licence.id }
}

function begin({ bench, post }: Shop, suite: SealedSuite = 'S1', path?: string) {
  return openSession(post, pinOf(bench.app, suite), path)
}

async function events({ bench }: Shop, type: string) {
  await bench.app.events.flush()
  return bench.app.events.list({ type, limit: 1000 })
}

for (const database of DATABASES) {
  t.test(database.name, async (t) => {
    for (const suite of SUITES)
      t.test(`${suite}: a good licence is granted, its machine enrolled once and known again`, async (t) => {
        const shop = await openShop(t, database)
        const session = await begin(shop, suite)
        t.equal(session.maxSeq, 1000)
        const first = await session.call('licence.check', checkData(shop.key))
        t.match(first, { status: 200, code: 'ok', server_time: NOW / 1000 })
        t.match(first.data, {
          valid: true,
          message: 'The licence is valid.',
          device: { id: /^dev_/ },
          entitlements: [],
          variables: { sk: 'skv', sck: '', maintenance: 'no', status1_text: 'Selamat' },
          support_code: /^[0-9A-Z]{5}-[0-9A-Z]{5}$/,
        })
        shop.bench.clock.advance(1)
        const again = await (await begin(shop, suite)).call('licence.check', {
          ...checkData(shop.key),
          lang: 'id',
        })
        t.match(again.data, { valid: true, device: first.data.device as object, message: 'Lisensi berlaku.' })
        const devices = await shop.bench.app.devices.list({ licenceId: shop.licenceId, limit: 10 })
        t.match(devices, [{ slotNo: 1 }])
        t.equal(devices.length, 1)
        t.match(await events(shop, 'licence_check_allowed'), [
          { detail: { reason: 'device_enrolled', contract: suite } },
          { detail: { reason: 'known_device' } },
        ])
      })

    t.test('a machine of as many parts as can be sent is known by the last of them too', async (t) => {
      const shop = await openShop(t, database)
      const hardware = Object.fromEntries(
        COMPONENT_TYPES.map((type) => [type, Array.from({ length: 8 }, (_, i) => `${type}-${i}-${type}`)]),
      )
      const ask = async (of: typeof hardware) => {
        const { code, data } = await (await begin(shop)).call('licence.check', checkData(shop.key, of))
        return [code, data.device]
      }
      const [code, device] = await ask(hardware)
      t.equal(code, 'ok')
      const { disk, mac, osid, tpm } = hardware
      t.same(await ask({ disk: disk!, mac: mac!, osid: osid!, tpm: tpm! }), ['ok', device])
    })

    t.test('every refusal of a licence has its sealed code, and its event the reason', async (t) => {
      const shop = await openShop(t, database)
      const { licences, products } = shop.bench.app
      const session = await begin(shop)
      const ask = async (licence: string, hardware = MACHINE, tool = 'demo') => {
        // Events of one millisecond are in no order.
        shop.bench.clock.advance(1)
        const { status, code, data } = await session.call('licence.check', checkData(licence, hardware, tool))
        if (status !== 200) t.match(data, { valid: false, message: /./, support_code: /-/ })
        return `${status} ${code}`
      }
      t.equal(await ask(shop.key), '200 ok')
      t.equal(await ask('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'), '403 licence_invalid', 'unknown')
      t.equal(await ask(`${shop.key.slice(0, -1)}U`), '403 licence_invalid', 'wrong check symbol')
      await products.create(ACTOR, 'other', 'Other')
      t.equal(await ask(shop.key, MACHINE, 'other'), '403 licence_invalid', 'of another tool')
      t.equal(await ask(shop.key, MACHINE, 'nothing'), '403 licence_invalid', 'of no tool')
      t.equal(await ask(shop.key, OTHER_MACHINE), '403 device_limit')
      t.equal(await ask(shop.key, { board: ['X1Y2Z3'], cpu: ['A1B2C3'] }), '403 device_weak')
      await licences.suspend(ACTOR, shop.licenceId, 'unpaid')
      t.equal(await ask(shop.key), '403 licence_invalid', 'suspended')
      await licences.resume(ACTOR, shop.licenceId)
      t.equal(await ask(shop.key), '200 ok')
      await licences.renew(ACTOR, shop.licenceId, shop.bench.clock())
      t.equal(await ask(shop.key), '403 licence_expired')
      const reasons = (await events(shop, 'licence_check_denied')).map(({ detail }) => detail.reason)
      t.same(reasons, [
        ...['unknown', 'unknown', 'wrong_tool', 'wrong_tool', 'device_limit'],
        ...['device_weak', 'suspended', 'licence_expired'],
      ])
    })

    t.test('a machine is known again by most of its parts, and never by fewer', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      const ask = async (hardware: typeof MACHINE) =>
        (await session.call('licence.check', checkData(shop.key, hardware))).code
      t.equal(await ask(MACHINE), 'ok')
      t.equal(await ask({ ...MACHINE, disk: ['NEWDISK0001'] }), 'ok', 'another disk')
      t.equal(await ask({ ...MACHINE, disk: ['NEWDISK0002'], board: ['B2'], osid: ['O2'] }), 'device_limit')
      const { board, bios, disk, ...rest } = MACHINE
      t.equal(await ask({ board: board!, bios: bios!, disk: disk! }), 'ok', 'nine of fourteen')
      t.equal(await ask({ board: board!, bios: bios! }), 'device_weak', 'six of fourteen')
      t.equal(await ask(rest), 'device_weak', 'no anchor')
    })

    t.test('the first sealed enrolment ends the binding of the old contract, with an event', async (t) => {
      const shop = await openShop(t, database)
      t.match((await runProgram(shop.bench, '1234567890', shop.key)).json(), { status: 'success' })
      const session = await begin(shop)
      t.match(await session.call('licence.check', checkData(shop.key)), { code: 'ok' })
      const devices = await shop.bench.app.devices.list({ licenceId: shop.licenceId, limit: 10 })
      t.same(devices.map(({ slotNo }) => slotNo).sort(), [1, null])
      const [ended] = await events(shop, 'device_binding_ended')
      t.equal(ended?.deviceId, devices.find(({ slotNo }) => slotNo === null)?.id)
      t.match((await runProgram(shop.bench, '1234567890')).json(), { code: 'NOT_FOUND' })
      t.match(
        (await runProgram(shop.bench, '1234567890', shop.key)).json(),
        { code: 'NOT_FOUND' },
        'nor anew',
      )
    })

    t.test(
      'a binding of the old contract that came at the same moment ends with the next check',
      async (t) => {
        const shop = await openShop(t, database)
        const session = await begin(shop)
        t.match(await session.call('licence.check', checkData(shop.key)), { code: 'ok' })
        const db = await openDatabase(shop.bench.config)
        t.teardown(() => db.close())
        await db.run(
          'INSERT INTO kunci_devices (id, licence_id, slot_no, created_at_ms) VALUES (?, ?, ?, ?)',
          [...['dev_LATE', shop.licenceId, 0, NOW]],
        )
        t.match(await session.call('licence.check', checkData(shop.key)), { code: 'ok' })
        const devices = await shop.bench.app.devices.list({ licenceId: shop.licenceId, limit: 10 })
        t.same(devices.map(({ slotNo }) => slotNo).sort(), [1, null])
        t.match(await events(shop, 'device_binding_ended'), [{ deviceId: 'dev_LATE' }])
      },
    )

    t.test('a lease is kept until half of it is spent or something in it changes', async (t) => {
      const shop = await openShop(t, database)
      const check = async (hardware = MACHINE) => {
        const session = await begin(shop)
        return String((await session.call('licence.check', checkData(shop.key, hardware))).data.lease)
      }
      const first = await check()
      const { iat, exp, nbf, seq, aud, sub, iss, dev, hw } = payloadOf(first)
      t.same([exp - iat, iat - nbf, seq, aud], [7 * 86_400, 300, 1, 'tool:demo'])
      t.same([sub, iss], [shop.licenceId, shop.bench.app.issuer])
      t.match(dev, /^dev_/)
      t.same(Object.keys(hw.c).sort(), Object.keys(MACHINE).sort())
      shop.bench.clock.advance(3 * 86_400_000)
      t.equal(await check(), first, 'less than half')
      shop.bench.clock.advance(86_400_000)
      t.equal(payloadOf(await check()).seq, 2, 'more than half')
      t.equal(payloadOf(await check({ ...MACHINE, disk: ['NEWDISK0001'] })).seq, 3, 'another disk')
      await shop.bench.app.licences.renew(ACTOR, shop.licenceId, shop.bench.clock() + 86_400_000)
      const short = payloadOf(await check())
      t.same([short.seq, short.exp - short.iat, short.grace], [4, 86_400, 0], 'never beyond its licence')
      t.equal(short.run, 86_400, 'not by a clock that stands still either')
    })

    t.test('lease.issue signs anew with the nonce of its request, once for each nonce', async (t) => {
      const shop = await openShop(t, database)
      const nonce = toB64u(randomBytes(16))
      const first = await (await begin(shop)).call('lease.issue', checkData(shop.key), { nonce })
      const again = await (await begin(shop)).call('lease.issue', checkData(shop.key), { nonce })
      const next = await (await begin(shop)).call('lease.issue', checkData(shop.key))
      t.match(payloadOf(first.data.lease), { seq: 1, nonce })
      t.equal(again.data.lease, first.data.lease, 'asked for again in another session')
      t.equal(payloadOf(next.data.lease).seq, 2)
      t.equal((await events(shop, 'lease_issued')).length, 2)
      const session = await begin(shop)
      t.match(await session.call('log.push', { level: 'info', text: 'x' }, { nonce }), { code: 'ok' })
    })

    t.test('what a client logs is kept for the operator, once for each nonce', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      const nonce = toB64u(randomBytes(16))
      const text = `${'\u{1f600}\n'.repeat(400)}${'a'.repeat(48)}`
      t.equal(Buffer.byteLength(text), 2048)
      for (const data of [
        { level: 'info', text },
        { level: 'info', text },
      ])
        t.match(await session.call('log.push', data, { nonce }), { status: 200, data: {} })
      t.match(await events(shop, 'client_log'), [{ detail: { level: 'info', text, contract: 'S1' } }])
      t.equal((await events(shop, 'client_log')).length, 1)
      for (const data of [
        { level: 'fatal', text },
        { level: 'info', text: `${text}a` },
        { level: 'info', text: '' },
        { level: 'info', text: '\ud800' },
        { level: 'info', text: 'a\u001b[31m' },
        { level: 'info' },
        { level: 'info', text: 'x', more: 1 },
      ])
        t.match(await session.call('log.push', data), { status: 400, code: 'bad_data' })
    })

    t.test(
      'a retry with the same bytes gets the same bytes, another body under its number a conflict',
      async (t) => {
        const shop = await openShop(t, database)
        const session = await begin(shop)
        const message = session.seal('licence.check', checkData(shop.key))
        const first = await session.send(message)
        shop.bench.clock.advance(1000)
        t.same(await session.send(message), first)
        const other = session.seal('ping', {}, { as: 1 })
        t.match(session.open(other, await session.send(other)), { status: 409, code: 'seq_conflict' })
        t.same(await session.send(message), first, 'still')
        t.match(await session.call('ping', {}, { as: 900 }), { code: 'ok' }, 'numbers in any order')
        t.match(await session.call('ping', {}, { as: 3 }), { code: 'ok' })
        t.equal((await events(shop, 'licence_check_allowed')).length, 1)
      },
    )

    t.test('a refusal is stored and replayed like any reply', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      const message = session.seal('licence.check', checkData('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'))
      const first = await session.send(message)
      t.match(session.open(message, first), { status: 403, code: 'licence_invalid' })
      t.same(await session.send(message), first)
      t.equal((await events(shop, 'licence_check_denied')).length, 1)
    })

    t.test('a session that was closed answers retries for a minute, and nothing else', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      const before = session.seal('ping', {})
      const pong = await session.send(before)
      const closing = session.seal('session.close', {})
      const closed = await session.send(closing)
      t.match(session.open(closing, closed), { status: 200, code: 'ok' })
      shop.bench.clock.advance(1000)
      t.same(await session.send(before), pong)
      t.same(await session.send(closing), closed)
      t.match(await session.call('ping', {}), { status: 401, code: 'session_expired' })
      const other = session.seal('ping', {}, { as: 1 })
      t.match(session.open(other, await session.send(other)), { code: 'session_expired' })
      shop.bench.clock.advance(60_000)
      t.same(await session.send(before), { status: 401, text: '{"v":1,"error":"session"}' })
    })

    t.test('a session expires by itself, and says so for a minute', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      shop.bench.clock.advance(299_000)
      t.match(await session.call('ping', {}), { code: 'ok' })
      shop.bench.clock.advance(1000)
      t.match(await session.call('licence.check', checkData(shop.key)), {
        status: 401,
        code: 'session_expired',
      })
      shop.bench.clock.advance(61_000)
      t.equal((await session.send(session.seal('ping', {}))).status, 401)
      t.equal((await shop.bench.app.devices.list({ limit: 10 })).length, 0)
    })

    t.test('requests that ask for nothing sensible are answered as bad data, inside the box', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      const good = checkData(shop.key)
      const nonce = toB64u(randomBytes(16))
      const digest = toB64u(randomBytes(32))
      for (const data of [
        {},
        { ...good, extra: 1 },
        { ...good, licence: 1 },
        { ...good, licence: 'x'.repeat(65) },
        { ...good, tool: undefined },
        { ...good, tool: '' },
        { ...good, tool: '\ud800' },
        { ...good, tool: 'de mo' },
        { ...good, lang: 'fr' },
        { ...good, hwid: { ...good.hwid, v: 2 } },
        { ...good, hwid: { v: 1, c: { gpu: [digest] } } },
        { ...good, hwid: { v: 1, c: { board: [] } } },
        { ...good, hwid: { v: 1, c: { board: [digest.slice(1)] } } },
        { ...good, hwid: { v: 1, c: { board: [`${digest.slice(0, -1)}_`] } } },
        { ...good, hwid: { v: 1, c: { board: [digest, digest] } } },
        { ...good, hwid: JSON.parse('{"v":1,"c":{"__proto__":["x"]}}') },
      ])
        t.match(await session.call('licence.check', data), { status: 400, code: 'bad_data', data: {} })
      for (const plaintext of [
        padded(''),
        padded('[]'),
        padded('null'),
        padded(`{"nonce":"${nonce}","data":[]}`),
        padded(`{"nonce":"${nonce}"}`),
        padded(`{"nonce":"x","data":{}}`),
        padded(`{"nonce":"${nonce.slice(0, -1)}_","data":{}}`),
        padded(`{"nonce":"${nonce}","data":{},"more":1}`),
        Buffer.concat([padded(`{"nonce":"${nonce}","data":{}}`), Buffer.from([0xff])]),
        padded('['.repeat(6000)),
      ])
        t.match(await session.call('ping', null, { plaintext }), { status: 400, code: 'bad_data' })
      t.match(await session.call('ping', { a: 1 }), { code: 'bad_data' })
      t.match(await session.call('session.close', { a: 1 }), { code: 'bad_data' })
      t.match(await session.call('device.list', {}), { status: 404, code: 'unknown_op' })
      t.match(await session.call('to_string', {}).catch((error) => error), { message: /400/ })
      t.match(await session.call('constructor', {}), { status: 404, code: 'unknown_op' })
    })

    t.test(
      'a reply has the same size whether the licence is valid or not of what it says alone',
      async (t) => {
        const shop = await openShop(t, database)
        const session = await begin(shop)
        for (const key of [shop.key, 'ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29']) {
          const message = session.seal('licence.check', checkData(key))
          const { text } = await session.send(message)
          t.equal((fromB64u(JSON.parse(text).box)!.length - 16) % 256, 0)
        }
      },
    )

    t.test(
      'who guesses licences is slowed down, and an enrolled machine behind his address is not',
      async (t) => {
        const shop = await openShop(t, database, { RATE_LIMIT_PER_MINUTE: '1000' })
        const session = await begin(shop)
        t.match(await session.call('licence.check', checkData(shop.key)), { code: 'ok' })
        const guess = session.seal('licence.check', checkData('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'))
        for (let i = 0; i < 10; i++) await session.send(guess)
        t.match(await session.call('licence.check', checkData(shop.key, OTHER_MACHINE)), {
          code: 'device_limit',
        })
        const unknown = () => session.call('licence.check', checkData('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'))
        for (let i = 0; i < 5; i++)
          t.match(await unknown(), { code: 'licence_invalid' }, 'one message counts once')
        t.match(await unknown(), { status: 429, code: 'slow_down', data: { retry_in: 3600 } })
        for (const hardware of [OTHER_MACHINE, { board: ['X1Y2Z3'] }])
          t.match(
            await session.call('licence.check', checkData(shop.key, hardware)),
            { code: 'slow_down' },
            'a guess that hits looks like one that does not',
          )
        t.match(await session.call('licence.check', checkData(shop.key)), { code: 'ok' })
        await shop.bench.app.licences.renew(ACTOR, shop.licenceId, shop.bench.clock())
        t.match(await session.call('licence.check', checkData(shop.key)), { code: 'licence_expired' })
        t.match(await session.call('licence.check', checkData(shop.key, OTHER_MACHINE)), {
          code: 'slow_down',
        })
      },
    )

    t.test(
      'a session has its limit of messages a minute, told inside the box, and nothing is used up',
      async (t) => {
        const shop = await openShop(t, database, {})
        const session = await begin(shop)
        for (let i = 0; i < 60; i++) t.equal((await session.call('ping', {})).code, 'ok')
        const message = session.seal('ping', {})
        t.match(session.open(message, await session.send(message)), {
          status: 429,
          code: 'slow_down',
          data: { retry_in: 60 },
        })
        shop.bench.clock.advance(60_000)
        t.match(session.open(message, await session.send(message)), { status: 200, code: 'ok' })
      },
    )

    t.test('an address may log sixty lines a minute, in however many sessions', async (t) => {
      const shop = await openShop(t, database, {})
      const line = { level: 'info', text: 'x' }
      const sessions = [await begin(shop), await begin(shop)]
      for (let i = 0; i < 60; i++) t.equal((await sessions[i % 2]!.call('log.push', line)).code, 'ok')
      for (const session of sessions) {
        const message = session.seal('log.push', line)
        t.match(session.open(message, await session.send(message)), { status: 429, code: 'slow_down' })
        const elsewhere = await session.send(message, '/v1/call', injecting(shop.bench, '203.0.113.9'))
        t.match(session.open(message, elsewhere), { code: 'ok' }, 'another address')
      }
      t.match(await sessions[0]!.call('ping', {}), { code: 'ok' })
      t.equal((await events(shop, 'client_log')).length, 62)
    })

    t.test('a product may bind a session to its address: elsewhere it does not authenticate', async (t) => {
      const shop = await openShop(t, database)
      await shop.bench.app.products.update(ACTOR, 'demo', { bindAddress: true })
      const session = await begin(shop)
      const message = session.seal('licence.check', checkData(shop.key))
      const elsewhere = injecting(shop.bench, '203.0.113.9')
      t.same(await session.send(message, '/v1/call', elsewhere), {
        status: 401,
        text: '{"v":1,"error":"session"}',
      })
      t.match(session.open(message, await session.send(message)), { code: 'ok' })
    })

    t.test('under /api the same requests are answered alike', async (t) => {
      const shop = await openShop(t, database)
      for (const path of ['/api/auth/get-session-key', '/api/auth/get-session-key.php']) {
        const session = await begin(shop, 'S2', path)
        const message = session.seal('licence.check', checkData(shop.key))
        const reply = await session.send(message, '/api/licence/check')
        t.match(session.open(message, reply), { code: 'ok' })
        t.same(await session.send(message), reply, 'also at /v1/call')
        const ping = session.seal('ping', {})
        t.same(await session.send(ping, '/api/licence/check'), {
          status: 400,
          text: '{"success":false,"v":1,"error":"request"}',
        })
        t.same(await shop.post('/api/licence/check', message.body), {
          status: 401,
          text: '{"success":false,"v":1,"error":"session"}',
        })
      }
    })

    t.test('many copies of one message at once have one effect and equal replies', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      const message = session.seal('licence.check', checkData(shop.key))
      const replies = await Promise.all(Array.from({ length: 50 }, () => session.send(message)))
      t.equal(new Set(replies.map(({ text }) => text)).size, 1)
      t.match(session.open(message, replies[0]!), { code: 'ok' })
      const pings = session.seal('ping', {})
      const pongs = await Promise.all(Array.from({ length: 50 }, () => session.send(pings)))
      t.equal(new Set(pongs.map(({ text }) => text)).size, 1)
      t.equal((await events(shop, 'licence_check_allowed')).length, 1)
      t.equal((await shop.bench.app.devices.list({ limit: 10 })).length, 1)
    })

    t.test('many machines that ask at once for the one device slot: exactly one has it', async (t) => {
      const shop = await openShop(t, database)
      const codes = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const session = await begin(shop)
          const hardware = { board: [`B${i}B${i}`], disk: [`D${i}D${i}`], bios: [`I${i}I${i}`] }
          return (await session.call('licence.check', checkData(shop.key, hardware))).code
        }),
      )
      t.equal(codes.filter((code) => code === 'ok').length, 1)
      t.equal(codes.filter((code) => code === 'device_limit').length, 19)
    })

    t.test('leases of one device that are asked for at once have numbers of their own', async (t) => {
      const shop = await openShop(t, database)
      const session = await begin(shop)
      await session.call('licence.check', checkData(shop.key))
      const issued = await Promise.all(
        Array.from({ length: 5 }, () => session.call('lease.issue', checkData(shop.key))),
      )
      const seqs = issued.map(({ data }) => payloadOf(data.lease).seq)
      t.same(seqs.sort(), [2, 3, 4, 5, 6])
    })

    t.test('a row whose session, IV, suite or key was changed by hand opens for nobody', async (t) => {
      const shop = await openShop(t, database)
      const [a, b] = [await begin(shop), await begin(shop)]
      const db = await openDatabase(shop.bench.config)
      t.teardown(() => db.close())
      const refused = { status: 401, text: '{"v":1,"error":"session"}' }
      const [rowA] = await db.all('SELECT * FROM session_keys WHERE session_id = ?', [a.records.sessionId])
      const set = (column: string, value: unknown) =>
        db.run(`UPDATE session_keys SET ${column} = ? WHERE session_id = ?`, [
          value as string,
          b.records.sessionId,
        ])
      const [rowB] = await db.all('SELECT * FROM session_keys WHERE session_id = ?', [b.records.sessionId])
      for (const [column, value] of [
        ['session_key', rowA!.session_key],
        ['session_iv', rowA!.session_iv],
        ['session_key', String(rowB!.session_key).replace('.S1.', '.S3.')],
        ['session_key', '00'.repeat(32)],
      ] as const) {
        await set(column, value)
        t.same(await b.send(b.seal('ping', {})), refused)
        await set(column, rowB![column])
      }
      t.match(await b.call('ping', {}), { code: 'ok' })
    })
  })
}

t.test('a suite that is switched off, or a key that is not ours, is refused as such', async (t) => {
  const shop = await openShop(t, DATABASES[0]!, { RATE_LIMIT_PER_MINUTE: '0' })
  const { kid, publicKey } = pinOf(shop.bench.app)
  const kex = { status: 400, text: '{"v":1,"error":"kex"}' }
  const pub = toB64u(publicKey)
  t.same(await shop.post('/v1/session', { v: 1, suite: 'S3', kid, pub, ext: '' }), kex)
  t.same(await shop.post('/v1/session', { v: 1, suite: 'S2', kid, pub, ext: '' }), kex)
  t.same(await shop.post('/v1/session', { v: 1, suite: 'L0', kid, pub, ext: '' }), kex)
  t.same(await shop.post('/v1/session', { v: 1, suite: 'S1', kid: '0'.repeat(16), pub, ext: '' }), kex)
  t.equal((await shop.post('/v1/session', { v: 1, suite: 'S1', kid, pub, ext: '' })).status, 200)
})
