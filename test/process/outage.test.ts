import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { DATABASES, freshConfig, type TestDatabase } from '../support/databases.ts'
import { asOperator, type Installation, install, serve, until } from '../support/installation.ts'
import { claimsOf, encrypt } from '../support/legacy.ts'
import { startMariadb } from '../support/mariadb.ts'
import { loops, type WireReply, wireClient } from '../support/wire-client.ts'

const HWID = '1234567890'
/** A request may wait five seconds for the one before it, and five for its own statement; the rest is for slow machines. */
const FROZEN_MAX_MS = 25_000
const KINDS = ['hand-out', 'check', 'ready', 'live'] as const
type Kind = (typeof KINDS)[number]
type Sample = WireReply & { readonly kind: Kind; readonly startMs: number; readonly endMs: number }

const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)

async function withLicence(installation: Installation): Promise<Installation> {
  await asOperator(installation, async ({ products, licences }) => {
    const actor = { name: 'test' }
    await products.create(actor, 'demo', 'Demo')
    await licences.create(actor, { productCode: 'demo', customer: 'Budi', expiresAtMs: null, hwid: HWID })
  })
  return installation
}

/** Asks for everything, over and over, and keeps every reply. A request without a reply fails the test. */
async function underLoad(t: Pick<Test, 'teardown'>, url: string, clients = 12) {
  const [client, health] = [wireClient(url), wireClient(url)]
  t.teardown(() => {
    client.close()
    health.close()
  })
  const token: string = JSON.parse((await client.handOut()).text).session_token
  const hwid = encrypt(claimsOf(token), HWID)
  const ask: Record<Kind, () => Promise<WireReply>> = {
    'hand-out': () => client.handOut(),
    check: () => client.check(token, { hwid }),
    ready: () => health.send('/health/ready', { method: 'GET' }),
    live: () => health.send('/health/live', { method: 'GET' }),
  }
  const samples: Sample[] = []
  const load = loops(clients, async (loop) => {
    const kind = KINDS[loop % KINDS.length] ?? 'live'
    const startMs = performance.now()
    const reply = await ask[kind]()
    samples.push({ ...reply, kind, startMs, endMs: performance.now() })
    // A refusal costs next to nothing, and clients that never breathe would leave the database no processor.
    await sleep(5)
  })
  /** Waits until each kind was asked and answered with this status so many times from now on. */
  const answered = async (statuses: Partial<Record<Kind, number>>, times = 5, timeoutMs?: number) => {
    const fromMs = performance.now()
    const seen = (kind: Kind) =>
      samples.filter((s) => s.kind === kind && s.status === statuses[kind] && s.startMs >= fromMs).length
    const isDone = () => KINDS.every((kind) => statuses[kind] === undefined || seen(kind) >= times)
    await until(`replies ${JSON.stringify(statuses)}`, isDone, timeoutMs)
  }
  return { samples, answered, stop: load.stop }
}

const UP = { 'hand-out': 200, check: 200, ready: 200, live: 200 }
const DOWN = { 'hand-out': 503, check: 503, ready: 503, live: 200 }

function assertHonest(t: Test, samples: readonly Sample[]): void {
  for (const { kind, status, text, headers } of samples.filter(
    ({ kind }) => kind in { 'hand-out': 1, check: 1 },
  )) {
    const body = JSON.parse(text)
    const isGood = status === 200 && body.status === 'success'
    const isRefused =
      status === 503 && body.code === 'store_unavailable' && Number(headers['retry-after']) > 0
    if (!isGood && !isRefused) t.fail(`${kind} answered ${status} ${text}`)
  }
}

t.test('MariaDB', async (t) => {
  const mariadb = await startMariadb()
  t.teardown(() => mariadb.stop())
  const database: TestDatabase = {
    name: 'MariaDB',
    freshConfig: async (t, env) => freshConfig(t, { DATABASE_URL: await mariadb.createDatabase(), ...env }),
  }

  for (const [what, end] of [
    ['stopped', mariadb.stop],
    ['killed', mariadb.kill],
  ] as const)
    t.test(`${what} under load: 503 and nothing else, and well again when it is back`, async (t) => {
      const { kunci, url } = await serve(t, await withLicence(await install(t, database)))
      const { samples, answered, stop } = await underLoad(t, url)
      await answered(UP)
      await end()
      const downMs = performance.now()
      await answered(DOWN)
      const restartMs = performance.now()
      await mariadb.restart()
      const backMs = performance.now()
      await answered(UP)
      t.comment(`well again ${Math.round(performance.now() - backMs)} ms after the database`)
      await stop()
      assertHonest(t, samples)
      const meanwhile = samples.filter(({ startMs, endMs }) => startMs > downMs && endMs < restartMs)
      for (const kind of KINDS) {
        const replies = meanwhile.filter((sample) => sample.kind === kind)
        t.same([...new Set(replies.map(({ status }) => status))], [DOWN[kind]], `${kind} meanwhile`)
        t.comment(
          `${kind}: ${replies.length}, the slowest ${Math.round(Math.max(...replies.map((r) => r.tookMs)))} ms`,
        )
      }
      t.equal((await kunci.kill()).code, 0, 'the same process all along')
    })

  t.test('frozen under load: 503 in seconds and not a hang, and well again when it goes on', async (t) => {
    const { kunci, url } = await serve(t, await withLicence(await install(t, database)))
    const { samples, answered, stop } = await underLoad(t, url, 96)
    await answered(UP)
    mariadb.pause()
    t.teardown(() => mariadb.resume())
    const pausedMs = performance.now()
    await answered(DOWN, 10, 40_000)
    const resumedMs = performance.now()
    mariadb.resume()
    await answered(UP)
    await stop()
    assertHonest(t, samples)
    const meanwhile = samples.filter(({ startMs, endMs }) => startMs > pausedMs && endMs < resumedMs)
    const slowest = (kind: Kind) =>
      Math.max(...meanwhile.filter((s) => s.kind === kind).map(({ tookMs }) => tookMs))
    for (const kind of KINDS) t.comment(`${kind}: the slowest ${Math.round(slowest(kind))} ms`)
    for (const kind of ['hand-out', 'check', 'ready'] as const) t.ok(slowest(kind) < FROZEN_MAX_MS, kind)
    t.ok(slowest('live') < 1000, 'live at once')
    t.equal((await kunci.kill()).code, 0)
  })
})

t.test(
  'SQLite: while another process writes for two seconds hand-outs wait, and the rest goes on',
  async (t) => {
    const [sqlite] = DATABASES
    if (sqlite === undefined) throw new Error('SQLite comes first')
    const installation = await withLicence(await install(t, sqlite))
    const { kunci, url } = await serve(t, installation)
    const [client, health] = [wireClient(url), wireClient(url)]
    t.teardown(() => {
      client.close()
      health.close()
    })
    const other = new DatabaseSync(`${installation.config.dataDir}/kunci.db`)
    t.teardown(() => other.close())
    other.exec('BEGIN IMMEDIATE')
    const lockedMs = performance.now()
    let isOver = false
    const waiting = Array.from({ length: 16 }, async () => {
      const reply = await client.handOut()
      t.ok(isOver, 'it waited for the lock')
      t.equal(reply.status, 200)
    })
    const pings: number[] = []
    while (performance.now() - lockedMs < 2000) {
      const reply = await health.send('/health/live', { method: 'GET' })
      t.equal(reply.status, 200)
      pings.push(reply.tookMs)
      t.equal((await health.send('/health/ready', { method: 'GET' })).status, 200, 'reads go on')
      await sleep(20)
    }
    isOver = true
    other.exec('ROLLBACK')
    await Promise.all(waiting)
    t.ok(sum(pings) / pings.length < 100, `live took ${Math.round(sum(pings) / pings.length)} ms on average`)
    t.ok(Math.max(...pings) < 500, `and never more than ${Math.round(Math.max(...pings))} ms`)
    t.equal((await kunci.kill()).code, 0)
  },
)
