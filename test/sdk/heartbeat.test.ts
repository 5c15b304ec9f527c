import t from 'tap'
import { createClient } from '../../src/sdk/client.ts'
import type { HeartbeatOptions } from '../../src/sdk/heartbeat.ts'
import { hwidOf } from '../../src/sdk/hwid.ts'
import { type Asked, type Reply, ScriptedServer } from './scripted-server.ts'
import { vectors } from './support.ts'

const { tool, raw } = vectors.hwid
const request = { licence: vectors.licence.key, tool, ver: '1.4.2', hwid: await hwidOf(tool, raw) }
const SEAT = { seats: 1, lapses_in_s: 240 }
const FULL: Reply = {
  ...{ status: 403, code: 'seat_limit' },
  data: { valid: false, seats: 1, retry_in: 240, kicked: true },
}

/** A server whose licence counts its seats, unless `seat` is `null`. */
function seating(seat: object | null = SEAT) {
  return ({ op }: Asked): Reply => {
    const told = seat === null ? {} : { seat }
    if (op !== 'licence.check') return { status: 200, code: 'ok', data: op === 'ping' ? told : {} }
    return { status: 200, code: 'ok', data: { valid: true, check_again_after_s: 111, ...told } }
  }
}

/** A client that has checked, and a heartbeat whose timer the test fires. */
async function start(server: ScriptedServer, options: HeartbeatOptions = {}) {
  let monotonicMs = 0
  const client = await createClient({
    ...{ serverUrl: 'https://licences.example', suite: 'S1', pins: server.pins, fetch: server.fetch },
    ...{ monotonic: () => monotonicMs, sleep: async () => {} },
  })
  const first = await client.check(request)
  const timers = new Set<{ beat: () => Promise<void>; ms: number }>()
  const told: unknown[] = []
  const heartbeat = client.startHeartbeat(request, {
    onAsked: (yieldByS) => told.push(yieldByS),
    onDenied: ({ code, kicked }) => told.push(kicked ? `${code}, kicked` : code),
    onUnavailable: ({ outcome }) => told.push(outcome),
    schedule: (beat, ms) => {
      const timer = { beat, ms }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    ...options,
  })
  const waits = () => [...timers].map(({ ms }) => ms)
  const fire = async () => {
    const [timer] = timers
    if (timer === undefined) throw new Error('no timer is set')
    timers.delete(timer)
    await timer.beat()
  }
  server.asked.length = 0
  return {
    ...{ client, first, heartbeat, told, waits, fire },
    ops: () => server.asked.map(({ op }) => op),
    endSession: () => {
      monotonicMs += 300_000
    },
  }
}

t.test(
  'a check tells of the seat, and each beat renews it by a ping, as often as the server asks',
  async (t) => {
    const server = new ScriptedServer('S1')
    server.answer = seating()
    const { first, waits, fire, ops, told } = await start(server)
    t.match(first, { outcome: 'allowed', seat: SEAT })
    t.same(waits(), [111_000])
    await fire()
    await fire()
    t.same(ops(), ['ping', 'ping'])
    t.same(waits(), [111_000])
    t.same(told, [])
  },
)

t.test('a new session has no seat: there the heartbeat checks', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating()
  const { fire, ops, endSession } = await start(server)
  endSession()
  await fire()
  await fire()
  t.same(ops(), ['licence.check', 'ping'])
  server.forget()
  await fire()
  t.same(ops().slice(2), ['licence.check'], 'nor has one that the server has forgotten')
  server.answer = (asked) => (asked.op === 'ping' ? { status: 200, code: 'ok', data: {} } : seating()(asked))
  await fire()
  t.same(ops().slice(3), ['ping', 'licence.check'], 'nor one whose ping tells of none')
})

t.test('where seats are not counted, each beat is a check', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating(null)
  const { fire, ops, told } = await start(server)
  for (const _ of [1, 2, 3]) await fire()
  t.same(ops(), ['ping', 'licence.check', 'licence.check', 'licence.check'])
  t.same(told, [])
})

t.test('whoever is asked for his seat hears it, and keeps it by a word', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating({ ...SEAT, yield_by_s: 12 })
  const { heartbeat, fire, told, waits } = await start(server, { everyS: 5 })
  t.same(waits(), [5_000])
  await fire()
  t.same(told, [12])
  t.ok(await heartbeat.keepSeat())
  t.match(server.asked.at(-1), { op: 'ping', data: { keep: true } })
  t.same(waits(), [5_000], 'the heartbeat goes on')
})

t.test('a seat is kept in a new session too: taken over first, then kept', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating({ ...SEAT, yield_by_s: 12 })
  const { heartbeat, ops, endSession } = await start(server)
  endSession()
  t.ok(await heartbeat.keepSeat())
  t.same(ops(), ['licence.check', 'ping'])
  t.match(server.asked.at(-1)?.data, { keep: true })
})

for (const [what, answer, why] of [
  ['a ping', () => FULL, 'seat_limit, kicked'],
  [
    'a check',
    ({ op }: Asked) =>
      op === 'ping'
        ? { status: 200, code: 'ok', data: {} }
        : { status: 403, code: 'licence_invalid', data: { valid: false } },
    'licence_invalid',
  ],
] as const)
  t.test(`${what} that is refused is told once and ends the heartbeat`, async (t) => {
    const server = new ScriptedServer('S1')
    server.answer = seating()
    const { client, heartbeat, fire, told, waits } = await start(server)
    server.answer = answer
    await fire()
    t.same(told, [why])
    t.same(waits(), [])
    t.notOk(await heartbeat.keepSeat())
    t.same(told, [why])
    t.ok(await client.ping(), 'the server, and nobody else, has answered')
  })

t.test('a seat that was lost when it is to be kept is lost', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating({ ...SEAT, yield_by_s: 1 })
  const { heartbeat, told, waits } = await start(server)
  server.answer = () => FULL
  t.notOk(await heartbeat.keepSeat())
  t.same(told, ['seat_limit, kicked'])
  t.same(waits(), [])
})

t.test('without an answer the heartbeat says so and goes on', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating()
  const { heartbeat, fire, told, waits, ops } = await start(server)
  server.answer = () => ({ status: 500, code: 'internal', data: {} })
  await fire()
  t.notOk(await heartbeat.keepSeat())
  t.same(told, ['unavailable', 'unavailable'])
  t.same(waits(), [111_000])
  server.answer = seating()
  await fire()
  t.same(ops().slice(-1), ['ping'])
})

t.test('stop and close end the heartbeat', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating()
  const stopped = await start(server)
  stopped.heartbeat.stop()
  t.same(stopped.waits(), [])
  const closed = await start(server)
  await closed.client.close()
  t.same(closed.waits(), [])
  t.same(closed.ops(), ['session.close'])
})

t.test('a beat that is under way when the heartbeat ends sets no other', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating({ ...SEAT, yield_by_s: 3 })
  const { heartbeat, fire, waits, told } = await start(server)
  const beat = fire()
  heartbeat.stop()
  await beat
  t.same(waits(), [])
  t.same(told, [])
})

t.test('the timer of the platform fires', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = seating({ ...SEAT, yield_by_s: 9 })
  // It holds no program back, this one neither.
  const hold = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(hold))
  const { client } = await start(server)
  const asked = new Promise<number>((onAsked) => {
    client.startHeartbeat(request, { everyS: 0.01, onAsked })
  })
  t.equal(await asked, 9)
  await client.close()
})
