import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { asOperator, count, install, type RunningKunci, serve, sql } from '../support/installation.ts'
import { ACTOR } from '../support/legacy.ts'
import {
  checkData,
  type Hardware,
  type Opened,
  openSession,
  type Post,
  payloadOf,
  pinOf,
  posting,
} from '../support/sealed.ts'
import { loops } from '../support/wire-client.ts'

const [, MARIADB] = DATABASES as [TestDatabase, TestDatabase]
const SECONDS = Number(process.env.KUNCI_CHAOS_SECONDS ?? 20)
const MACHINES = 4
/** Tools of one machine run side by side and want the same leases. */
const TOOLS = 2 * MACHINES
const OPERATIONS = ['licence.check', 'lease.issue', 'log.push'] as const
const MESSAGES_A_SESSION = 40
const COPIES_MAX = 3
const KILLS_MIN = 2
const CALM_MAX_MS = 2000
const PAUSE_MS = 20

/** Two server processes on one database, and a licence for each machine. */
async function openCluster(t: Test) {
  const installation = await install(t, MARIADB)
  const { pin, keys } = await asOperator(installation, async (app) => {
    await app.products.create(ACTOR, 'demo', 'Demo')
    const keys: string[] = []
    const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null }
    while (keys.length < MACHINES) keys.push((await app.licences.create(ACTOR, wish)).key)
    return { pin: pinOf(app), keys }
  })
  const nodes: RunningKunci[] = [await serve(t, installation), await serve(t, installation)]
  return { installation, pin, keys, nodes }
}

type Cluster = Awaited<ReturnType<typeof openCluster>>

/** A message, and whatever it was answered with. */
type Exchange = {
  readonly machine: number
  readonly op: (typeof OPERATIONS)[number]
  readonly text: string
  readonly opened: Opened
  readonly replies: ReadonlySet<string>
}

/** Tools that ask for everything over and over, and each time send the same bytes to either node until they are answered. */
function runTools({ nodes, keys, pin }: Cluster) {
  const exchanges: Exchange[] = []
  let [sent, retries, isOver] = [0, 0, false]
  const insist: Post = async (path, body, headers) => {
    for (;;) {
      const { url } = nodes[randomInt(nodes.length)]!
      const reply = await posting(url)(path, body, headers).catch(() => null)
      if (reply !== null && reply.status !== 503) return reply
      retries++
      await sleep(PAUSE_MS)
    }
  }
  const hardware = (machine: number): Hardware => ({
    board: [`BOARD${machine}`],
    bios: [`BIOS00${machine}`],
    disk: [`DISK00${machine}`],
  })
  const load = loops(TOOLS, async (tool) => {
    const machine = tool % MACHINES
    const session = await openSession(insist, pin)
    for (let n = 0; n < MESSAGES_A_SESSION && !isOver; n++) {
      const op = OPERATIONS[randomInt(OPERATIONS.length)]!
      const text = `tool ${tool} has sent ${++sent}`
      const data = op === 'log.push' ? { level: 'info', text } : checkData(keys[machine]!, hardware(machine))
      const message = session.seal(op, data)
      const copies = Array.from({ length: 1 + randomInt(COPIES_MAX) }, () => session.send(message))
      const replies = await Promise.all(copies)
      const opened = session.open(message, replies[0]!)
      exchanges.push({ machine, op, text, opened, replies: new Set(replies.map((reply) => reply.text)) })
    }
  })
  return {
    exchanges: exchanges as readonly Exchange[],
    retries: () => retries,
    stop: () => {
      isOver = true
      return load.stop()
    },
  }
}

/** Kills one node after the other and starts it again, for so long. @returns how often. */
async function wreak(t: Test, { installation, nodes }: Cluster): Promise<number> {
  const endMs = performance.now() + SECONDS * 1000
  let kills = 0
  for (; performance.now() < endMs || kills < KILLS_MIN; kills++) {
    await sleep(randomInt(CALM_MAX_MS))
    const i = randomInt(nodes.length)
    await nodes[i]!.kunci.kill('SIGKILL')
    nodes[i] = await serve(t, installation)
  }
  return kills
}

const sorted = <T>(values: readonly T[]) => [...values].sort()

t.test('whatever process dies, every message has its effect once and one reply', async (t) => {
  const cluster = await openCluster(t)
  const tools = runTools(cluster)
  const kills = await wreak(t, cluster)
  await tools.stop()
  const { exchanges } = tools
  const of = (wanted: Exchange['op']) => exchanges.filter(({ op }) => op === wanted)
  t.comment(`${exchanges.length} messages, ${kills} kills, ${tools.retries()} retries`)
  t.ok(tools.retries() > 0, 'the tools have noticed')
  for (const op of OPERATIONS) t.ok(of(op).length > 0, op)
  t.same(
    exchanges.filter(({ opened }) => opened.code !== 'ok'),
    [],
    'none refused',
  )
  t.same(
    exchanges.filter(({ replies }) => replies.size !== 1),
    [],
    'one reply each',
  )

  const events = async (type: string) => {
    const rows = await sql(
      cluster.installation,
      `SELECT support_code, detail FROM kunci_events WHERE type = '${type}'`,
    )
    return rows.map((row) => ({ supportCode: row.support_code, ...JSON.parse(String(row.detail)) }))
  }
  const logged = await events('client_log')
  t.same(
    sorted(logged.map(({ text }) => text)),
    sorted(of('log.push').map(({ text }) => text)),
    'logged once',
  )
  const allowed = await events('licence_check_allowed')
  const codes = of('licence.check').map(({ opened }) => opened.data.support_code)
  t.same(sorted(allowed.map(({ supportCode }) => supportCode)), sorted(codes), 'checked once')
  t.equal((await events('lease_issued')).length, of('lease.issue').length, 'issued once')
  t.equal(await count(cluster.installation, 'kunci_devices'), MACHINES, 'enrolled once')

  const stored = await sql(cluster.installation, 'SELECT device_id, seq FROM kunci_leases')
  for (let machine = 0; machine < MACHINES; machine++) {
    const own = exchanges.filter((exchange) => exchange.machine === machine && exchange.op !== 'log.push')
    const leases = new Set(own.map(({ opened }) => String(opened.data.lease)))
    const seqs = [...leases].map((lease) => payloadOf(lease).seq as number).sort((a, b) => a - b)
    t.same(
      seqs,
      seqs.map((_, i) => i + 1),
      `machine ${machine}: ${seqs.length} leases, no number missing and none twice`,
    )
    const [{ dev } = { dev: '' }] = [...leases].map(payloadOf)
    t.equal(Number(stored.find(({ device_id: id }) => id === dev)?.seq), seqs.length, 'and the last is kept')
  }
})
