import t, { type Test } from 'tap'
import { toB64u } from '../../src/crypto/encoding.ts'
import { createClient } from '../../src/sdk/client.ts'
import { hwidOf } from '../../src/sdk/hwid.ts'
import type { AtLimit } from '../../src/store/accounts.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { ask, type Run } from '../support/example-client-runs.ts'
import { ACTOR, openBench } from '../support/legacy.ts'
import { pinOf } from '../support/sealed.ts'
import { pythonClient } from './python-client.ts'

// Of a time to come, so that the database's own clean-up leaves these sessions alone.
const NOW = Date.UTC(2031, 5, 1, 12)
const PINNED = { suite: 'S1' } as const

/** A program in Python on one machine and one in JavaScript on another, with one seat for both. */
async function openShop(t: Test, { freshConfig }: TestDatabase, atSeatLimit: AtLimit) {
  const bench = await openBench(t, await freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0' }), NOW)
  const { app, server, clock } = bench
  await app.products.create(ACTOR, 'demo', 'Demo', { atSeatLimit })
  const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null, seats: 1 }
  const { key: licence, licence: row } = await app.licences.create(ACTOR, wish)
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  const { kid, publicKey } = pinOf(app)
  const pins = [{ kid, pub: toB64u(publicKey) }]
  const python = () => ask(pythonClient.program, { server: url, ...PINNED, pins, licence })

  const client = await createClient({ serverUrl: url, ...PINNED, pins, monotonic: clock })
  const hwid = await hwidOf('demo', {
    board: 'OTHER-BOARD-7',
    disk: 'WD-WCC4N7654321',
    bios: '4C4C4544-0051-3510',
  })
  const request = { licence, tool: 'demo', ver: '1.4.2', hwid }
  const told: string[] = []
  const beats: (() => Promise<void>)[] = []
  const startHeartbeat = () =>
    client.startHeartbeat(request, {
      onAsked: (yieldByS) => told.push(`asked, ${yieldByS} s`),
      onDenied: ({ code, kicked }) => told.push(kicked === true ? `${code}, kicked` : code),
      schedule: (beat) => {
        beats.push(beat)
        return () => beats.splice(0)
      },
    })
  return {
    ...{ client, request, clock, python, told, startHeartbeat },
    check: () => client.check(request),
    beat: async () => beats.shift()?.(),
    holders: async () => (await app.seats.taken(row.id)).length,
  }
}

const isAllowed = (t: Test, { code, verdict }: Run, what: string) =>
  t.match({ code, verdict }, { code: 0, verdict: { outcome: 'allowed', code: 'ok' } }, what)
const isDenied = (t: Test, { code, verdict }: Run, what: string) =>
  t.match({ code, verdict }, { code: 1, verdict: { outcome: 'denied', code: 'seat_limit' } }, what)

for (const database of DATABASES)
  t.test(database.name, async (t) => {
    t.test('refuse: one of two programs waits until the other has closed, or was not heard', async (t) => {
      const { check, client, clock, python, holders } = await openShop(t, database, 'refuse')
      isAllowed(t, await python(), 'the first')
      isAllowed(t, await python(), 'the first again, in another session')
      t.match(await check(), { outcome: 'denied', code: 'seat_limit', seats: 1, retry_in: 240 })
      clock.advance(240_000)
      t.match(await check(), { outcome: 'allowed', seat: { seats: 1, lapses_in_s: 240 } })
      isDenied(t, await python(), 'it was not heard')
      await client.close()
      isAllowed(t, await python(), 'the other has closed')
      t.equal(await holders(), 1)
    })

    t.test('kick: each program that begins ends the other, which is told', async (t) => {
      const { check, python, told, startHeartbeat, beat, holders } = await openShop(t, database, 'kick')
      isAllowed(t, await python(), 'the first')
      t.match(await check(), { outcome: 'allowed' })
      startHeartbeat()
      await beat()
      t.same(told, [], 'it holds the seat')
      isDenied(t, await python(), 'it was kicked')
      isAllowed(t, await python(), 'and kicks, now that it knows')
      await beat()
      t.same(told, ['seat_limit, kicked'])
      t.equal(await holders(), 1)
    })

    t.test('ask: the holder is asked, and keeps the seat or loses it by its silence', async (t) => {
      const shop = await openShop(t, database, 'ask')
      const { check, clock, python, told, startHeartbeat, beat, holders } = shop
      t.match(await check(), { outcome: 'allowed' })
      const heartbeat = startHeartbeat()
      isDenied(t, await python(), 'the holder is asked')
      clock.advance(5_000)
      await beat()
      t.same(told, ['asked, 10 s'])
      t.ok(await heartbeat.keepSeat())
      clock.advance(10_000)
      isDenied(t, await python(), 'the holder keeps it, and is asked again')
      clock.advance(15_000)
      isAllowed(t, await python(), 'this time nothing was heard')
      await beat()
      t.same(told, ['asked, 10 s', 'seat_limit'])
      t.equal(await holders(), 1)
    })
  })
