import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import {
  asOperator,
  count,
  type Installation,
  install,
  type RunningKunci,
  serve,
  sql,
  until,
} from '../support/installation.ts'
import { readStream } from '../support/streams.ts'
import { addUser, CHEAP, type Client, clientOf, clientWith, isIn, login, signIn } from '../support/users.ts'
import { loops, wireClient } from '../support/wire-client.ts'

const ANI = 'ani@example.com'
const ADMIN = 'admin@example.com'
const EMAILS = Array.from({ length: 10 }, (_, i) => `user${i}@example.com`)
const SHOT_EVERY_MS = 20
const BURST = 10
const SIGN_INS = 20
const HANG_MS = 5000

/** One process on its own, and two workers that share a port, on one database. */
async function openNodes(t: Test, database: TestDatabase) {
  const installation = await install(t, database, CHEAP)
  await asOperator(installation, async (app) => {
    await addUser(app, ADMIN, 'admin')
    for (const email of [ANI, ...EMAILS]) await addUser(app, email)
  })
  const env = { ...installation.env, WORKERS: '2' }
  const [single, pair] = await Promise.all([serve(t, installation), serve(t, { ...installation, env })])
  const isUp = () => pair.kunci.stdout.filter((line) => line.includes('worker.listening')).length === 2
  await until('both workers listen', isUp)
  return { installation, single, pair }
}

type Nodes = Awaited<ReturnType<typeof openNodes>>

function door(t: Pick<Test, 'teardown'>, { url }: RunningKunci, keepAlive = true) {
  const client = wireClient(url, { keepAlive })
  t.teardown(() => client.close())
  return client
}

type Sample = {
  readonly what: string
  readonly status: number
  readonly sentMs: number
  readonly endMs: number
}

async function sample(what: string, work: () => Promise<{ status: number }>): Promise<Sample> {
  const sentMs = performance.now()
  const { status } = await work()
  return { what, status, sentMs, endMs: performance.now() }
}

/** What was answered, each once. */
function statuses(samples: readonly Sample[]): number[] {
  return [...new Set(samples.map(({ status }) => status))]
}

/** Uses a token 50 times a second, whether answers come or not, at each of its servers in turn. */
function steadily(...clients: readonly Client[]) {
  const samples: Promise<Sample>[] = []
  const use = () => {
    const client = clients[samples.length % clients.length]!
    samples.push(sample('me', () => client.ask('GET /api/auth/me')))
  }
  const timer = setInterval(use, SHOT_EVERY_MS)
  return {
    /** Some more, all at this moment. */
    burst: () => {
      for (let i = 0; i < BURST; i++) use()
    },
    stop: async () => {
      clearInterval(timer)
      return Promise.all(samples)
    },
  }
}

function force(admin: Client, { sessionId }: Pick<Client, 'sessionId'>) {
  return admin.ask(`POST /api/user-sessions/force-logout/${sessionId}`)
}

/** Tells, past every server, whether the end of a session is committed. */
async function onlooker(t: Pick<Test, 'teardown'>, { config }: Installation) {
  const statement = 'SELECT is_active FROM user_sessions WHERE session_id = ?'
  if (config.databaseUrl === undefined) {
    const db = new DatabaseSync(join(config.dataDir, 'kunci.db'), { readOnly: true })
    t.teardown(() => db.close())
    const look = db.prepare(statement)
    return async (sessionId: string) => look.get(sessionId)?.is_active === 0
  }
  const connection = await createConnection(config.databaseUrl)
  t.teardown(() => connection.destroy())
  return async (sessionId: string) => {
    const [rows] = await connection.execute<RowDataPacket[]>(statement, [sessionId])
    return rows[0]?.is_active === 0
  }
}

function endTests(t: Test, { installation, single, pair }: Nodes): void {
  t.test('on the node that ends a session not one request is let through from the commit on', async (t) => {
    const server = door(t, single)
    const admin = await signIn(door(t, single), ADMIN)
    const isOver = await onlooker(t, installation)
    for (const email of EMAILS) {
      const client = await signIn(server, email)
      const use = steadily(client)
      await sleep(100)
      const forced = sample('force', () => force(admin, client)).finally(use.burst)
      while (!(await isOver(client.sessionId))) {
        use.burst()
        await sleep(1)
      }
      const committedMs = performance.now()
      use.burst()
      const { status, endMs } = await forced
      await sleep(100)
      const samples = await use.stop()
      const refused = samples.filter(({ status }) => status !== 200)
      const knownMs = Math.min(endMs, committedMs, ...refused.map(({ endMs }) => endMs))
      const late = samples.filter(({ sentMs }) => sentMs > knownMs)
      t.same([status, samples[0]?.status], [200, 200], 'it was in, and was ended')
      t.ok(late.length >= BURST)
      t.same(statuses(late), [401], `${late.length} sent once anybody could know of the end`)
    }
  })

  t.test('in a sibling worker and in another process it is over within a second', async (t) => {
    // Connections are what the workers share out: to those each request has its own.
    const doors = [door(t, pair, false), door(t, single)] as const
    const admin = await signIn(doors[0], ADMIN)
    const lags = EMAILS.map(async (email, i) => {
      await sleep(i * 150)
      const { token, sessionId } = await signIn(doors[i % 2]!, email)
      const use = steadily(...doors.map((door) => clientWith(door, token, sessionId)))
      await sleep(300)
      const { status, sentMs, endMs } = await sample('force', () => force(admin, { sessionId }))
      await sleep(1200)
      const samples = await use.stop()
      t.equal(status, 200)
      t.same(statuses(samples.filter((sample) => sample.endMs < sentMs)), [200])
      const late = samples.filter((sample) => sample.sentMs > endMs + 1000)
      t.same(statuses(late), [401], `${late.length} sent a second later`)
      const isLet = samples.filter(({ status }) => status === 200)
      return Math.round(Math.max(...isLet.map(({ sentMs }) => sentMs)) - endMs)
    })
    t.comment(`the last one let through was sent so many ms after the end: ${await Promise.all(lags)}`)
  })
}

/** Every kind of call that needs a user, and signing in, over and over. */
async function callers(t: Pick<Test, 'teardown'>, node: RunningKunci, ani: Client, admin: Client) {
  const server = door(t, node)
  // Of whoever signs in or out nothing is remembered: those who do are others.
  const [busy = ''] = EMAILS
  const other = await signIn(server, busy)
  const kinds = Object.entries<() => Promise<{ status: number }>>({
    login: () => login(server, busy),
    me: () => ani.ask('GET /api/auth/me'),
    sessions: () => ani.ask('GET /api/sessions'),
    'sessions, ending': () => other.ask('DELETE /api/sessions?scope=others'),
    ticket: () => ani.ask('POST /api/events/ticket'),
    poll: () => ani.ask('GET /api/events/poll?wait=0'),
    stream: async () => {
      const stream = await readStream(t, `${node.url}/api/events`, ani.headers)
      stream.close()
      return stream
    },
    'user-sessions': () => admin.ask('GET /api/user-sessions/active-users'),
    'user-sessions, ending': () => admin.ask('POST /api/user-sessions/cleanup-expired'),
  })
  const samples: Sample[] = []
  const load = loops(kinds.length, async (loop) => {
    samples.push(await sample(...kinds[loop]!))
    await sleep(50)
  })
  /** Waits until each kind was sent from now on and answered so, a few times. */
  const answered = (status: number) => {
    const fromMs = performance.now()
    const seen = (what: string) =>
      samples.filter((s) => s.what === what && s.status === status && s.sentMs > fromMs).length
    return until(`${status} to all`, () => kinds.every(([what]) => seen(what) >= 3))
  }
  return { samples, answered, stop: load.stop }
}

function outageTests(t: Test, { installation, single }: Nodes): void {
  t.test('without its tables nobody is in and nobody gets in; with them all goes on as before', async (t) => {
    const server = door(t, single)
    const [ani, admin] = [await signIn(server, ANI), await signIn(server, ADMIN)]
    const { samples, answered, stop } = await callers(t, single, ani, admin)
    for (const table of ['user_sessions', 'kunci_users']) {
      await answered(200)
      await sql(installation, `ALTER TABLE ${table} RENAME TO hidden_away`)
      const goneMs = performance.now()
      await sleep(1000)
      await answered(503)
      const untilMs = performance.now()
      await sql(installation, `ALTER TABLE hidden_away RENAME TO ${table}`)
      const backMs = performance.now()
      await answered(200)
      t.comment(`${table}: well again within ${Math.round(performance.now() - backMs)} ms`)
      const without = samples.filter(({ sentMs, endMs }) => sentMs > goneMs && endMs < untilMs)
      const late = without.filter(({ sentMs }) => sentMs > goneMs + 1000)
      t.same(statuses(late), [503], `${late.length} a second after ${table} was gone`)
      t.same(statuses(without.filter(({ what }) => what === 'login')), [503], 'at once nobody gets in')
    }
    await stop()
    t.same(
      statuses(samples).sort(),
      [200, 503],
      `of ${samples.length} nobody is told that his session is over`,
    )
    t.ok(Math.max(...samples.map(({ sentMs, endMs }) => endMs - sentMs)) < HANG_MS)
    t.same([await isIn(ani), await isIn(admin)], [true, true])
  })
}

function conflictTests(t: Test, { installation, single, pair }: Nodes): void {
  for (const atLimit of ['kick', 'refuse', 'ask'] as const)
    t.test(`${atLimit}: of twenty who sign in at once at three processes one is in`, async (t) => {
      const email = `${atLimit}@example.com`
      const { id } = await asOperator(installation, async (app) => {
        const user = await addUser(app, email)
        await app.users.setPolicy({ name: 'test' }, user, { maxSessions: 1, atLimit })
        return user
      })
      const doors = [door(t, single), door(t, pair, false)] as const
      const answers = await Promise.all(
        Array.from({ length: SIGN_INS }, (_, i) => login(doors[i % 2]!, email)),
      )
      const isLet = answers.filter(({ status }) => status === 200)
      const others = answers.filter(({ status }) => status !== 200)
      t.equal(isLet.length, atLimit === 'kick' ? SIGN_INS : 1)
      const told = atLimit === 'refuse' ? 'session_limit' : 'session_asked'
      t.ok(others.every(({ status, body }) => status === 409 && body.code === told))
      t.equal(await count(installation, 'user_sessions', `user_id = ${id} AND is_active = 1`), 1)
      await sleep(1000)
      for (const server of doors) {
        const states = await Promise.all(isLet.map((answer) => isIn(clientOf(server, answer))))
        t.equal(states.filter(Boolean).length, 1, 'and one token opens the door')
      }
    })
}

for (const database of DATABASES)
  t.test(database.name, async (t) => {
    const nodes = await openNodes(t, database)
    endTests(t, nodes)
    outageTests(t, nodes)
    conflictTests(t, nodes)
    t.test('and the servers end in order, the same as all along', async (t) => {
      for (const { kunci } of [nodes.single, nodes.pair]) t.equal((await kunci.kill()).code, 0)
    })
  })
