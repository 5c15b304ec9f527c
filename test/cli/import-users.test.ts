import { createReadStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { hash } from '@node-rs/argon2'
import { type Connection, createConnection } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { migrateDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { deviceOf } from '../../src/domain/user-agents.ts'
import { failure, json, kunci } from '../support/cli.ts'
import { DATABASES, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { asOperator, count, type Installation, install, sql, until } from '../support/installation.ts'
import { startLargeMariadb, startMariadb } from '../support/mariadb.ts'
import { runKunci, spawnKunci } from '../support/server.ts'

// This machine, like an operator's, lives far from UTC and from the old system.
process.env.TZ = 'Pacific/Kiritimati'

const MANY = 100_000
const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36'
const SESSIONS_HEADER = 'id,user_id,session_token,device_info,is_active,created_at,last_activity'
const KEPT = { SESSION_HISTORY_DAYS: '36500' }

/** For the old systems' tables and all that is large. */
const large = await startLargeMariadb()
t.teardown(() => large.kill())
const largeHouse = async (t: Teardown, database: TestDatabase) =>
  house(
    t,
    database,
    database.name === 'SQLite' ? KEPT : { ...KEPT, DATABASE_URL: await large.createDatabase() },
  )

type Teardown = Pick<Test, 'teardown'>
type Finding = {
  finding: string
  row: number
  email: string | null
  old_id: string | null
  user_id: number | null
  detail: string | null
}
type Report = {
  code: number
  counts: Record<string, number>
  findings: Finding[]
  notes: string[]
  left_out: number
  open_sessions: number
}

/** A new installation with its tables and keys. */
async function house(t: Teardown, database: TestDatabase, extraEnv: TestEnv = KEPT): Promise<Installation> {
  const installation = await install(t, database, extraEnv)
  await json(installation.env, 'users', 'list')
  return installation
}

async function imports({ env }: Pick<Installation, 'env'>, ...argv: string[]): Promise<Report> {
  const { code, stdout, stderr } = await kunci(env, 'import', 'users', ...argv, '--json')
  if (![0, 6].includes(code)) throw new Error(`import users ended with ${code}: ${stderr}`)
  return { code, ...JSON.parse(stdout) }
}

const refusal = ({ env }: Installation, ...argv: string[]) => failure(env, 'import', 'users', ...argv)

let files = 0
function file({ config }: { config: Config }, content: string | Buffer): string {
  const path = join(config.dataDir, `old${++files}.csv`)
  writeFileSync(path, content)
  return path
}

/** What is in Kunci, and how much of it the record says was imported. */
async function numbersOf(installation: Installation) {
  const [row] = await sql(
    installation,
    `SELECT (SELECT COUNT(*) FROM kunci_users) AS users, (SELECT COUNT(*) FROM user_sessions) AS sessions,
       (SELECT COALESCE(SUM(count), 0) FROM kunci_events WHERE type = 'users_imported') AS recorded_users,
       (SELECT COALESCE(SUM(count), 0) FROM kunci_events WHERE type = 'user_sessions_imported') AS recorded_sessions`,
  )
  return Object.fromEntries(Object.entries(row ?? {}).map(([name, n]) => [name, Number(n)]))
}

const all = (users: number, sessions: number) => ({
  ...{ users, sessions, recorded_users: users, recorded_sessions: sessions },
})

/** All that Kunci keeps, as text. */
async function everything(installation: Installation): Promise<string> {
  const tables = ['kunci_users', 'user_sessions', 'kunci_events', 'kunci_settings']
  const rows = await Promise.all(tables.map((table) => sql(installation, `SELECT * FROM ${table}`)))
  return JSON.stringify(rows)
}

const signIn = (installation: Installation, email: string, password: string) =>
  asOperator(installation, (app) =>
    app.logins.login(
      { email, password, code: undefined },
      { address: '192.0.2.9', userAgent: 'curl/8.5.0', device: deviceOf('curl/8.5.0'), country: null },
    ),
  )

/** A database as the tracker of the AdonisJS project makes it. */
async function adonis(t: Teardown) {
  const url = await large.createDatabase('adonis')
  const mysql = await createConnection(url)
  t.teardown(() => mysql.destroy())
  await mysql.query("SET SESSION time_zone = '+07:00'")
  await adonisTables(mysql)
  return { url, mysql }
}

async function adonisTables(mysql: Connection): Promise<void> {
  await mysql.query(
    `CREATE TABLE users (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, full_name VARCHAR(255), email VARCHAR(254) NOT NULL,
     password VARCHAR(255) NOT NULL, is_active TINYINT(1) DEFAULT 1, remember_me_token VARCHAR(255),
     created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP NULL) DEFAULT CHARSET utf8mb4`,
  )
  await mysql.query('CREATE TABLE roles (id INT PRIMARY KEY, name VARCHAR(40))')
  await mysql.query('CREATE TABLE user_roles (id INT AUTO_INCREMENT PRIMARY KEY, user_id INT, role_id INT)')
  await mysql.query("INSERT INTO roles VALUES (1, 'user'), (2, 'admin'), (3, 'Super Admin'), (4, 'editor')")
  await mysql.query(
    `CREATE TABLE user_sessions (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED NOT NULL,
     session_id VARCHAR(255) NOT NULL, ip_address VARCHAR(45), user_agent TEXT, device_type VARCHAR(255),
     is_active BOOLEAN DEFAULT TRUE, last_activity DATETIME, login_at DATETIME, logout_at DATETIME NULL,
     created_at DATETIME, updated_at DATETIME, UNIQUE (session_id)) DEFAULT CHARSET utf8mb4`,
  )
}

/** An SQLite file as Prisma makes it. */
function prisma(installation: { config: Config }, rows: string): string {
  const path = join(installation.config.dataDir, `prisma${++files}.db`)
  const db = new DatabaseSync(path)
  db.exec(
    `CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "email" TEXT NOT NULL, "name" TEXT, "password" TEXT,
       "role" TEXT NOT NULL DEFAULT 'USER', "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP);
     CREATE TABLE "Session" ("id" TEXT NOT NULL PRIMARY KEY, "token" TEXT NOT NULL, "userId" TEXT NOT NULL,
       "expiresAt" DATETIME NOT NULL, "lastUsedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
       "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
       CONSTRAINT "Session_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id"));
     CREATE UNIQUE INDEX "Session_token_key" ON "Session"("token"); PRAGMA foreign_keys = OFF; ${rows}`,
  )
  db.close()
  return path
}

const uuid = (kind: string, n: number) => `${kind}0000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** A row as PostgreSQL's COPY … CSV writes it. */
const sessionRow = (
  n: number,
  user = n,
  rest = `"${CHROME}",t,2024-01-15 09:00:00.123+00,2024-01-15 10:30:00+00`,
) => `${uuid('a', n)},${uuid('b', user)},token-${n},${rest}`
const userRow = (n: number) => `${uuid('b', n)},user${n}@example.com,User ${n}`
const csv = (header: string, rows: readonly string[]) => `${[header, ...rows].join('\n')}\n`

/** `users` users with a session each, of the first ones several. */
function supabase(installation: { config: Config }, users: number, sessions: number) {
  const numbers = (n: number) => Array.from({ length: n }, (_, i) => i)
  const usersCsv = file(installation, csv('id,email,name', numbers(users).map(userRow)))
  const rows = numbers(sessions).map((n) => sessionRow(n, n % users))
  return ['--from-csv', file(installation, csv(SESSIONS_HEADER, rows)), '--users-csv', usersCsv]
}

for (const database of DATABASES) {
  t.test(`on ${database.name}`, async (t) => {
    t.test(
      'the users and sessions of an AdonisJS tracker come over, and old tokens open nothing',
      async (t) => {
        const house1 = await house(t, database)
        const { url, mysql } = await adonis(t)
        const argon2 = await hash('a good long sentence', { memoryCost: 1024, timeCost: 1, parallelism: 1 })
        // As AdonisJS orders the parameters.
        const phc = argon2.replace('m=1024,t=1,p=1', 't=1,m=1024,p=1')
        const users: [string | null, string, string, number | null][] = [
          ['Ani Wijaya', 'Ani@Example.com', phc, 1],
          ['Budi', 'budi@example.com', '$scrypt$n=16384,r=8,p=1$c2FsdHNhbHRzYWx0$c2NyeXB0', 1],
          [null, 'citra@example.com', '$2b$10$CwTycUXWue0Thq9StjUM0u', 0],
          ['Dewi', 'none', phc, 1],
        ]
        for (const user of users)
          await mysql.query(
            "INSERT INTO users (full_name, email, password, is_active, created_at) VALUES (?, ?, ?, ?, '2023-05-01 07:00:00')",
            user,
          )
        await mysql.query('INSERT INTO user_roles (user_id, role_id) VALUES (1, 1), (1, 3), (2, 4)')
        const insert = (...row: (string | number | null)[]) =>
          mysql.query(
            `INSERT INTO user_sessions (user_id, session_id, ip_address, user_agent, device_type, is_active, login_at,
           last_activity, logout_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
            row,
          )
        await insert(
          1,
          'OLD-1',
          '192.168.1.100',
          CHROME,
          'desktop',
          1,
          '2024-01-15 16:00:00',
          '2024-01-15 17:30:00',
          null,
        )
        await insert(
          1,
          'OLD-2',
          '::1',
          'okhttp',
          'tablet',
          0,
          '2024-01-16 16:00:00',
          '2024-01-16 17:00:00',
          '2024-01-16 18:00:00',
        )
        await insert(2, 'OLD-3', 'unknown', null, null, 1, '2024-01-17 16:00:00', null, null)
        await insert(4, 'OLD-4', null, CHROME, null, 1, '2024-01-17 16:00:00', null, null)
        await insert(9, 'OLD-5', null, CHROME, null, 1, '2024-01-17 16:00:00', null, null)
        await insert(2, 'OLD-6', null, CHROME, null, 0, null, null, null)

        const order = ['--from-mysql', url, '--time-zone', 'Asia/Jakarta']
        const dry = await imports(house1, ...order)
        t.same(await numbersOf(house1), all(0, 0), 'a dry run writes nothing')
        t.match(dry, { code: 6, left_out: 4, open_sessions: 4 })
        t.match(dry.notes.join('\n'), 'Old tokens are dead: everybody signs in again')
        t.match(dry.notes.join('\n'), /Of user_sessions are read [^;]*; not [^.]*session_id/)
        const told = ({ findings }: Report) =>
          findings.map(({ finding, row, detail }) =>
            [finding, row, detail].filter((cell) => cell !== null).join(' '),
          )
        t.same(told(dry), [
          ...['user_imported 1 superadmin', 'user_imported 2 user', 'user_imported 3 user, disabled'],
          ...['user_email_unfit 4 "none"', 'user_password_left 2', 'user_password_left 3'],
          ...['user_is_operator 1 superadmin', 'user_role_unknown 2 editor', 'user_is_disabled 3'],
          'user_name_changed 3 there is none; it is the email',
          ...['15T09', '16T09', '17T09'].map(
            (at, i) => `session_imported ${i + 1} signed in 2024-01-${at}:00:00.000Z`,
          ),
          'session_unfit 6 login_at "" is missing',
          ...['session_of_nobody 4 of the user 4', 'session_of_nobody 5 of the user 9'],
          'session_address_left 3',
        ])
        const done = await imports(house1, ...order, '--apply')
        t.same(done.findings, dry.findings, 'and foretells what is done, ids included')
        t.same(await numbersOf(house1), all(3, 3))

        t.match(await json(house1.env, 'users', 'list'), [
          {
            id: 1,
            email: 'ani@example.com',
            full_name: 'Ani Wijaya',
            role: 'superadmin',
            active: true,
            password: true,
          },
          {
            id: 2,
            email: 'budi@example.com',
            full_name: 'Budi',
            role: 'user',
            active: true,
            password: false,
          },
          {
            id: 3,
            email: 'citra@example.com',
            full_name: 'citra@example.com',
            active: false,
            password: false,
          },
        ])
        const [created] = await sql(house1, 'SELECT created_at_ms FROM kunci_users WHERE id = 1')
        t.equal(
          Number(created?.created_at_ms),
          Date.parse('2023-05-01T00:00:00Z'),
          'a TIMESTAMP is an instant',
        )
        const rows = await sql(house1, 'SELECT * FROM user_sessions ORDER BY login_at')
        const ended = {
          is_active: 0,
          end_reason: 'imported',
          ended_by: /^cli/,
          yield_by: null,
          session_id: /^[0-9a-f]{32}$/,
        }
        const at = (text: string) => Date.parse(text)
        t.match(rows, [
          {
            ...{ ...ended, user_id: 1, ip_address: '192.168.1.100', first_ip_address: '192.168.1.100' },
            ...{
              user_agent: CHROME,
              first_user_agent: CHROME,
              device_type: 'desktop',
              device_name: 'Chrome on Windows',
            },
            ...{ login_at: at('2024-01-15T09:00:00Z'), last_activity: at('2024-01-15T10:30:00Z') },
            logout_at: at('2024-01-15T10:30:00Z'),
          },
          {
            ...ended,
            user_id: 1,
            ip_address: '::1',
            device_type: 'tablet',
            logout_at: at('2024-01-16T11:00:00Z'),
          },
          {
            ...ended,
            user_id: 2,
            ip_address: '',
            device_name: 'unknown',
            logout_at: at('2024-01-17T09:00:00Z'),
          },
        ])
        t.same(
          rows.map(({ session_id }) => session_id).sort(),
          [...new Set(rows.map(({ session_id }) => session_id))].sort(),
        )
        const kept = (await everything(house1)) + JSON.stringify(done)
        for (const secret of ['OLD-', 'c2NyeXB0', '$2b$']) t.notMatch(kept, secret)

        t.match(await signIn(house1, 'ANI@example.com', 'a good long sentence'), {
          kind: 'opened',
          user: { id: 1 },
        })
        const [rehashed] = await sql(house1, 'SELECT password_hash FROM kunci_users WHERE id = 1')
        t.match(rehashed?.password_hash, /^\$argon2id\$v=19\$m=\d{5,},/, 'and is hashed anew')
        await t.rejects(signIn(house1, 'budi@example.com', 'anything at all'), {
          code: 'invalid_credentials',
        })
        const reset = await json(house1.env, 'users', 'reset-password', 'budi@example.com')
        t.match(await signIn(house1, 'budi@example.com', reset.new_password), {
          kind: 'opened',
          user: { id: 2 },
        })

        await json(house1.env, 'users', 'roles', 'citra@example.com', '--role', 'admin')
        const again = await imports(house1, ...order, '--apply')
        t.match(again.counts, { user_known: 2, user_differs: 1, session_known: 3 })
        t.match(
          again.findings.find(({ finding }) => finding === 'user_differs'),
          { email: 'citra@example.com', user_id: 3, detail: 'role: there user, here admin' },
        )
        t.notOk(again.counts.user_password_left, 'what was to be done about those who are in is done')
        t.equal(await count(house1, 'user_sessions', "end_reason = 'imported'"), 3, 'nothing is doubled')
        const moved = await imports(house1, '--from-mysql', url, '--time-zone', 'UTC')
        t.match(moved.counts, { session_differs: 3 })
      },
    )

    t.test('a Supabase table comes over from CSV, and its users are known the next time', async (t) => {
      const house1 = await house(t, database)
      const users = csv('id,email,full_name,role,is_active', [
        `${uuid('b', 1)},ani@example.com,Ani,superadmin,t`,
        `${uuid('b', 2)},BUDI@example.com,"Budi, S.",authenticated,false`,
        `${uuid('b', 3)},Ani@Example.com,Ani again,user,t`,
        `${uuid('b', 1)},dewi@example.com,Dewi,user,t`,
      ])
      const sessions = csv(SESSIONS_HEADER, [
        sessionRow(1),
        sessionRow(2, 2, 'Kasir 3,f,2024-01-15 09:00:00+07,'),
        sessionRow(3),
        sessionRow(4),
        sessionRow(1),
        sessionRow(5, 1, ',t,yesterday,2024-01-15 10:30:00+00'),
      ])
      const order = ['--from-csv', file(house1, sessions), '--users-csv', file(house1, users), '--apply']
      const done = await imports(house1, ...order)
      t.match(done, { code: 6, open_sessions: 4, left_out: 3 })
      t.same(done.counts, {
        ...{ user_imported: 2, user_duplicate: 1, user_id_unfit: 1, user_password_left: 2 },
        ...{ user_is_operator: 1, user_is_disabled: 1, session_imported: 3, session_duplicate: 1 },
        ...{ session_unfit: 1, session_of_nobody: 1 },
      })
      const ids = new Map(done.findings.map(({ email, user_id }) => [email, user_id]))
      const id = ids.get('ani@example.com') ?? 0
      t.ok(id >= 2 ** 40 && id < 2 ** 47)
      t.match(
        await sql(
          house1,
          'SELECT user_id, device_name, login_at, last_activity FROM user_sessions ORDER BY id',
        ),
        {
          length: 3,
        },
      )
      const [kasir] = await sql(house1, "SELECT * FROM user_sessions WHERE device_name = 'Kasir 3'")
      t.match(kasir, {
        ...{
          user_id: ids.get('budi@example.com'),
          user_agent: 'Kasir 3',
          ip_address: '',
          device_type: 'desktop',
        },
        ...{
          login_at: Date.parse('2024-01-15T02:00:00Z'),
          last_activity: Date.parse('2024-01-15T02:00:00Z'),
        },
      })
      t.equal(await count(house1, 'user_sessions', `user_id = ${id}`), 2, 'the sessions of both rows are his')
      t.notMatch((await everything(house1)) + JSON.stringify(done), 'token-')

      t.match(await imports(house1, ...order), {
        counts: { user_known: 2, user_imported: undefined, session_known: 3, session_imported: undefined },
      })
      const later = csv(SESSIONS_HEADER, [sessionRow(6, 1), sessionRow(7, 9)])
      t.match(await imports(house1, '--from-csv', file(house1, later), '--apply'), {
        ...{ code: 6, counts: { session_imported: 1, session_of_nobody: 1 } },
      })
      t.equal(await count(house1, 'user_sessions', `user_id = ${id}`), 3)
    })

    t.test('a Prisma file comes over, whichever way its times are written', async (t) => {
      const house1 = await house(t, database)
      const ms = Date.parse('2024-01-15T09:00:00.123Z')
      const rows = `INSERT INTO "User" VALUES ('clr1', 'ani@example.com', 'Ani', NULL, 'ADMIN', ${ms}),
          ('clr2', 'budi@example.com', 'Budi', NULL, 'USER', '2024-01-15 09:00:00'),
          ('clr3', CAST(x'41e9406578616d706c652e636f6d' AS TEXT), NULL, NULL, 'USER', ${ms});
        INSERT INTO "Session" VALUES ('s1', 'SECRET-1', 'clr1', ${Date.now() + 1e9}, ${ms + 2000}, ${ms}, ${ms}),
          ('s2', 'SECRET-2', 'clr1', '2024-02-01T00:00:00.000Z', '2024-01-16 10:00:00', '2024-01-16 09:00:00', 0),
          ('s3', 'SECRET-3', 'clr2', ${ms}, 1705309200, ${ms}, ${ms}),
          ('s4', 'SECRET-4', 'clr3', ${ms}, ${ms}, ${ms}, ${ms}),
          ('s5', 'SECRET-5', 'clr2', ${ms}, ${ms}, x'00ff', ${ms});`
      const path = prisma(house1, rows)
      const done = await imports(house1, '--from-sqlite', path, '--time-zone', 'Asia/Jakarta', '--apply')
      t.match(done, {
        ...{ code: 6, open_sessions: 1 },
        counts: {
          ...{ user_imported: 2, user_unreadable: 1, session_imported: 2 },
          ...{ session_unfit: 1, session_of_nobody: 1, session_unreadable: 1 },
        },
      })
      t.match(
        done.findings.find(({ finding }) => finding === 'session_unfit'),
        { old_id: 's3', detail: 'last_activity "1705309200" is unreadable' },
      )
      const times = await sql(
        house1,
        'SELECT login_at, last_activity, logout_at FROM user_sessions ORDER BY login_at',
      )
      t.same(
        times.map((row) => Object.values(row).map(Number)),
        [
          [ms, ms + 2000, ms + 2000],
          ['2024-01-16T09:00:00Z', '2024-01-16T10:00:00Z', '2024-01-16T10:00:00Z'].map((text) =>
            Date.parse(text),
          ),
        ],
        'a time without an offset is UTC, as Prisma writes it',
      )
      const created = await sql(
        house1,
        'SELECT DISTINCT created_at_ms FROM kunci_users ORDER BY created_at_ms',
      )
      t.same(
        created.map(({ created_at_ms }) => Number(created_at_ms)),
        [ms - 123, ms],
      )
      t.notMatch((await everything(house1)) + JSON.stringify(done), 'SECRET-')
      t.match(await imports(house1, '--from-sqlite', path, '--apply'), {
        counts: { user_known: 2, session_known: 2, user_imported: undefined, session_imported: undefined },
      })
      t.same(await numbersOf(house1), all(2, 2))
    })

    t.test('an id that somebody else has is not taken from him, and sessions go to their own', async (t) => {
      const house1 = await house(t, database)
      const first = await adonis(t)
      await first.mysql.query("INSERT INTO users (email, password) VALUES ('ani@example.com', 'x')")
      await imports(house1, '--from-mysql', first.url, '--apply')
      const second = await adonis(t)
      await second.mysql.query(
        "INSERT INTO users (email, password) VALUES ('budi@example.com', 'x'), ('ani@example.com', 'x')",
      )
      await second.mysql.query(
        "INSERT INTO user_sessions (user_id, session_id, login_at) VALUES (1, 'a', '2024-01-01'), (2, 'b', '2024-01-02')",
      )
      const done = await imports(house1, '--from-mysql', second.url, '--apply')
      t.match(done.counts, { user_imported: 1, user_known: 1, user_id_changed: 1, session_imported: 2 })
      const budi = done.findings.find(({ finding }) => finding === 'user_id_changed')
      t.match(budi, { email: 'budi@example.com', old_id: '1' })
      t.ok(Number(budi?.user_id) >= 2 ** 40)
      t.equal(await count(house1, 'user_sessions', `user_id = ${budi?.user_id}`), 1)
      t.equal(await count(house1, 'user_sessions', 'user_id = 1'), 1, 'by his email, not by the number')
      t.match((await imports(house1, '--from-mysql', second.url, '--apply')).counts, {
        user_known: 2,
        session_known: 2,
      })
    })

    t.test('what cannot be read is refused with what is wrong, and nothing is written', async (t) => {
      const house1 = await house(t, database)
      const good = file(house1, csv(SESSIONS_HEADER, [sessionRow(1)]))
      const plain = sessionRow(2, 2, 'curl/8.5.0,t,2024-01-15 09:00:00+00,2024-01-15 10:30:00+00')
      const refused = async (detail: RegExp | string, ...argv: string[]) =>
        t.match(await refusal(house1, '--apply', ...argv), { exitCode: 1, code: 'import_source', detail })
      const sessionsCsv = (detail: RegExp | string, content: string | Buffer) =>
        refused(detail, '--from-csv', file(house1, content))
      await sessionsCsv(/the file is empty/, '')
      await sessionsCsv(/missing: user_id, login_at or created_at/, 'id,session_token,device_info\n')
      await sessionsCsv(/twice: id/, `id,${SESSIONS_HEADER}\n`)
      await sessionsCsv(
        /after 2 whole rows, near line 3.*never closed/,
        `${SESSIONS_HEADER}\n${sessionRow(1)}\n"x,${plain}\n`,
      )
      await sessionsCsv(/breaks off in line 3/, csv(SESSIONS_HEADER, [sessionRow(1), plain]).slice(0, -60))
      const headless = await refusal(house1, '--from-csv', file(house1, `${sessionRow(1)}\n`))
      t.match(headless, {
        code: 'import_source',
        detail: /missing: id, user_id, .*Known among its 7 cell.s.: none/,
      })
      t.notMatch(headless.detail, /token|Mozilla|0000/)
      await refused(/missing: email/, '--from-csv', good, '--users-csv', file(house1, 'id,name\n'))
      await refused(/there is no such file/, '--from-csv', join(house1.config.dataDir, 'nowhere.csv'))
      await refused(/there is no such file/, '--from-sqlite', join(house1.config.dataDir, 'nowhere.db'))
      await refused(/there is no such file/, '--from-sqlite', house1.config.dataDir)
      await refused(/file is not a database/, '--from-sqlite', file(house1, 'x'.repeat(5000)))
      await refused(
        /no tables users and user_sessions, nor User and Session.*found: none/,
        '--from-sqlite',
        file(house1, ''),
      )
      const path = prisma(house1, 'ALTER TABLE "User" RENAME COLUMN email TO mail')
      await refused(/the table User has no column email. Columns found: id, mail/, '--from-sqlite', path)
      await refused(
        /there is no table gone\. Tables found: Session, User/,
        '--from-sqlite',
        path,
        '--sessions-table',
        'gone',
      )
      const { url, mysql } = await adonis(t)
      await mysql.query('ALTER TABLE user_sessions DROP COLUMN user_id')
      await refused(/the table user_sessions has no column user_id/, '--from-mysql', url)
      await refused(/no tables users and user_sessions/, '--from-mysql', await large.createDatabase('empty'))
      await refused(
        /it cannot be read: connect ECONNREFUSED/,
        '--from-mysql',
        'mysql://ani:s3cret@127.0.0.1:1/old',
      )
      t.notMatch(
        JSON.stringify(await refusal(house1, '--from-mysql', 'mysql://ani:s3cret@127.0.0.1:1/old')),
        's3cret',
      )
      const usage = { exitCode: 2, code: 'usage' }
      t.match(await refusal(house1), usage)
      t.match(await refusal(house1, '--from-csv', good, '--from-sqlite', path), usage)
      t.match(await refusal(house1, '--from-sqlite', path, '--users-csv', good), usage)
      t.match(await refusal(house1, '--from-csv', good, '--sessions-table', 'a'), usage)
      for (const [option, source] of Object.entries({ 'from-sqlite': path, 'from-csv': good }))
        t.match(await refusal(house1, `--${option}`, source, '--report', source), {
          ...{ ...usage, message: new RegExp(`--report names the file that --${option} reads`) },
        })
      t.same(await numbersOf(house1), all(0, 0))
    })

    t.test('nothing to bring is no error, and each row that is broken has its line', async (t) => {
      const house1 = await house(t, database, {})
      t.match(await imports(house1, ...supabase(house1, 1, 0).slice(0, 2), '--apply'), {
        code: 0,
        counts: {},
      })
      const { url } = await adonis(t)
      t.match(await imports(house1, '--from-mysql', url, '--apply'), { code: 0, counts: {}, left_out: 0 })
      t.match(await imports(house1, '--from-sqlite', prisma(house1, ''), '--apply'), { code: 0, counts: {} })
      const broken = Buffer.concat([
        Buffer.from(csv(SESSIONS_HEADER, [sessionRow(1), 'too,few', `${sessionRow(2)},more`])),
        ...[Buffer.from([0x41, 0xe9]), Buffer.from(`${sessionRow(3)}\n${sessionRow(4)}`)],
      ])
      const users = file(
        house1,
        csv('id,email', [`${uuid('b', 1)},ani@example.com`, `${uuid('b', 4)},dewi@example.com`]),
      )
      const report = join(house1.config.dataDir, 'report.csv')
      const done = await imports(
        house1,
        '--from-csv',
        file(house1, broken),
        '--users-csv',
        users,
        '--report',
        report,
      )
      t.match(done.counts, {
        ...{ user_imported: 2, session_imported: 2, session_unreadable: 3, session_may_be_cut: 1 },
        session_is_old: 2,
      })
      const lines: string[] = []
      for await (const chunk of createReadStream(report, 'utf8')) lines.push(...String(chunk).split('\n'))
      t.equal(lines[0], 'finding,row,email,old_id,user_id,detail')
      t.match(lines[1], /^user_imported,2,ani@example.com,b0000000-[^,]*,\d+,user$/)
      t.equal(lines.length, 1 + done.findings.length + 1)
    })

    t.test(
      "somebody else's user_sessions stops migrate, is renamed as told, and is read from there",
      async (t) => {
        const config = await database.freshConfig(t, KEPT)
        const env: TestEnv = {
          ...{ ...KEPT, DATA_DIR: config.dataDir },
          ...(config.databaseUrl === undefined ? {} : { DATABASE_URL: config.databaseUrl }),
        }
        const house1: Installation = { config, env }
        const own =
          config.databaseUrl === undefined
            ? ['--from-sqlite', join(config.dataDir, 'kunci.db')]
            : ['--from-mysql', config.databaseUrl]
        const shapes = {
          adonis: {
            columns:
              'id INT PRIMARY KEY, user_id INT, session_id VARCHAR(64), ip_address VARCHAR(45), login_at DATETIME',
            row: "(1, 7, 'OLD-1', '192.0.2.1', '2024-01-15 09:00:00')",
          },
          supabase: {
            columns: `id CHAR(36) PRIMARY KEY, user_id CHAR(36), session_token TEXT, device_info TEXT, is_active BOOLEAN,
            created_at DATETIME, last_activity DATETIME`,
            row: `('${uuid('a', 1)}', '7', 'OLD-2', 'curl/8.5.0', 1, '2024-01-16 09:00:00', NULL)`,
          },
        }
        await sql(house1, 'CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(254), name VARCHAR(40))')
        await sql(house1, "INSERT INTO users VALUES (7, 'ani@example.com', 'Ani')")
        await sql(house1, `CREATE TABLE user_sessions (${shapes.supabase.columns})`)
        await sql(house1, `INSERT INTO user_sessions VALUES ${shapes.supabase.row}`)
        const refused = await migrateDatabase(config).then(
          () => '',
          (error: Error) => error.message,
        )
        t.match(refused, 'a table named user_sessions that Kunci did not make. Nothing was changed')
        const [statement = ''] = /ALTER TABLE user_sessions RENAME TO old_user_sessions;/.exec(refused) ?? []
        await sql(house1, statement)
        await migrateDatabase(config)
        await sql(house1, `CREATE TABLE older_sessions (${shapes.adonis.columns})`)
        await sql(house1, `INSERT INTO older_sessions VALUES ${shapes.adonis.row}`)

        t.match(await refusal(house1, ...own), {
          ...{ code: 'import_source', detail: /is Kunci's own.*--sessions-table old_user_sessions/ },
        })
        for (const table of ['old_user_sessions', 'older_sessions'])
          t.match(await imports(house1, ...own, '--sessions-table', table, '--apply'), {
            ...{ code: 0, counts: { session_imported: 1 } },
          })
        t.match(
          await sql(house1, 'SELECT user_id, user_agent, ip_address FROM user_sessions ORDER BY login_at'),
          [
            { user_id: 7, user_agent: '', ip_address: '192.0.2.1' },
            { user_id: 7, user_agent: 'curl/8.5.0', ip_address: '' },
          ],
        )
        t.match(await sql(house1, 'SELECT id, email, name FROM users'), [
          { id: 7, email: 'ani@example.com', name: 'Ani' },
        ])
      },
    )

    t.test('a source that dies while it is read has changed nothing', async (t) => {
      const server = await startMariadb()
      t.teardown(() => server.kill())
      const house1 = await house(t, database)
      const url = await server.createDatabase('old')
      const mysql = await createConnection(url)
      mysql.on('error', () => undefined)
      await adonisTables(mysql)
      await mysql.query("INSERT INTO users (email, password) VALUES ('ani@example.com', 'x')")
      await mysql.query(
        `INSERT INTO user_sessions (user_id, session_id, login_at, user_agent)
         SELECT 1, CONCAT('OLD-', seq), '2024-01-01', REPEAT('x', 500) FROM seq_1_to_${MANY}`,
      )
      let isKilled = false
      const failed = await asOperator(house1, async (app) => {
        const wish = { source: { kind: 'mysql', url, sessionsTable: undefined } as const, timeZone: 'UTC' }
        const tell = () => {
          if (!isKilled) void server.kill()
          isKilled = true
        }
        return app.userImports.plan(wish, tell).catch((error: unknown) => error)
      })
      t.match(failed, {
        code: 'import_source',
        detail: /the connection was lost after \d+ rows of user_sessions/,
      })
      t.same(await numbersOf(house1), all(0, 0))
      mysql.destroy()
    })

    t.test('a hundred thousand sessions come over in bounded memory, and say how far they are', async (t) => {
      const house1 = await largeHouse(t, database)
      const order = supabase(house1, 2000, MANY)
      const env = { ...house1.env, NODE_OPTIONS: '--max-old-space-size=192' }
      const { code, stderr } = await runKunci(['import', 'users', ...order, '--apply'], env)
      t.equal(code, 0, stderr)
      t.same(await numbersOf(house1), all(2000, MANY))
      const phases = new Set<string>()
      await asOperator(house1, (app) => {
        const [, sessionsPath = '', , usersPath] = order
        const wish = { source: { kind: 'csv', sessionsPath, usersPath } as const, timeZone: 'UTC' }
        return app.userImports.plan(wish, ({ phase, fraction }) => {
          phases.add(phase)
          if (fraction < 0 || fraction > 1) t.fail(`${phase} ${fraction}`)
        })
      })
      t.same([...phases], ['reading', 'comparing'])
    })

    t.test('killed again and again while writing, it goes on and ends complete', async (t) => {
      const house1 = await largeHouse(t, database)
      const order = supabase(house1, 4000, 12_000)
      const written = async () => {
        const { users = 0, sessions = 0 } = await numbersOf(house1)
        return users + sessions
      }
      for (let i = 1; i <= 3; i++) {
        const before = await written()
        const victim = spawnKunci(['import', 'users', ...order, '--apply'], house1.env)
        await until('some rows are written', async () => (await written()) > before, 60_000)
        await victim.kill('SIGKILL')
        const { users = 0, sessions = 0, ...recorded } = await numbersOf(house1)
        t.same(
          recorded,
          { recorded_users: users, recorded_sessions: sessions },
          'each batch is whole, and in the record',
        )
        t.ok(users + sessions < 16_000, `${users} users and ${sessions} sessions after kill ${i}`)
      }
      t.match(await imports(house1, ...order, '--apply'), { code: 0 })
      t.same(await numbersOf(house1), all(4000, 12_000))
    })

    t.test('two imports at the same moment write every row once', async (t) => {
      const house1 = await largeHouse(t, database)
      const order = supabase(house1, 2000, 3000)
      const argv = ['import', 'users', ...order, '--apply', '--json']
      const runs = await Promise.all([argv, argv].map((each) => runKunci(each, house1.env)))
      const sum = (name: string) =>
        runs.reduce((total, { stdout }) => total + ((JSON.parse(stdout) as Report).counts[name] ?? 0), 0)
      for (const { code, stderr } of runs) t.equal(code, 0, stderr)
      t.same(
        ['user_imported', 'user_known', 'session_imported', 'session_known'].map(sum),
        [2000, 2000, 3000, 3000],
      )
      t.same(await numbersOf(house1), all(2000, 3000))
    })

    t.test('an import that breaks off while it writes says what it did', async (t) => {
      const house1 = await house(t, database)
      const refuses = '(SELECT COUNT(*) FROM user_sessions) >= 512'
      await sql(
        house1,
        database.name === 'SQLite'
          ? `CREATE TRIGGER no_room BEFORE INSERT ON user_sessions WHEN ${refuses}
             BEGIN SELECT RAISE(ABORT, 'there is no room'); END`
          : `CREATE TRIGGER no_room BEFORE INSERT ON user_sessions FOR EACH ROW IF ${refuses}
             THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'there is no room'; END IF`,
      )
      const order = [...supabase(house1, 10, 600), '--apply']
      const broken = await refusal(house1, ...order)
      t.match(JSON.stringify(broken), /there is no room/)
      t.match(JSON.parse(broken.stdout), {
        ...{ applied: true, complete: false, counts: { user_imported: 10, session_imported: 512 } },
      })
      await sql(house1, 'DROP TRIGGER no_room')
      t.match(await imports(house1, ...order), {
        counts: { user_known: 10, session_known: 512, session_imported: 88 },
      })
    })
  })
}
