import { createHmac } from 'node:crypto'
import { chmodSync, cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createApp } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { createServer } from '../../src/http/server.ts'
import { createLogger } from '../../src/log.ts'
import { manualClock } from '../support/clock.ts'
import { DATABASES } from '../support/databases.ts'
import { install, serve, sql } from '../support/installation.ts'
import {
  ACTOR,
  type Bench,
  claimsOf,
  encrypt,
  handOut,
  openBench,
  postCheck,
  runProgram,
} from '../support/legacy.ts'
import { checkData, injecting, openSession, pinOf, type SealedSession } from '../support/sealed.ts'
import { wireClient } from '../support/wire-client.ts'

const SUITES = ['S1', 'S2', 'S3'] as const
const SEALED_RINGS = ['kek', 'kex-s1', 'kex-s2', 'kex-s3', 'jwt', 'lease'] as const
const MINUTE_MS = 60_000
const HWID = '1234567890'
const NO_LIMITS = { RATE_LIMIT_PER_MINUTE: '0' }

type RingFile = {
  current: string
  keys: Record<string, string>
  next?: { id: string; from: string } | undefined
}

function editRing({ keysDir }: Config, name: string, edit: (ring: RingFile) => void): void {
  const file = join(keysDir, `${name}.json`)
  const ring: RingFile = JSON.parse(readFileSync(file, 'utf8'))
  edit(ring)
  writeFileSync(`${file}.new`, JSON.stringify(ring), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

const secondKey = (name: string) => Buffer.from(`${name} second key`.padEnd(32, '.')).toString('base64url')

function addKey(config: Config, name: string): void {
  editRing(config, name, (ring) => {
    ring.keys.k2 = secondKey(name)
    ring.current = 'k2'
  })
}

function addNext(config: Config, name: string, fromMs: number): void {
  editRing(config, name, (ring) => {
    ring.keys.k2 = secondKey(name)
    ring.next = { id: 'k2', from: new Date(fromMs).toISOString() }
  })
}

const removeFirst = (config: Config, name: string) => editRing(config, name, ({ keys }) => delete keys.k1)

const kidOf = (jws: unknown): string =>
  JSON.parse(Buffer.from(String(jws).split('.', 1)[0] ?? '', 'base64url').toString()).kid

/** A server with one customer, whose log is kept; what it rotates it learns when it is told to look. */
async function openLogged(t: Pick<Test, 'teardown'>, config: Config) {
  const clock = manualClock(Date.now())
  const lines: Record<string, unknown>[] = []
  const write = (line: string) => void lines.push(JSON.parse(line))
  const app = await createApp(config, { logger: createLogger('info', { destination: { write } }), clock })
  const server = await createServer(app)
  t.teardown(async () => {
    await server.close()
    await app.close()
  })
  const of = (event: string) => lines.filter((line) => line.event === event)
  return { app, server, clock, config, of }
}

async function addCustomer({ app }: Bench): Promise<void> {
  await app.products.create(ACTOR, 'demo', 'Demo')
  await app.licences.create(ACTOR, { productCode: 'demo', customer: 'A', expiresAtMs: null, hwid: HWID })
}

for (const { name, freshConfig } of DATABASES) {
  t.test(`${name}: keys are rotated with overlap, and no living session is refused`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, NO_LIMITS))
    await bench.app.products.create(ACTOR, 'demo', 'Demo')
    await bench.app.licences.create(ACTOR, {
      productCode: 'demo',
      customer: 'A',
      expiresAtMs: null,
      hwid: HWID,
    })
    const { token, claims } = await handOut(bench)
    const body = { hwid: encrypt(claims, HWID) }
    for (const ring of ['kek', 'legacy-jwt']) addKey(bench.config, ring)
    const both = await openBench(t, bench.config, bench.clock())
    t.match((await postCheck(both, token, body)).json(), { status: 'success' }, 'handed out before')
    t.match((await runProgram(both, HWID)).json(), { status: 'success' }, 'handed out since')
    for (const ring of ['kek', 'legacy-jwt']) removeFirst(bench.config, ring)
    const after = await openBench(t, bench.config, bench.clock())
    t.equal((await postCheck(after, token, body)).statusCode, 401, 'the retired secret is worth nothing')
    t.match((await runProgram(after, HWID)).json(), { status: 'success' })
  })

  t.test(`${name}: a second pepper forgets nobody, and the first one cannot be taken away`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, NO_LIMITS))
    await bench.app.products.create(ACTOR, 'demo', 'Demo')
    const wish = { productCode: 'demo', customer: 'A', expiresAtMs: null }
    const { key } = await bench.app.licences.create(ACTOR, { ...wish, hwid: HWID })
    for (const ring of ['hwid-pepper', 'licence-pepper']) addKey(bench.config, ring)
    const both = await openBench(t, bench.config, bench.clock())
    const { key: newKey } = await both.app.licences.create(ACTOR, wish)
    t.match((await runProgram(both, HWID)).json(), { status: 'success' }, 'by the machine')
    t.match((await runProgram(both, HWID, key)).json(), { status: 'success' }, 'by the old key')
    t.match((await runProgram(both, 'another', newKey)).json(), { status: 'success' }, 'by a new key')
    t.match(
      (await runProgram(both, 'another')).json(),
      { status: 'success' },
      'enrolled under the new pepper',
    )
    removeFirst(bench.config, 'hwid-pepper')
    await t.rejects(openBench(t, bench.config), /hwid-pepper\.json: key "k1" is missing/)
  })
}

for (const database of DATABASES) {
  t.test(`${database.name}: a running server goes over to a next key at its time, under load`, async (t) => {
    const { config } = await install(t, database)
    const bench = await openLogged(t, config)
    await addCustomer(bench)
    const { clock, app } = bench
    const old = await handOut(bench)
    const check = async (session: typeof old) =>
      (await postCheck(bench, session.token, { hwid: encrypt(session.claims, HWID) })).json()

    const fromMs = clock() + 60_000
    for (const ring of ['kek', 'legacy-jwt']) addNext(config, ring, fromMs)
    const programs: Promise<{ statusCode: number; body: string }>[] = []
    const load = () => programs.push(...Array.from({ length: 8 }, () => runProgram(bench, HWID)))
    load()
    await app.keyWatch.look()
    t.same(
      bench
        .of('keys.reloaded')
        .map(({ ring }) => ring)
        .sort(),
      ['kek', 'legacy-jwt'],
    )
    await app.keyWatch.look()
    t.equal(bench.of('keys.reloaded').length, 2, 'it reads what changed, once')
    load()
    const waiting = await handOut(bench)
    clock.advance(59_999)
    load()
    const last = await handOut(bench)
    clock.advance(1)
    load()
    const first = await handOut(bench)
    for (const { statusCode, body } of await Promise.all(programs))
      t.match({ statusCode, body }, { statusCode: 200, body: /"status":"success"/ })
    const rows = await sql({ config, env: {} }, 'SELECT session_id, session_key FROM session_keys')
    const kekOf = ({ claims }: typeof old) =>
      String(rows.find((row) => row.session_id === claims.session_id)?.session_key).split('.')[2]
    t.same([old, waiting, last, first].map(kekOf), ['k1', 'k1', 'k1', 'k2'])
    for (const session of [old, waiting, last, first]) t.match(await check(session), { status: 'success' })

    for (const ring of ['kek', 'legacy-jwt']) {
      editRing(config, ring, (file) => {
        file.current = 'k2'
        file.next = undefined
        delete file.keys.k1
      })
    }
    await app.keyWatch.look()
    t.equal(
      (await postCheck(bench, last.token, { hwid: '' })).statusCode,
      401,
      'the old secret is worth nothing',
    )
    t.match(await check(first), { status: 'success' })
    t.match((await runProgram(bench, HWID)).json(), { status: 'success' })
  })

  t.test(`${database.name}: no sealed client is refused while every key of its suite changes`, async (t) => {
    const { config } = await install(t, database, { SEALED_S3: 'true' })
    const here = await openLogged(t, config)
    const there = await openLogged(t, config)
    here.clock.advance(there.clock() - here.clock())
    const nodes = [here, there]
    const { app } = here
    await app.products.create(ACTOR, 'demo', 'Demo')
    const { key } = await app.licences.create(ACTOR, {
      ...{ productCode: 'demo', customer: 'A', expiresAtMs: null },
    })
    const advance = (ms: number) => {
      for (const { clock } of nodes) clock.advance(ms)
    }
    const kids = () => ({ jwt: app.keyPairs.jwt()[0]?.kid, lease: app.keyPairs.lease()[0]?.kid })

    const old = SUITES.map((suite) => pinOf(app, suite))
    const before = kids()
    const pins = [...old]
    const sessions: SealedSession[] = []
    const programs: Promise<void>[] = []
    /** Every client there is runs once, begun at one node and answered by the other, and every session goes on. */
    const load = () => {
      const goOn = sessions.map(async (session, i) => {
        const message = session.seal('licence.check', checkData(key))
        const reply = await session.send(message, '/v1/call', injecting(nodes[i % 2]!))
        t.match(session.open(message, reply), { status: 200, code: 'ok' }, 'a session goes on')
      })
      const begin = pins.map(async (pin, i) => {
        const session = await openSession(injecting(nodes[i % 2]!), pin)
        const message = session.seal('licence.check', checkData(key))
        const reply = await session.send(message, '/v1/call', injecting(nodes[(i + 1) % 2]!))
        t.match(session.open(message, reply), { status: 200, data: { valid: true } }, pin.suite)
        sessions.push(session)
      })
      programs.push(...goOn, ...begin)
    }
    const all = async () => {
      await Promise.all(programs.splice(0))
    }

    load()
    await all()
    const fromMs = here.clock() + MINUTE_MS
    for (const ring of SEALED_RINGS) await app.keyRotation.rotate(ACTOR, ring, fromMs)
    load()
    await here.app.keyWatch.look()
    load()
    await there.app.keyWatch.look()
    await all()
    const next = SUITES.map((suite) => app.keyPairs.kex(suite)[1]!)
    t.same(
      app.keys.pins('S1').S1?.map(({ kid }) => kid),
      [old[0]?.kid, next[0]?.kid],
    )
    pins.push(...next)
    load()
    advance(fromMs - 1 - here.clock())
    load()
    await all()
    t.same([...new Set(sessions.map(({ token }) => kidOf(token)))], [before.jwt])
    // Of two nodes whose clocks are a moment apart one goes over first.
    here.clock.advance(1)
    load()
    there.clock.advance(1)
    load()
    await all()
    const after = kids()
    t.not(after.jwt, before.jwt)
    t.same(new Set(sessions.map(({ token }) => kidOf(token))), new Set([before.jwt, after.jwt]))
    for (const pin of pins) {
      const session = await openSession(injecting(there), pin)
      t.equal(kidOf(session.token), after.jwt)
      const { data } = await session.call('licence.check', checkData(key))
      t.equal(kidOf(data.lease), after.lease, 'a lease of the earlier key is replaced')
    }

    advance(10 * MINUTE_MS)
    sessions.length = 0
    for (const ring of SEALED_RINGS) await app.keyRotation.retire(ACTOR, ring, 'k1', true)
    for (const node of nodes) await node.app.keyWatch.look()
    pins.splice(0, old.length)
    load()
    await all()
    load()
    await all()
    for (const pin of old)
      for (const node of nodes)
        await t.rejects(
          openSession(injecting(node), pin),
          /^no session: 400 .*"error":"kex"/,
          'a retired pin',
        )
    for (const { of } of nodes) {
      t.same(of('keys.not_reloaded'), [])
      t.equal(of('keys.reloaded').length, 2 * SEALED_RINGS.length)
    }
  })

  t.test(
    `${database.name}: with a key that is taken away at once, its tokens are worth nothing`,
    async (t) => {
      const bench = await openLogged(t, (await install(t, database)).config)
      const { app, clock, config } = bench
      const ping = async (session: SealedSession) => {
        const { status, text } = await session.send(session.seal('ping', {}))
        return status === 200 ? status : `${status} ${text}`
      }
      const begin = () => openSession(injecting(bench), pinOf(app))
      const session = await begin()
      t.equal(await ping(session), 200)
      await app.keyRotation.rotate(ACTOR, 'jwt', clock())
      await app.keyWatch.look()
      t.equal(await ping(session), 200)
      removeFirst(config, 'jwt')
      await app.keyWatch.look()
      t.equal(await ping(session), '401 {"v":1,"error":"session"}')
      t.equal(await ping(await begin()), 200)
    },
  )

  t.test(
    `${database.name}: a key file that a start would refuse changes nothing until it is mended`,
    async (t) => {
      const { config } = await install(t, database)
      const bench = await openLogged(t, config)
      await addCustomer(bench)
      const { app } = bench
      const file = join(config.keysDir, 'kek.json')
      const whole = readFileSync(file, 'utf8')
      const damage: [RegExp, () => void][] = [
        [/kek\.json: this is not JSON\. Put the file back/, () => writeFileSync(file, whole.slice(0, -9))],
        [
          /kek\.json: key "k1" is missing\.\nCopy KEYS_DIR/,
          () => writeFileSync(file, whole.replaceAll('k1', 'k9')),
        ],
        [/Run: chmod 600 /, () => chmodSync(file, 0o644)],
        [/kek\.json is missing/, () => renameSync(file, `${file}.away`)],
      ]
      for (const [i, [message, spoil]] of damage.entries()) {
        spoil()
        for (let looks = 0; looks < 3; looks++) await app.keyWatch.look()
        const told = bench.of('keys.not_reloaded')
        t.equal(told.length, i + 1, 'it is said once')
        t.match(told[i], { ring: 'kek', level: 50, err: { message } })
        t.match((await runProgram(bench, HWID)).json(), { status: 'success' })
      }
      t.notMatch(JSON.stringify(bench.of('keys.not_reloaded')), JSON.parse(whole).keys.k1)
      t.same(bench.of('keys.reloaded'), [])
      writeFileSync(file, whole, { mode: 0o600 })
      await app.keyWatch.look()
      t.same(
        bench.of('keys.reloaded').map(({ ring }) => ring),
        ['kek'],
      )
    },
  )

  t.test(
    `${database.name}: of two nodes with a next key of their own one goes over, and says so`,
    async (t) => {
      const { config } = await install(t, database)
      const here = await openLogged(t, config)
      await addCustomer(here)
      const otherDir = join(config.dataDir, 'other-keys')
      cpSync(config.keysDir, otherDir, { recursive: true })
      const there = await openLogged(t, { ...config, keysDir: otherDir })
      for (const { config, clock } of [here, there]) addNext(config, 'kek', clock() + 60_000)
      editRing(there.config, 'kek', ({ keys }) => {
        keys.k2 = secondKey('kek of the other node')
      })
      await Promise.all([here, there].map(({ app }) => app.keyWatch.look()))
      const winners = [here, there].filter(({ of }) => of('keys.reloaded').length === 1)
      const losers = [here, there].filter(({ of }) => of('keys.not_reloaded').length === 1)
      t.same([winners.length, losers.length], [1, 1])
      t.match(losers[0]?.of('keys.not_reloaded'), [{ err: { message: /Copy (its )?KEYS_DIR/ } }])
      for (const { clock } of [here, there]) clock.advance(60_000)
      for (const bench of [here, there])
        t.match(
          (await runProgram(bench, HWID)).json(),
          { status: 'success' },
          'each goes on with what it has',
        )
    },
  )
}

t.test('every worker of a running service takes a changed key file over by itself', async (t) => {
  const [sqlite] = DATABASES
  const installation = await install(t, sqlite!, { WORKERS: '2' })
  const running = await serve(t, installation)
  await running.kunci.waitForLine(/"server\.listening"/)
  addNext(installation.config, 'legacy-jwt', Date.now() - 1)
  for (const worker of [1, 2])
    await running.kunci.waitForLine(new RegExp(`"worker":${worker},.*"keys\\.reloaded","ring":"legacy-jwt"`))
  const { text } = await wireClient(running.url).handOut()
  const token: string = JSON.parse(text).session_token
  const [head, payload, signature] = token.split('.')
  t.ok(claimsOf(token).session_id)
  t.equal(
    createHmac('sha256', Buffer.from(secondKey('legacy-jwt'), 'base64url'))
      .update(`${head}.${payload}`)
      .digest('base64url'),
    signature,
  )
})
