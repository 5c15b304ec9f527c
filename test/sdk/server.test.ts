import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { createClient } from '../../src/sdk/client.ts'
import { fileStore } from '../../src/sdk/file-store.ts'
import { hwidOf, type RawHardware } from '../../src/sdk/hwid.ts'
import type { LeaseKey } from '../../src/sdk/lease.ts'
import type { ClientOptions } from '../../src/sdk/options.ts'
import type { SealedSuite } from '../../src/sdk/suites.ts'
import { DATABASES, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { ACTOR, openBench } from '../support/legacy.ts'
import { MACHINE, OTHER_MACHINE } from '../support/sealed.ts'

const NOW = Date.UTC(2026, 5, 1, 12)
const DAY_MS = 86_400_000
const NO_LIMITS = { RATE_LIMIT_PER_MINUTE: '0', SEALED_S3: 'true' }
const b64u = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')

/** A server with one licence, and a way to it that a test can cut or put something into. */
async function openShop(t: Test, { freshConfig }: TestDatabase, env: TestEnv = NO_LIMITS) {
  const bench = await openBench(t, await freshConfig(t, env), NOW)
  const { app, server, clock } = bench
  await app.products.create(ACTOR, 'demo', 'Demo', { sk: 'skv' })
  const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: NOW + 30 * DAY_MS }
  const { key: licence, licence: row } = await app.licences.create(ACTOR, wish)
  const line = { cut: false, loseReplies: 0, paths: [] as string[] }

  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (line.cut) throw new TypeError('fetch failed')
    const { pathname: url } = new URL(String(input))
    line.paths.push(url)
    const headers = init?.headers as Record<string, string>
    const reply = await server.inject({ method: 'POST', url, headers, payload: String(init?.body) })
    if (line.loseReplies-- > 0) throw new TypeError('fetch failed')
    return new Response(reply.rawPayload, { status: reply.statusCode })
  }

  const pinsOf = (suite: SealedSuite) =>
    app.keyPairs.kex(suite).map(({ kid, publicKey }) => ({ kid, pub: b64u(publicKey) }))
  const connect = (suite: SealedSuite = 'S1', options: Partial<ClientOptions> = {}) =>
    createClient({
      ...{ serverUrl: 'http://kunci.test', suite, pins: pinsOf(suite), fetch },
      leaseKeys: app.keyPairs.lease().map(({ publicJwk }) => publicJwk as LeaseKey),
      ...{ issuer: app.issuer, now: clock, sleep: async () => {} },
      ...options,
    })
  const requestFor = async (raw: RawHardware = MACHINE, change: object = {}) => ({
    ...{ licence, tool: 'demo', ver: '1.4.2', hwid: await hwidOf('demo', raw), ...change },
  })
  const events = async (type: string) => {
    await app.events.flush()
    return app.events.list({ type, limit: 100 })
  }
  return { app, clock, line, connect, requestFor, events, licenceId: row.id }
}

for (const database of DATABASES)
  t.test(database.name, async (t) => {
    for (const suite of ['S1', 'S2', 'S3'] as const)
      t.test(`${suite}: every operation, in one session`, async (t) => {
        const { connect, requestFor, line, events } = await openShop(t, database)
        const client = await connect(suite)
        const request = await requestFor()
        t.match(await client.check({ ...request, lang: 'id' }), {
          ...{ outcome: 'allowed', source: 'server', code: 'ok', valid: true, leaseKept: true },
          ...{ message: 'Lisensi berlaku.', device: { id: /^dev_/ }, variables: { sk: 'skv' } },
          ...{ entitlements: [], check_again_after_s: Number, support_code: /^[0-9A-Z]{5}-[0-9A-Z]{5}$/ },
        })
        t.match(await client.issueLease(request), { outcome: 'issued', lease: { seq: 2, aud: 'tool:demo' } })
        t.ok(await client.ping())
        t.ok(await client.log('warn', 'low on paper'))
        t.match(await events('client_log'), [{ detail: { text: 'low on paper' } }])
        t.same(line.paths, ['/v1/session', ...Array(4).fill('/v1/call')])
        await client.close()
        t.ok(await client.ping())
        t.same(line.paths.slice(5), ['/v1/call', '/v1/session', '/v1/call'])
      })

    t.test('every refusal is a denial, and no lease answers for it', async (t) => {
      const { connect, requestFor, app, clock, licenceId } = await openShop(t, database)
      const client = await connect()
      t.match(await client.check(await requestFor()), { outcome: 'allowed', leaseKept: true })
      const denied = async (code: string, raw: RawHardware = MACHINE, change: object = {}) =>
        t.match(await client.check(await requestFor(raw, change)), {
          ...{ outcome: 'denied', source: 'server', code, valid: false, message: /./, support_code: /-/ },
        })
      await denied('licence_invalid', MACHINE, { licence: 'ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29' })
      await denied('device_limit', OTHER_MACHINE)
      await denied('device_weak', { board: 'X1Y2Z3', cpu: 'A1B2C3' })
      await app.licences.suspend(ACTOR, licenceId, 'unpaid')
      await denied('licence_invalid')
      await app.licences.resume(ACTOR, licenceId)
      await app.licences.renew(ACTOR, licenceId, clock())
      await denied('licence_expired')
    })

    t.test('a client that pins another server’s key gets no verdict', async (t) => {
      const { connect, requestFor } = await openShop(t, database)
      const other = await openShop(t, database)
      const [theirs] = other.app.keyPairs.kex('S1')
      const [ours] = (await openShop(t, database)).app.keyPairs.kex('S1')
      const pins = [theirs, ours].map((key) => ({ kid: key?.kid ?? '', pub: b64u(key!.publicKey) }))
      const client = await connect('S1', { pins })
      t.match(await client.check(await requestFor()), { outcome: 'unavailable', code: null, reason: 'kex' })
    })

    t.test('the second pin serves when the first is not this server’s yet', async (t) => {
      const { app, connect, requestFor } = await openShop(t, database)
      const [future] = (await openShop(t, database)).app.keyPairs.kex('S1')
      const pins = [future, ...app.keyPairs.kex('S1')].map((key) => ({
        ...{ kid: key!.kid, pub: b64u(key!.publicKey) },
      }))
      const client = await connect('S1', { pins })
      t.match(await client.check(await requestFor()), { outcome: 'allowed', source: 'server' })
    })

    t.test('a lost reply is fetched again, and the server acts once', async (t) => {
      const { connect, requestFor, line, events } = await openShop(t, database)
      const client = await connect()
      t.ok(await client.ping())
      line.loseReplies = 3
      t.match(await client.check(await requestFor()), { outcome: 'allowed', leaseKept: true })
      t.same(line.paths, ['/v1/session', ...Array(5).fill('/v1/call')])
      t.equal((await events('licence_check_allowed')).length, 1)
    })

    t.test('a request that came through although no reply did is known again in a new session', async (t) => {
      const { connect, requestFor, line, events } = await openShop(t, database)
      const client = await connect()
      t.ok(await client.ping())
      line.loseReplies = 4
      t.match(await client.issueLease(await requestFor()), { outcome: 'issued', lease: { seq: 1 } })
      t.same(line.paths.slice(2), [...Array(4).fill('/v1/call'), '/v1/session', '/v1/call'])
      t.equal((await events('lease_issued')).length, 1)
    })

    t.test('a session that ended on the server is followed by another', async (t) => {
      for (const seconds of [320, 1000]) {
        const { connect, requestFor, line, clock } = await openShop(t, database)
        const client = await connect('S1', { monotonic: () => 0 })
        t.ok(await client.ping())
        clock.advance(seconds * 1000)
        t.match(await client.check(await requestFor()), { outcome: 'allowed' }, `after ${seconds} s`)
        t.same(line.paths.slice(2), ['/v1/call', '/v1/session', '/v1/call'])
      }
    })

    t.test('while the server is away the lease it signed answers, to its end', async (t) => {
      const { connect, requestFor, line, clock } = await openShop(t, database)
      const store = fileStore({ file: `${t.testdir()}/demo.lease`, key: randomBytes(32) })
      const request = await requestFor()
      t.match(await (await connect('S2', { store })).check(request), { outcome: 'allowed', leaseKept: true })
      line.cut = true
      const restarted = await connect('S2', { store })
      t.match(await restarted.check(request), { outcome: 'allowed', source: 'lease', code: 'lease' })
      const swapped = await requestFor({ ...MACHINE, disk: ['NEWDISK0001'] })
      t.match(await restarted.check(swapped), { outcome: 'allowed', code: 'lease' }, 'with another disk')
      t.match(await restarted.check(await requestFor(OTHER_MACHINE)), { outcome: 'unavailable' })
      clock.advance(8 * DAY_MS)
      t.match(await restarted.check(request), { outcome: 'allowed', source: 'lease', code: 'grace' })
      clock.advance(3 * DAY_MS)
      t.match(await restarted.check(request), { outcome: 'unavailable', lease: 'expired' })
      line.cut = false
      t.match(await restarted.check(request), { outcome: 'allowed', source: 'server', leaseKept: true })
    })

    t.test('a server that has had enough of us says so in the clear, which is no verdict', async (t) => {
      const { connect, requestFor } = await openShop(t, database, {})
      const request = await requestFor()
      const results = new Set<unknown>()
      for (let i = 0; i < 40; i++) {
        const client = await connect('S1')
        const result = await client.check(request)
        results.add('reason' in result ? `${result.outcome} ${result.reason}` : result.outcome)
      }
      t.same([...results], ['allowed', 'unavailable refused'])
    })
  })
