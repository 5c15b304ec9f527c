import { execFileSync } from 'node:child_process'
import { mkdtempSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { scratchDirectory } from '../support/children.ts'
import { DATABASES, freshConfig, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { findFaketime } from '../support/faketime.ts'
import { asOperator, type Installation, install, serve, sql } from '../support/installation.ts'
import { startMariadb } from '../support/mariadb.ts'
import { addUser, CHEAP, type Client, isIn, signIn } from '../support/users.ts'
import { loops, wireClient } from '../support/wire-client.ts'

const ANI = 'ani@example.com'
const ADMIN = 'admin@example.com'
const HOUR_MS = 3_600_000
const SESSIONS = 36
const CONNECTIONS = 12
const BUSY_MS = 4000
/** Of activity in four seconds, and what a server does once in a while. */
const COMMITS_MAX = 8

/** A server with a user and an admin. */
async function openNode(t: Test, database: TestDatabase, extraEnv: TestEnv = {}) {
  const { config, env } = await install(t, database, CHEAP)
  await asOperator({ config, env }, async (app) => {
    await addUser(app, ANI)
    await addUser(app, ADMIN, 'admin')
  })
  const node = await serve(t, { config, env: { ...env, ...extraEnv } })
  const server = wireClient(node.url)
  t.teardown(() => server.close())
  return { installation: { config, env }, node, server }
}

/** Counts what is committed from now on, as the database itself does. */
async function commitCounter(t: Pick<Test, 'teardown'>, { config }: Installation) {
  if (config.databaseUrl === undefined) {
    // It changes with somebody else's commit; of several between two looks one is counted.
    const db = new DatabaseSync(join(config.dataDir, 'kunci.db'), { readOnly: true })
    const version = db.prepare('PRAGMA data_version')
    let [last, commits] = [version.get()?.data_version, 0]
    const timer = setInterval(() => {
      const now = version.get()?.data_version
      if (now !== last) commits++
      last = now
    }, 2)
    t.teardown(() => {
      clearInterval(timer)
      db.close()
    })
    return async () => commits
  }
  const connection = await createConnection(config.databaseUrl)
  t.teardown(() => connection.destroy())
  const total = async () => {
    const [rows] = await connection.query<RowDataPacket[]>("SHOW GLOBAL STATUS LIKE 'Binlog_commits'")
    return Number(rows[0]?.Value)
  }
  const before = await total()
  return async () => (await total()) - before
}

/** As if nobody had done anything for an hour. */
function letAnHourPass(installation: Installation) {
  return sql(installation, `UPDATE user_sessions SET last_activity = last_activity - ${HOUR_MS}`)
}

/** When the one of them that was used longest ago was used, as its row says. */
async function leastActiveMs(installation: Installation, clients: readonly Client[]): Promise<number> {
  const ids = clients.map(({ sessionId }) => `'${sessionId}'`)
  const statement = `SELECT MIN(last_activity) AS ms FROM user_sessions WHERE session_id IN (${ids})`
  return Number((await sql(installation, statement))[0]?.ms)
}

function writeTests(t: Test, database: TestDatabase): void {
  t.test('requests by the thousand are a few writes, and a stop leaves none unwritten', async (t) => {
    const { installation, node, server } = await openNode(t, database)
    const clients: Client[] = []
    for (let i = 0; i < SESSIONS; i++) clients.push(await signIn(server, ANI))
    await letAnHourPass(installation)
    const commits = await commitCounter(t, installation)
    let [asked, refused] = [0, 0]
    const load = loops(CONNECTIONS, async () => {
      if (!(await isIn(clients[asked++ % SESSIONS]!))) refused++
    })
    await sleep(BUSY_MS)
    await load.stop()
    const written = await commits()
    t.equal(refused, 0)
    t.ok(asked > 10 * SESSIONS)
    t.ok(written >= 1 && written <= COMMITS_MAX, `${asked} requests in ${BUSY_MS} ms: ${written} commits`)
    t.comment(`${asked} requests of ${SESSIONS} sessions in ${BUSY_MS} ms: ${written} commits`)
    t.ok(Date.now() - (await leastActiveMs(installation, clients)) < HOUR_MS / 2, 'and all is written')

    const last = [await signIn(server, ANI), await signIn(server, ANI)]
    await letAnHourPass(installation)
    for (const client of last) t.ok(await isIn(client))
    t.equal((await node.kunci.kill('SIGTERM')).code, 0)
    t.ok(Date.now() - (await leastActiveMs(installation, last)) < HOUR_MS / 2, 'also what was noted last')
  })
}

/** A clock that a server is started under. */
function movableClock() {
  const file = join(mkdtempSync(join(scratchDirectory(), 'clock-')), 'offset')
  const putAhead = (days: number) => {
    writeFileSync(`${file}.new`, `+${days}d`)
    renameSync(`${file}.new`, file)
  }
  putAhead(0)
  const library = execFileSync(findFaketime() ?? '', ['-m', '-f', '+0', 'printenv', 'LD_PRELOAD'])
  const env = {
    ...{ LD_PRELOAD: library.toString().trim(), FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' },
    // Timers go by the monotonic clock, which no clock that is put right disturbs.
    ...{ FAKETIME_DONT_FAKE_MONOTONIC: '1', FAKETIME_FORCE_MONOTONIC_FIX: '0' },
  }
  return { putAhead, env }
}

const noFaketime = findFaketime() === undefined && 'faketime is not installed'

function clockTests(t: Test, database: TestDatabase): void {
  t.test("the machine's clock jumps forty days and back", { skip: noFaketime }, async (t) => {
    const clock = movableClock()
    const { installation, node, server } = await openNode(t, database, clock.env)
    // Where the database has a clock it is the one that counts.
    const counts = installation.config.databaseUrl === undefined
    const both = async () => [await signIn(server, ANI), await signIn(server, ADMIN)] as const
    const areIn = (...clients: Client[]) => Promise.all(clients.map(isIn))
    const cleanUp = async (admin: Client) =>
      t.match(await admin.ask('POST /api/user-sessions/cleanup-expired'), { status: 200 })
    const before = await both()
    t.same(await areIn(...before), [true, true])
    clock.putAhead(40)
    t.same(await areIn(...before), [!counts, !counts], 'more than thirty days have passed')
    const ahead = await both()
    t.same(await areIn(...ahead), [true, true])
    await cleanUp(ahead[1])
    clock.putAhead(0)
    t.same(await areIn(...before), [!counts, !counts], 'what is over stays so')
    const after = await both()
    t.same(await areIn(...ahead, ...after), [true, true, true, true])
    await cleanUp(after[1])
    // A row is remembered for less.
    await sleep(1000)
    clock.putAhead(2)
    t.same(await areIn(...ahead), [!counts, !counts], 'who came then is not in for longer than others')
    t.same(await areIn(...after), [!counts, !counts])
    t.same(await areIn(...(await both())), [true, true])
    t.notMatch(node.kunci.stdout.join('\n'), /"status":5\d\d|"level":(50|60)/)
    t.equal((await node.kunci.kill()).code, 0)
  })
}

t.test('SQLite', async (t) => {
  const [sqlite] = DATABASES as [TestDatabase]
  writeTests(t, sqlite)
  clockTests(t, sqlite)
})

t.test('MariaDB', async (t) => {
  // With a binary log, which counts the transactions that wrote something.
  const mariadb = await startMariadb({ args: ['--log-bin=log-bin'] })
  t.teardown(() => mariadb.stop())
  const database: TestDatabase = {
    name: 'MariaDB',
    freshConfig: async (t, env) => freshConfig(t, { DATABASE_URL: await mariadb.createDatabase(), ...env }),
  }
  writeTests(t, database)
  clockTests(t, database)
})
