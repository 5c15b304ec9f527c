import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, createConnection } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { freshConfig, type TestDatabase } from '../support/databases.ts'
import { findGalera, startGalera } from '../support/galera.ts'
import { asOperator, count, type Installation, install, serve, until } from '../support/installation.ts'
import { checkData, furnish, openSession, posting, type Reply } from '../support/sealed.ts'
import { addUser, CHEAP, clientWith, isIn, login, signIn } from '../support/users.ts'
import { wireClient } from '../support/wire-client.ts'

const COPIES = 50
const SIGN_INS = 20
const LAG_MS = 500

const library = findGalera()

/** Two nodes of a cluster, and a server at each. */
async function openCluster(t: Test, galera: string) {
  const [first, second] = await startGalera(galera)
  t.teardown(() => Promise.all([first.stop(), second.stop()]))
  const database: TestDatabase = {
    name: 'MariaDB',
    freshConfig: async (t, env) => freshConfig(t, { DATABASE_URL: await first.createDatabase(), ...env }),
  }
  const here = await install(t, database, CHEAP)
  const { key, pin } = await furnish(here)
  const url = second.rootUrl(new URL(here.env.DATABASE_URL ?? '').pathname.slice(1))
  const there: Installation = {
    config: { ...here.config, databaseUrl: url },
    env: { ...here.env, DATABASE_URL: url },
  }
  const behind = await createConnection(url)
  t.teardown(() => behind.destroy())
  await behind.query('SET SESSION wsrep_sync_wait = 1')
  await behind.query('SELECT 1 FROM kunci_licences')
  const urls = [(await serve(t, here)).url, (await serve(t, there)).url] as const
  const posts = [posting(urls[0]), posting(urls[1])] as const
  const doors = [wireClient(urls[0]), wireClient(urls[1])] as const
  t.teardown(() => doors.map((door) => door.close()))
  return { here, there, key, pin: pin(), posts, doors, behind }
}

/** Holds back what the other node has committed, and lets it go after a while. */
async function whileBehind<T>(behind: Connection, work: () => Promise<T>): Promise<T> {
  await behind.query('FLUSH TABLES WITH READ LOCK')
  try {
    return await work()
  } finally {
    await behind.query('UNLOCK TABLES')
  }
}

t.test('Galera', { skip: library === undefined && 'no libgalera_smm.so here' }, async (t) => {
  const { here, there, key, pin, posts, doors, behind } = await openCluster(t, library ?? '')
  const [first, second] = posts
  const openings = (installation: Installation, id: string) =>
    count(installation, 'session_keys', `session_id = '${id}'`)

  t.test('a session is good at once at a node that has not heard of it yet', async (t) => {
    const held = await whileBehind(behind, async () => {
      const session = await openSession(first, pin)
      const { sessionId } = session.records
      t.same([await openings(here, sessionId), await openings(there, sessionId)], [1, 0], 'it lags')
      const message = session.seal('licence.check', checkData(key))
      const reply = session.send(message, '/v1/call', second)
      t.equal(await Promise.race([reply, sleep(LAG_MS, 'waits')]), 'waits')
      return { session, message, reply }
    })
    t.match(held.session.open(held.message, await held.reply), { status: 200, code: 'ok' })
  })

  t.test(
    'what one node has answered the other answers alike, though it has not heard of it yet',
    async (t) => {
      const session = await openSession(first, pin)
      t.match(await session.call('licence.check', checkData(key)), { code: 'ok' })
      for (const op of ['licence.check', 'lease.issue'] as const) {
        const message = session.seal(op, checkData(key))
        const [answered, again] = await whileBehind(behind, async () => {
          const answered = await session.send(message)
          const again = session.send(message, '/v1/call', second)
          t.equal(await Promise.race([again, sleep(LAG_MS, 'waits')]), 'waits', op)
          return [answered, again]
        })
        t.same(await again, answered, op)
      }
    },
  )

  t.test('fifty copies over two nodes have one effect and fifty equal replies', async (t) => {
    const session = await openSession(first, pin)
    const effects = () =>
      Promise.all(
        ['licence_check_allowed', 'lease_issued', 'client_log'].map((type) =>
          count(here, 'kunci_events', `type = '${type}'`),
        ),
      )
    const before = await effects()
    for (const [op, data] of [
      ['licence.check', checkData(key)],
      ['lease.issue', checkData(key)],
      ['log.push', { level: 'info', text: 'once' }],
      ['ping', {}],
    ] as const) {
      const message = session.seal(op, data)
      const send = (i: number): Promise<Reply> => session.send(message, '/v1/call', posts[i % 2])
      const replies = await Promise.all(Array.from({ length: COPIES }, (_, i) => send(i)))
      t.equal(new Set(replies.map(({ text }) => text)).size, 1, op)
      t.match(session.open(message, replies[0]!), { status: 200, code: 'ok' }, op)
    }
    t.same(
      await effects(),
      before.map((n) => n + 1),
    )
  })

  t.test('twenty sign-ins at once over two nodes leave one session where one is allowed', async (t) => {
    for (const atLimit of ['kick', 'refuse', 'ask'] as const) {
      const email = `${atLimit}@example.com`
      const { id } = await asOperator(here, async (app) => {
        const user = await addUser(app, email)
        await app.users.setPolicy({ name: 'test' }, user, { maxSessions: 1, atLimit })
        return user
      })
      const answers = await Promise.all(
        Array.from({ length: SIGN_INS }, (_, i) => login(i % 2 === 0 ? doors[0] : doors[1], email)),
      )
      const isLet = answers.filter(({ status }) => status === 200)
      t.same(
        answers.filter(({ status }) => status !== 200 && status !== 409).map(({ text }) => text),
        [],
        `${atLimit}: each is let in or told why not`,
      )
      t.equal(isLet.length, atLimit === 'kick' ? SIGN_INS : 1, atLimit)
      for (const installation of [here, there])
        await until(
          'both nodes know it',
          async () => (await count(installation, 'user_sessions', `user_id = ${id} AND is_active = 1`)) === 1,
        )
      t.equal(await count(here, 'user_sessions', `user_id = ${id}`), isLet.length)
    }
  })

  t.test('a session that ends at one node is over at the other within a second', async (t) => {
    await asOperator(here, (app) => addUser(app, 'both@example.com'))
    const client = await signIn(doors[0], 'both@example.com')
    const elsewhere = clientWith(doors[1], client.token, client.sessionId)
    t.ok(await isIn(elsewhere), 'known at the other node, and remembered there')
    t.match(await client.ask('POST /api/auth/logout'), { status: 200 })
    await sleep(1000)
    t.notOk(await isIn(elsewhere))
  })

  t.test('who listens at one node hears in order what happens at both', async (t) => {
    await asOperator(here, (app) => addUser(app, 'heard@example.com'))
    const listener = await signIn(doors[1], 'heard@example.com')
    const { body } = await listener.ask('GET /api/events/poll')
    const others: string[] = []
    for (let i = 0; i < SIGN_INS; i++)
      others.push((await signIn(i % 2 === 0 ? doors[0] : doors[1], 'heard@example.com')).sessionId)
    const heard: string[] = []
    const startMs = performance.now()
    for (let after = body.data.lastId; heard.length < SIGN_INS && performance.now() - startMs < 5000; ) {
      const { data } = (await listener.ask(`GET /api/events/poll?after=${after}&wait=1`)).body
      heard.push(...data.events.map((event: { data: { sessionId: string } }) => event.data.sessionId))
      after = data.lastId
    }
    t.same(heard, others)
  })
})
