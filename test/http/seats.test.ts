import t, { type Test } from 'tap'
import { openDatabase } from '../../src/app.ts'
import type { AtLimit } from '../../src/store/accounts.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { ACTOR, openBench, runProgram } from '../support/legacy.ts'
import {
  checkData,
  type Hardware,
  injecting,
  openSession,
  pinOf,
  type SealedSession,
} from '../support/sealed.ts'

// Of a time to come, so that the database's own clean-up leaves these sessions alone.
const NOW = Date.UTC(2031, 5, 1, 12)
const ENV = { RATE_LIMIT_PER_MINUTE: '0' }
const PARALLEL = 20

const machine = (n: number): Hardware => ({
  board: [`BOARD${1000 + n}`],
  bios: [`BIOS${1000 + n}`],
  disk: [`DISK${1000 + n}`],
})

/** A server with one product and one licence, and machines that use it. */
async function openShop(
  t: Test,
  { freshConfig }: TestDatabase,
  { seats = 1, atSeatLimit = 'refuse' }: { seats?: number | null; atSeatLimit?: AtLimit } = {},
) {
  const { app, server, clock, config } = await openBench(t, await freshConfig(t, ENV), NOW)
  await app.products.create(ACTOR, 'demo', 'Demo', { atSeatLimit })
  const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null, seats }
  const { key, licence } = await app.licences.create(ACTOR, wish)
  const begin = () => openSession(injecting({ server }), pinOf(app))
  const check = (session: SealedSession, n: number, data: object = {}) =>
    session.call('licence.check', { ...checkData(key, machine(n)), ...data })
  /** A session in which this machine has checked. */
  const start = async (n: number) => {
    const session = await begin()
    return { session, answer: await check(session, n) }
  }
  const events = async (type: string) => {
    await app.events.flush()
    return app.events.list({ type, limit: 1000 })
  }
  const holders = async () => (await app.seats.taken(licence.id)).map(({ deviceId }) => deviceId)
  return { app, server, clock, config, key, id: licence.id, begin, check, start, events, holders }
}

type Answer = Awaited<ReturnType<SealedSession['call']>>
const deviceOf = ({ data }: Answer) => String((data.device as { id: string }).id)
const FULL = { status: 403, code: 'seat_limit' }

for (const database of DATABASES) {
  t.test(database.name, async (t) => {
    t.test(
      'refuse: the second machine hears when to come again, and gets the seat that was closed',
      async (t) => {
        const { start, check, clock, events, holders, id, app } = await openShop(t, database)
        const first = await start(1)
        t.match(first.answer, { code: 'ok', data: { valid: true, seat: { seats: 1, lapses_in_s: 240 } } })
        t.same(await holders(), [deviceOf(first.answer)])
        clock.advance(40_000)
        const second = await start(2)
        t.match(second.answer, {
          ...FULL,
          data: { valid: false, seats: 1, retry_in: 200, support_code: /-/ },
        })
        t.equal(second.answer.data.message, 'All seats of this licence are in use.')
        const { data } = await check(second.session, 2, { lang: 'id' })
        t.equal(data.message, 'Semua slot lisensi ini sedang digunakan.')
        t.notHas(data, { kicked: true })
        t.match(await events('licence_check_denied'), [
          {
            licenceId: id,
            deviceId: null,
            detail: { reason: 'seat_limit', op: 'licence.check', kicked: false },
          },
          {},
        ])
        t.equal(
          (await app.devices.list({ licenceId: id, limit: 9 })).length,
          1,
          'who is refused is not enrolled',
        )
        t.match(await first.session.call('session.close', {}), { code: 'ok' })
        t.match(await events('seat_ended'), [
          { licenceId: id, deviceId: deviceOf(first.answer), detail: { reason: 'released', seat_no: 1 } },
        ])
        t.match(await check(second.session, 2), { code: 'ok', data: { seat: { seats: 1 } } })
      },
    )

    t.test('a crashed client gets its own seat back at once, in whatever session it comes', async (t) => {
      const { start, begin, check, holders } = await openShop(t, database)
      const before = await start(1)
      const after = await start(1)
      t.match(after.answer, { code: 'ok', data: { seat: {} } })
      t.same(await holders(), [deviceOf(before.answer)])
      await before.session.call('session.close', {})
      t.same(await holders(), [deviceOf(before.answer)], 'an older session that ends takes nothing away')
      t.match(await check(await begin(), 2), FULL)
    })

    t.test('a seat lapses after two missed intervals; check, ping and lease.issue renew it', async (t) => {
      const { start, begin, check, clock, key, holders } = await openShop(t, database)
      const { session, answer } = await start(1)
      const stranger = async () => (await check(await begin(), 2)).code
      const renewals = [
        () => session.call('ping', {}),
        () => session.call('lease.issue', checkData(key, machine(1))),
        async () => (await start(1)).answer,
      ]
      for (const renew of renewals) {
        clock.advance(130_000)
        t.match(await renew(), { status: 200 })
      }
      clock.advance(239_999)
      t.equal(await stranger(), 'seat_limit')
      t.same(await holders(), [deviceOf(answer)])
      clock.advance(1)
      t.same(await holders(), [], 'no clean-up is needed')
      t.equal(await stranger(), 'ok')
    })

    t.test('lease.issue takes a seat like a check, and is refused like one', async (t) => {
      const { begin, start, key, holders } = await openShop(t, database)
      const ask = async (n: number) => (await begin()).call('lease.issue', checkData(key, machine(n)))
      t.match(await ask(1), { code: 'ok', data: { lease: /\./ } })
      t.equal((await holders()).length, 1)
      t.match(await ask(2), { ...FULL, data: { valid: false, retry_in: 240 } })
      t.match((await start(2)).answer, FULL)
    })

    t.test('ping tells of the seat where there is one, and nothing where there is none', async (t) => {
      const { start, begin } = await openShop(t, database)
      const { session } = await start(1)
      t.same((await session.call('ping', {})).data, { seat: { seats: 1, lapses_in_s: 240 } })
      t.same((await (await begin()).call('ping', {})).data, {})
      t.same((await session.call('ping', { lang: 'id', keep: true })).status, 200)
      for (const bad of [{ keep: false }, { lang: 'fr' }, { seat: 1 }])
        t.match(await session.call('ping', bad), { status: 400, code: 'bad_data' })
    })

    t.test('kick: the newcomer runs, and the one who was kicked hears it at his next ping', async (t) => {
      const { start, holders, events, id } = await openShop(t, database, { atSeatLimit: 'kick' })
      const first = await start(1)
      const second = await start(2)
      t.equal(second.answer.code, 'ok')
      t.same(await holders(), [deviceOf(second.answer)])
      const [kicked] = await events('seat_ended')
      t.match(kicked, { licenceId: id, deviceId: deviceOf(first.answer), detail: { reason: 'kicked' } })
      const ping = first.session.seal('ping', { lang: 'id' })
      const told = first.session.open(ping, await first.session.send(ping))
      t.match(told, {
        ...FULL,
        data: { valid: false, kicked: true, seats: 1, retry_in: 240, message: /slot/ },
      })
      t.same(first.session.open(ping, await first.session.send(ping)), told, 'a retry hears the same')
      t.match(await events('licence_check_denied'), [{ detail: { op: 'ping', kicked: true } }])
      t.same(await holders(), [deviceOf(second.answer)])
    })

    t.test('kick: a check that does not know it yet does not kick back, but the one after may', async (t) => {
      const { start, holders } = await openShop(t, database, { atSeatLimit: 'kick' })
      const first = await start(1)
      const second = await start(2)
      t.match((await start(1)).answer, { ...FULL, data: { kicked: true } })
      t.same(await holders(), [deviceOf(second.answer)])
      t.match((await start(1)).answer, { code: 'ok' })
      t.same(await holders(), [deviceOf(first.answer)])
      await second.session.call('session.close', {})
      t.same(await holders(), [deviceOf(first.answer)], 'nor does the end of the kicked one')
    })

    t.test(
      'kick: with several seats the one that was not heard for longest goes; who finds room stays',
      async (t) => {
        const { start, clock, holders } = await openShop(t, database, { seats: 2, atSeatLimit: 'kick' })
        const [one, two] = [await start(1), await start(2)]
        clock.advance(1_000)
        await one.session.call('ping', {})
        const three = await start(3)
        t.same((await holders()).sort(), [deviceOf(one.answer), deviceOf(three.answer)].sort())
        await three.session.call('session.close', {})
        t.match(await two.session.call('ping', {}), { code: 'ok', data: { seat: { seats: 2 } } })
        t.same((await holders()).sort(), [deviceOf(one.answer), deviceOf(two.answer)].sort())
      },
    )

    t.test('ask: the holder hears it with its next word and may keep its seat', async (t) => {
      const { start, check, clock, events, id, holders } = await openShop(t, database, { atSeatLimit: 'ask' })
      const { session, answer } = await start(1)
      const newcomer = await start(2)
      t.match(newcomer.answer, { ...FULL, data: { retry_in: 15 } })
      const device = deviceOf(answer)
      t.match(await events('licence_check_denied'), [{ detail: { reason: 'seat_limit', asked: device } }])
      clock.advance(5_000)
      t.match(await check(session, 1), { code: 'ok', data: { seat: { yield_by_s: 10 } } })
      t.match(await session.call('ping', {}), { code: 'ok', data: { seat: { yield_by_s: 10 } } })
      t.match(
        (await start(3)).answer,
        { ...FULL, data: { retry_in: 10 } },
        'a third one waits with the second',
      )
      t.same((await session.call('ping', { keep: true })).data, { seat: { seats: 1, lapses_in_s: 240 } })
      t.match(await events('seat_kept'), [{ licenceId: id, deviceId: device }])
      clock.advance(15_000)
      t.match(await check(newcomer.session, 2), { ...FULL, data: { retry_in: 15 } }, 'he may ask again')
      t.same(await holders(), [device])
    })

    t.test('ask: the holder yields by closing, at once', async (t) => {
      const { start, check, events } = await openShop(t, database, { atSeatLimit: 'ask' })
      const { session } = await start(1)
      const newcomer = await start(2)
      await session.call('session.close', {})
      t.match(await events('seat_ended'), [{ detail: { reason: 'yielded' } }])
      t.match(await check(newcomer.session, 2), { code: 'ok' })
    })

    t.test('ask: whoever is not heard by the time has yielded, and is told', async (t) => {
      const { start, check, clock, events, holders } = await openShop(t, database, { atSeatLimit: 'ask' })
      const { session } = await start(1)
      const newcomer = await start(2)
      clock.advance(15_000)
      t.same(await holders(), [], 'free from then on')
      const taken = await check(newcomer.session, 2)
      t.match(taken, { code: 'ok', data: { seat: { lapses_in_s: 240 } } })
      t.match(await events('seat_ended'), [{ detail: { reason: 'yielded' } }])
      const late = await session.call('ping', { keep: true })
      t.match(late, { ...FULL, data: { valid: false } })
      t.notHas(late.data, { kicked: true })
      t.same(await holders(), [deviceOf(taken)])
    })

    t.test('ask: a ping that comes too late keeps nothing, even where nobody took the seat', async (t) => {
      const { start, clock, events, holders } = await openShop(t, database, { atSeatLimit: 'ask' })
      const { session } = await start(1)
      await start(2)
      clock.advance(15_000)
      t.match(await session.call('ping', { keep: true }), FULL)
      t.match(await events('seat_ended'), [{ detail: { reason: 'yielded' } }])
      t.same(await holders(), [])
      t.match((await start(1)).answer, { code: 'ok' }, 'a check takes what is free')
    })

    for (const atSeatLimit of ['refuse', 'kick', 'ask'] as const)
      t.test(`${atSeatLimit}: ${PARALLEL} machines at once leave exactly one holder`, async (t) => {
        const { begin, check, holders, app, id } = await openShop(t, database, { atSeatLimit })
        const sessions = await Promise.all(Array.from({ length: PARALLEL }, begin))
        const race = () => Promise.all(sessions.map((session, n) => check(session, n)))
        const answers = await race()
        t.equal((await holders()).length, 1)
        const granted = answers.filter(({ code }) => code === 'ok').length
        t.equal(granted, atSeatLimit === 'kick' ? PARALLEL : 1)
        t.ok(answers.every(({ code }) => code === 'ok' || code === 'seat_limit'))
        await race()
        t.equal((await holders()).length, 1, 'nor do they when they come again')
        const enrolled = await app.devices.list({ licenceId: id, limit: 1000 })
        t.equal(enrolled.length, granted, 'each machine that ran is enrolled once, and no other')
      })

    t.test(`${PARALLEL} machines at once fill every seat there is, each its own`, async (t) => {
      const { begin, check, holders } = await openShop(t, database, { seats: 5 })
      const sessions = await Promise.all(Array.from({ length: PARALLEL }, begin))
      const answers = await Promise.all(sessions.map((session, n) => check(session, n)))
      const granted = answers.filter(({ code }) => code === 'ok').map(deviceOf)
      t.equal(granted.length, 5)
      t.same((await holders()).sort(), granted.sort())
    })

    t.test(
      'what an operator does frees seats at once: reset, suspend, revoke, no more counting',
      async (t) => {
        const { app, id, start, events, holders } = await openShop(t, database)
        const first = await start(1)
        await app.devices.reset(ACTOR, id, deviceOf(first.answer))
        t.same(await holders(), [])
        t.same((await first.session.call('ping', {})).data, {}, 'its session has no seat any more')
        const second = await start(2)
        t.equal(second.answer.code, 'ok')
        await app.licences.suspend(ACTOR, id, 'unpaid')
        t.same(await holders(), [])
        await app.licences.resume(ACTOR, id)
        const third = await start(3)
        t.equal(third.answer.code, 'ok')
        await app.licences.update(ACTOR, id, { seats: null })
        t.same((await third.session.call('ping', {})).data, {})
        t.match(await events('licence_updated'), [{ detail: { seats: null } }])
        const unlimited = (await start(3)).answer
        t.match(unlimited, { code: 'ok' })
        t.notHas(unlimited.data, { seat: {} })
        await app.licences.update(ACTOR, id, { seats: 1 })
        t.equal((await start(3)).answer.code, 'ok')
        await app.licences.revoke(ACTOR, id, null)
        t.same(await holders(), [])
      },
    )

    t.test('fewer seats than before: who sits too high is told at his next word', async (t) => {
      const { app, id, start, events } = await openShop(t, database, { seats: 2 })
      const [one, two] = [await start(1), await start(2)]
      await app.licences.update(ACTOR, id, { seats: 1 })
      const pings = [await one.session.call('ping', {}), await two.session.call('ping', {})]
      t.same(pings.map(({ code }) => code).sort(), ['ok', 'seat_limit'])
      t.match(await events('seat_ended'), [{ detail: { reason: 'withdrawn', seat_no: 2 } }])
    })

    t.test('a session that runs tools of two licences keeps the seats of both', async (t) => {
      const { app, begin, check, clock, id } = await openShop(t, database)
      const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null, seats: 1 }
      const other = await app.licences.create(ACTOR, wish)
      const session = await begin()
      await check(session, 1)
      t.match(await session.call('licence.check', checkData(other.key, machine(1))), { code: 'ok' })
      clock.advance(200_000)
      t.match(await session.call('ping', {}), { code: 'ok', data: { seat: { lapses_in_s: 240 } } })
      for (const licenceId of [id, other.licence.id])
        t.match(await app.seats.taken(licenceId), [{ renewedAtMs: clock() }])
      await session.call('session.close', {})
      for (const licenceId of [id, other.licence.id]) t.same(await app.seats.taken(licenceId), [])
    })

    t.test('the old contract takes no seat, and needs none', async (t) => {
      const { app, server, clock, config, key, id, start, holders } = await openShop(t, database)
      await start(1)
      const { key: legacyKey, licence } = await app.licences.create(ACTOR, {
        ...{ productCode: 'demo', customer: 'Siti', expiresAtMs: null, seats: 1 },
      })
      const bench = { app, server, clock, config }
      t.match((await runProgram(bench, '1234567890', legacyKey)).json(), { status: 'success' })
      t.same(await app.seats.taken(licence.id), [])
      t.match((await runProgram(bench, '5555555555', key)).json(), { code: 'NOT_FOUND' }, 'it is enrolled')
      t.equal((await holders()).length, 1, id)
    })

    t.test('a check of a licence whose seats are not counted asks nothing of their table', async (t) => {
      const { config, start, begin, check } = await openShop(t, database, { seats: null })
      const db = await openDatabase(config)
      t.teardown(() => db.close())
      await db.run('DROP TABLE kunci_seats')
      t.match((await start(1)).answer, { code: 'ok' })
      t.match(await check(await begin(), 1), { code: 'ok' })
      t.match(await check(await begin(), 2), { code: 'device_limit' })
    })

    t.test('no licence has a number of seats that makes no sense', async (t) => {
      const { app, id } = await openShop(t, database)
      for (const seats of [0, -1, 1.5, 1001, Number.NaN])
        await t.rejects(app.licences.update(ACTOR, id, { seats }), { code: 'invalid_argument' })
      t.equal((await app.licences.find(id)).seats, 1)
    })
  })
}
