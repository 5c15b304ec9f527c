import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import t from 'tap'
import { createTestReport } from '../../scripts/test-report.ts'
import { manualClock } from '../support/clock.ts'
import { sharedMariadb, startMariadb } from '../support/mariadb.ts'
import { findServerBinary } from '../support/mariadb-install.ts'

const skip = findServerBinary() === undefined && 'no mariadbd or mysqld here'

async function query(url: string, sql: string): Promise<RowDataPacket[]> {
  const connection = await createConnection({ uri: url, connectTimeout: 2000 })
  try {
    const [rows] = await connection.query<RowDataPacket[]>(sql)
    return rows
  } finally {
    connection.destroy()
  }
}

t.test('a private server starts as it is asked to', { skip }, async (t) => {
  const server = await startMariadb({
    timeZone: '+07:00',
    eventScheduler: false,
    args: ['--max-connections=17'],
  })
  const [row] = await query(
    server.rootUrl('mysql'),
    'SELECT @@global.time_zone zone, @@event_scheduler events, @@max_connections most, DATABASE() db',
  )
  t.match(row, { zone: '+07:00', events: 'OFF', most: 17, db: 'mysql' })
  t.match(server.version, /^\d+\.\d+/)
  await server.stop()
  await t.rejects(query(server.rootUrl(), 'SELECT 1'), { code: 'ECONNREFUSED' })
})

t.test('what was committed outlives stop, kill and pause', { skip }, async (t) => {
  const server = await startMariadb()
  const url = await server.createDatabase('life')
  t.match(new URL(url).pathname, /^\/kunci_life_/)
  await query(url, 'CREATE TABLE notes (id INT PRIMARY KEY)')
  await query(url, 'INSERT INTO notes VALUES (1)')
  await t.rejects(server.restart(), /still running/)

  await server.stop()
  await server.restart()
  await query(url, 'INSERT INTO notes VALUES (2)')

  await server.kill()
  await server.restart()
  t.same(await query(url, 'SELECT id FROM notes ORDER BY id'), [{ id: 1 }, { id: 2 }], 'same port, same data')

  server.pause()
  const answer = query(url, 'SELECT COUNT(*) AS n FROM notes')
  t.equal(await Promise.race([answer, sleep(300, 'nothing yet')]), 'nothing yet')
  server.resume()
  t.same(await answer, [{ n: 2 }])

  server.pause()
  await server.stop()
})

t.test('every database of the shared server is a new one', { skip }, async (t) => {
  const { createDatabase } = await sharedMariadb()
  const urls = await Promise.all([createDatabase(), createDatabase(), createDatabase()])
  t.equal(new Set(urls).size, 3)
  for (const url of urls) t.same(await query(url, 'SHOW TABLES'), [])
})

const STARTER = `
const { startMariadb } = await import('${new URL('../support/mariadb.ts', import.meta.url)}')
const server = await startMariadb()
console.log(JSON.stringify({ url: server.rootUrl(), socket: server.socket }))
await new Promise((resolve) => process.stdin.once('data', resolve))
process.exit()
`

async function within(timeoutMs: number, isSo: () => Promise<boolean> | boolean): Promise<boolean> {
  const deadlineMs = Date.now() + timeoutMs
  while (!(await isSo())) {
    if (Date.now() > deadlineMs) return false
    await sleep(50)
  }
  return true
}

for (const way of ['killed by SIGKILL', 'ended in order'] as const) {
  t.test(`no server and no file outlives a test process that was ${way}`, { skip }, async (t) => {
    const parent = spawn(process.execPath, ['--input-type=module', '-e', STARTER], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const [line] = await once(createInterface({ input: parent.stdout }), 'line')
    const { url, socket } = JSON.parse(line)
    t.same(await query(url, 'SELECT 1 AS one'), [{ one: 1 }])

    if (way === 'ended in order') parent.stdin.write('end\n')
    else parent.kill('SIGKILL')

    const isRefused = () =>
      query(url, 'SELECT 1').then(
        () => false,
        (error) => error.code === 'ECONNREFUSED',
      )
    t.ok(await within(5000, isRefused), 'nobody listens')
    t.ok(await within(5000, () => !existsSync(dirname(dirname(socket)))), 'its directory is gone')
  })
}

t.test('a manual clock moves only when told', async (t) => {
  const clock = manualClock(1000)
  t.equal(clock(), 1000)
  clock.advance(250)
  t.equal(clock(), 1250)
})

t.test('the report names what failed and what was skipped, and counts as tap does', async (t) => {
  const printed: string[] = []
  const report = createTestReport((text) => printed.push(text))
  report.write(`TAP version 14
1..2
# Subtest: test/a.test.ts
    # Subtest: a promise
        ok 1 - kept
        not ok 2 - broken
          ---
          diff: |
            -2
            +1
          at:
            fileName: test/a.test.ts
            lineNumber: 3
          ...
        1..2
    not ok 1 - a promise # time=5ms
    ok 2 - elsewhere # SKIP no server
    a line of the program's own
    1..2
not ok 1 - test/a.test.ts # time=1200ms
  ---
  exitCode: 1
  ...
# Subtest: test/b.test.ts
    1..0 # no tests found
not ok 2 - test/b.test.ts # time=700ms
  ---
  exitCode: 7
  ...
# { total: 4, pass: 1, fail: 2, skip: 1 }
`)
  const run = report.end()
  t.same(run, {
    totals: { passed: 1, failed: 2, skipped: 1 },
    isComplete: true,
    skipped: ['test/a.test.ts > elsewhere (no server)'],
    failed: ['test/a.test.ts > a promise > broken', 'test/b.test.ts'],
  })
  const text = printed.join('\n')
  t.match(text, /FAIL {2}test\/a\.test\.ts \(1 passed, 1\.2 s\)/)
  t.match(text, /a line of the program's own/)
  t.match(text, /diff:\n +-2\n +\+1\n +at: test\/a\.test\.ts:3/)
  t.match(text, /FAIL {2}test\/b\.test\.ts[\s\S]*exitCode: 7/)
})
