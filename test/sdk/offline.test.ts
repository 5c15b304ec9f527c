import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createClient } from '../../src/sdk/client.ts'
import { fileStore } from '../../src/sdk/file-store.ts'
import { hwidOf } from '../../src/sdk/hwid.ts'
import { type LeaseStore, memoryStore } from '../../src/sdk/lease-store.ts'
import type { ClientOptions } from '../../src/sdk/options.ts'
import { type Asked, leaseFor, leaseKeys, plain, ScriptedServer } from './scripted-server.ts'
import { vectors } from './support.ts'

const { tool, raw } = vectors.hwid
const { payload } = vectors.lease
const request = { licence: vectors.licence.key, tool, ver: '1.4.2', hwid: await hwidOf(tool, raw) }
const DAY = 86_400

/** What a good licence gets from each operation. */
function granted(asked: Asked): object {
  if (asked.op === 'ping') return {}
  return { ...(asked.op === 'licence.check' ? { valid: true } : {}), lease: leaseFor(asked) }
}

/** A machine with a clock and a store, and its server, of which it may be cut off. */
async function machine(store: LeaseStore = memoryStore(), options: Partial<ClientOptions> = {}) {
  const server = new ScriptedServer('S1')
  const clock = { now: payload.iat, monotonic: 0, online: true }
  server.answer = (asked) => ({ status: 200, code: 'ok', data: granted(asked) })
  const start = () =>
    createClient({
      ...{ serverUrl: 'https://licences.example', suite: 'S1', pins: server.pins, leaseKeys, store },
      now: () => clock.now * 1000,
      monotonic: () => clock.monotonic * 1000,
      sleep: async () => {},
      fetch: (...given) =>
        clock.online ? server.fetch(...given) : Promise.reject(new TypeError('fetch failed')),
      ...options,
    })
  return { server, clock, store, start, client: await start() }
}

const byLease = (state: 'ok' | 'grace') => ({
  ...{ outcome: 'allowed', source: 'lease', code: state === 'ok' ? 'lease' : 'grace', state },
  ...{ reason: 'no_reply', lease: { sub: payload.sub, feat: payload.feat } },
})
const notBy = (lease: string) => ({ outcome: 'unavailable', code: null, reason: 'no_reply', lease })

t.test('without the server a kept lease answers: ok, then grace, then no more', async (t) => {
  const store = fileStore({ file: `${t.testdir()}/demo.lease`, key: randomBytes(32) })
  const { clock, client, start } = await machine(store)
  t.match(await client.check(request), { outcome: 'allowed', source: 'server', leaseKept: true })
  clock.online = false
  t.match(await client.check(request), byLease('ok'))
  clock.now = payload.exp
  t.match(await (await start()).check(request), byLease('ok'), 'after a restart as well')
  clock.now = payload.exp + payload.grace
  t.match(await client.check(request), byLease('grace'))
  clock.now += 1
  t.match(await client.check(request), notBy('expired'))
  clock.now = payload.iat
  t.match(await client.check(request), notBy('clock_rollback'))
  clock.online = true
  t.match(await client.check(request), { outcome: 'allowed', source: 'server' })
  clock.online = false
  t.match(await client.check(request), byLease('ok'), 'contact with the server mends it')
})

t.test('a lease never overrides a denial, and a denial deletes nothing', async (t) => {
  const { server, clock, client, store } = await machine()
  await client.check(request)
  const before = await store.load()
  server.answer = () => ({ status: 403, code: 'licence_expired', data: { valid: false } })
  t.match(await client.check(request), { outcome: 'denied', code: 'licence_expired' })
  t.equal((await store.load()).lease, before.lease)
  clock.online = false
  t.match(await client.check(request), byLease('ok'))
})

t.test('a denial that names a floor ends the leases below it', async (t) => {
  const { server, clock, client } = await machine()
  await client.check(request)
  const data = { valid: false, lease_floor: payload.seq + 1 }
  server.answer = () => ({ status: 403, code: 'licence_invalid', data })
  t.match(await client.check(request), { outcome: 'denied' })
  clock.online = false
  t.match(await client.check(request), notBy('superseded'))
  clock.online = true
  server.answer = (asked) => ({
    ...{ status: 200, code: 'ok' },
    data: { valid: true, lease: leaseFor(asked, { seq: payload.seq }) },
  })
  t.match(await client.check(request), { outcome: 'allowed', leaseKept: false }, 'an old one is not kept')
  server.answer = (asked) => ({
    ...{ status: 200, code: 'ok' },
    data: { valid: true, lease: leaseFor(asked, { seq: payload.seq + 1 }) },
  })
  t.match(await client.check(request), { outcome: 'allowed', leaseKept: true })
})

t.test('a machine that became another device keeps the leases of that one, from the first on', async (t) => {
  const { server, clock, client } = await machine()
  await client.check(request)
  server.answer = (asked) => ({
    ...{ status: 200, code: 'ok' },
    data: { valid: true, lease: leaseFor(asked, { seq: 1, dev: 'dev_ANOTHER', jti: 'another' }) },
  })
  t.match(await client.check(request), { outcome: 'allowed', leaseKept: true }, 'released and enrolled anew')
  clock.online = false
  t.match(await client.check(request), { outcome: 'allowed', source: 'lease', lease: { seq: 1 } })
})

t.test('nobody without a key can end a lease or stretch it', async (t) => {
  const { server, clock, client, store } = await machine()
  await client.check(request)
  const before = await store.load()
  const lies = {
    v: 1,
    error: 'session',
    lease_floor: 99,
    server_time: payload.exp + DAY,
    code: 'licence_invalid',
  }
  for (const status of [200, 400, 403, 429, 500]) {
    server.script.push(new Response(JSON.stringify(lies), { status }))
    t.match(await client.check(request), { outcome: 'allowed', source: 'lease' }, `${status}`)
  }
  const after = await store.load()
  t.match(after.state, { hwm: before.state?.hwm, seq: before.state?.seq })
  server.script.push(plain(401, 'session'), plain(400, 'kex'))
  t.match(await client.check(request), { outcome: 'allowed', source: 'lease', reason: 'kex' })
  clock.online = false
  t.match(await client.check(request), byLease('ok'))
})

t.test('a server that is busy or in trouble is covered for by the lease', async (t) => {
  const { server, client } = await machine()
  await client.check(request)
  for (const code of ['slow_down', 'internal', 'maintenance']) {
    server.answer = () => ({ status: 500, code, data: { retry_in: 5 } })
    t.match(await client.check(request), { outcome: 'allowed', source: 'lease', reason: code })
  }
})

t.test('the lease of another tool or machine does not answer', async (t) => {
  const { clock, client } = await machine()
  await client.check(request)
  clock.online = false
  const hwid = await hwidOf(tool, { board: 'OTHER0001', disk: 'OTHER0002', cpu: raw.cpu })
  t.match(await client.check({ ...request, hwid }), notBy('no_lease'))
  t.match(await client.check({ ...request, tool: 'other' }), notBy('no_lease'))
})

t.test('a reply whose lease does not count is still an answer, and nothing of it is kept', async (t) => {
  const { server, clock, client, store } = await machine()
  for (const change of [
    { aud: 'tool:other' },
    { hw: { ...payload.hw, c: {} } },
    { nbf: payload.iat + DAY },
  ]) {
    server.answer = (asked) => ({
      ...{ status: 200, code: 'ok' },
      data: { valid: true, lease: leaseFor(asked, change) },
    })
    t.match(await client.check(request), { outcome: 'allowed', source: 'server', leaseKept: false })
  }
  server.answer = () => ({ status: 200, code: 'ok', data: { valid: true, lease: 'no.lease.' } })
  t.match(await client.check(request), { outcome: 'allowed', leaseKept: false })
  t.same(await store.load(), { lease: null, state: null })
  clock.online = false
  t.match(await client.check(request), notBy('no_lease'))
})

t.test(
  'a state that is gone, another machine’s, or cannot be written leaves no verdict offline',
  async (t) => {
    const { clock, client, store } = await machine()
    await client.check(request)
    clock.online = false
    const { lease, state } = await store.load()
    const as = async (faulty: Partial<LeaseStore>) => {
      const other = await machine({ ...store, ...faulty })
      other.clock.online = false
      return other.client.check(request)
    }
    t.match(await as({ load: async () => ({ lease, state: null }) }), notBy('state_lost'))
    const full = () => Promise.reject(new Error('no space left on device'))
    t.match(await as({ saveState: full }), notBy('no_lease'), 'else running time would not count')
    t.match(await as({ load: full }), notBy('no_lease'))
    t.match(await as({ load: async () => ({ lease: null, state }) }), notBy('no_lease'))
    t.match(await as({}), byLease('ok'), 'while with all of it there is one')
  },
)

t.test('a store that fails does not turn an answer of the server around', async (t) => {
  const full = () => Promise.reject(new Error('no space left on device'))
  const { client } = await machine({ load: full, saveLease: full, saveState: full })
  t.match(await client.check(request), { outcome: 'allowed', source: 'server', leaseKept: false })
  t.ok(await client.ping())
})

t.test('running without the server uses the lease up, whatever the clock says', async (t) => {
  const { clock, client } = await machine()
  await client.check(request)
  clock.online = false
  clock.monotonic = payload.run
  t.match(await client.check(request), byLease('ok'))
  clock.monotonic += 1
  t.match(await client.check(request), notBy('expired'))
})

t.test('running with the server uses nothing up', async (t) => {
  const { clock, client } = await machine()
  for (clock.monotonic = 0; clock.monotonic < 3 * payload.run; clock.monotonic += payload.run / 2)
    await client.check(request)
  clock.online = false
  t.match(await client.check(request), byLease('ok'))
})

t.test('each opened reply tells the time', async (t) => {
  const { server, clock, client } = await machine()
  await client.check(request)
  server.serverTime = payload.iat + DAY
  t.ok(await client.ping())
  clock.online = false
  t.match(await client.check(request), notBy('clock_rollback'), 'our clock is a day behind')
  clock.now += DAY
  t.match(await client.check(request), byLease('ok'))
})

t.test('a new lease was signed for the very request, or it is none', async (t) => {
  const { server, client, store } = await machine()
  t.match(await client.issueLease(request), { outcome: 'issued', lease: { seq: payload.seq } })
  t.equal(server.asked[0]?.op, 'lease.issue')
  const { lease } = await store.load()
  server.answer = () => ({ status: 200, code: 'ok', data: { lease } })
  t.match(await client.issueLease(request), { outcome: 'unavailable', reason: 'lease' }, 'a recorded one')
  t.match(await client.check(request), { outcome: 'allowed', source: 'lease' }, 'no valid: true, no verdict')
  server.answer = () => ({ status: 403, code: 'device_limit', data: { valid: false } })
  t.match(await client.issueLease(request), { outcome: 'denied', code: 'device_limit' })
  server.answer = () => ({ status: 429, code: 'slow_down', data: { retry_in: 9 } })
  t.match(await client.issueLease(request), { outcome: 'unavailable', reason: 'slow_down', retryIn: 9 })
  server.script.push(plain(429, 'rate'))
  t.match(await client.issueLease(request), { outcome: 'unavailable', reason: 'refused' })
  const without = await machine(undefined, { leaseKeys: undefined, store: undefined })
  await t.rejects(without.client.issueLease(request), RangeError)
})

t.test('checks that come together take their steps one after the other', async (t) => {
  const inner = memoryStore()
  let inside = 0
  let crossed = 0
  const slowly = async <Result>(task: () => Promise<Result>) => {
    if (++inside > 1) crossed += 1
    await new Promise(setImmediate)
    inside -= 1
    return task()
  }
  const { clock, client, store } = await machine({
    load: () => slowly(inner.load),
    saveLease: (lease) => slowly(() => inner.saveLease(lease)),
    saveState: (state) => slowly(() => inner.saveState(state)),
  })
  await Promise.all(Array.from({ length: 4 }, () => client.check(request)))
  clock.online = false
  clock.monotonic = 60
  await Promise.all(Array.from({ length: 4 }, () => client.check(request)))
  t.equal(crossed, 0)
  t.match((await store.load()).state, { run: 60 }, 'a minute is counted once')
})
