import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { migrateDatabase, openDatabase } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { examine } from '../../src/doctor/doctor.ts'
import { privilegesIn } from '../../src/store/inspection/grants.ts'
import { kunci } from '../support/cli.ts'
import { freshConfig, type TestEnv } from '../support/databases.ts'
import { doctor, follow, heals, PASSWORD, unwell } from '../support/doctor.ts'
import { startMariadb } from '../support/mariadb.ts'

const RIGHTS = 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, EVENT'
const server = await startMariadb({ timeZone: '+07:00' })
t.teardown(() => server.stop())
const root = await createConnection(server.rootUrl())
t.teardown(() => root.destroy())
let patients = 0

/** A database with an account of its own, migrated by it. SQL runs as the administrator, in that database. */
async function patient(t: Test, { migrated = true, rights = RIGHTS, extraEnv = {} as TestEnv } = {}) {
  const url = new URL(await server.createDatabase())
  const database = url.pathname.slice(1)
  const user = `u${++patients}`
  const account = `'${user}'@'127.0.0.1'`
  await root.query(`CREATE USER ${account} IDENTIFIED BY '${PASSWORD}'`)
  await root.query(`GRANT ${rights} ON \`${database}\`.* TO ${account}`)
  url.username = user
  url.password = PASSWORD
  const { dataDir } = freshConfig(t)
  const env: TestEnv = { DATABASE_URL: url.href, DATA_DIR: dataDir, ...extraEnv }
  const config = loadConfig(env)
  if (migrated) await migrateDatabase(config)
  const query = async (sql: string) => {
    await root.query(`USE \`${database}\``)
    return root.query(sql)
  }
  return { env, config, query, url, database, user, account }
}

t.test('a database as migrate leaves it is well, and every check has looked', async (t) => {
  const { env, database } = await patient(t)
  const report = await doctor(env)
  t.same(
    unwell(report),
    ['cleanup.definer'].filter((id) => report.of(id).state !== 'ok'),
  )
  t.equal(report.code, 0)
  t.match(report.of('settings.database').what, database)
  t.match(report.of('clock.zones').what, '+07:00')
  t.match(report.of('log.database').what, /stderr|is \//)
  const { stdout } = await kunci(env, 'doctor')
  t.match(stdout, /^ok +table\.session_keys +Columns/m)
  t.match(stdout, /\n\d+ ok, 0 warnings, 0 failed, 0 not checked\.\n$/)
  t.notMatch(stdout, PASSWORD)
})

t.test('each table, maimed in each way, is found and mended by the SQL that is printed', async (t) => {
  const { env, query } = await patient(t)
  const cases: [table: string, state: 'failed' | 'warning', what: RegExp, ...damage: string[]][] = [
    ['session_keys', 'warning', /lost its index idx_expires/, 'DROP INDEX idx_expires ON session_keys'],
    ['session_keys', 'failed', /lost its unique key/, 'DROP INDEX session_id ON session_keys'],
    ['session_keys', 'failed', /client_ip is missing/, 'ALTER TABLE session_keys DROP COLUMN client_ip'],
    [
      'session_keys',
      'failed',
      /id is int, not bigint unsigned/,
      'ALTER TABLE session_keys MODIFY id INT(11) NOT NULL AUTO_INCREMENT',
    ],
    [
      'session_keys',
      'failed',
      /session_key is varchar\(64\), not varchar\(128\)/,
      'ALTER TABLE session_keys MODIFY session_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL',
    ],
    [
      'session_keys',
      'failed',
      /session_id compares by utf8mb4_general_ci/,
      'ALTER TABLE session_keys MODIFY session_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL',
    ],
    [
      'session_keys',
      'failed',
      /expires_at has another default/,
      'ALTER TABLE session_keys MODIFY expires_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP',
    ],
    ['session_keys', 'failed', /kept by MyISAM/, 'ALTER TABLE session_keys ENGINE = MyISAM'],
    [
      'kunci_products',
      'failed',
      /character set of latin1.*name compares by latin1/,
      'ALTER TABLE kunci_products CONVERT TO CHARACTER SET latin1',
    ],
    [
      'kunci_tokens',
      'warning',
      /kunci_tokens\.name compares by utf8mb4_general_ci, not utf8mb4_bin\.$/,
      'ALTER TABLE kunci_tokens DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci',
      'ALTER TABLE kunci_tokens MODIFY name VARCHAR(64) NOT NULL',
    ],
    [
      'kunci_licences',
      'failed',
      /customer is varchar\(20\).*may be empty/,
      'ALTER TABLE kunci_licences MODIFY customer VARCHAR(20)',
    ],
    [
      'kunci_licences',
      'warning',
      /lost its index kunci_licences_product/,
      'DROP INDEX kunci_licences_product ON kunci_licences',
      'CREATE INDEX kunci_licences_product ON kunci_licences (customer)',
    ],
    [
      'kunci_devices',
      'failed',
      /unique key \(licence_id, slot_no\)/,
      'DROP INDEX licence_id ON kunci_devices',
    ],
    [
      'kunci_events',
      'warning',
      /kunci_events_licence \(licence_id, id\)/,
      'DROP INDEX kunci_events_licence ON kunci_events',
    ],
    ['kunci_blocks', 'failed', /table kunci_blocks is missing/, 'DROP TABLE kunci_blocks'],
  ]
  for (const [table, state, what, ...damage] of cases) {
    for (const sql of damage) await query(sql)
    await heals(t, env, `table.${table}`, state, what, query)
  }
  await query(
    'ALTER TABLE kunci_tokens MODIFY name VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL',
  )
  t.equal((await doctor(env)).of('table.kunci_tokens').state, 'ok', 'wider does no harm')
})

t.test(
  'what is printed moves no time and cuts nothing off, whatever session it is pasted into',
  async (t) => {
    const { env, query, config } = await patient(t)
    const lax = async () => {
      await query("SET sql_mode = ''")
      await query("SET time_zone = '+07:00'")
    }
    await query('ALTER TABLE session_keys MODIFY expires_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP')
    await query('ALTER TABLE session_keys MODIFY created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP')
    await query(`INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, created_at, expires_at)
    VALUES ('a', '', '', '', '2037-01-01 00:00:00', '2037-01-01 12:00:00')`)
    await lax()
    await heals(t, env, 'table.session_keys', 'failed', /expires_at is datetime, not timestamp/, query)
    const db = await openDatabase(config)
    t.match(await db.all('SELECT created_at, expires_at FROM session_keys'), [
      { created_at: '2037-01-01 00:00:00', expires_at: '2037-01-01 12:00:00' },
    ])
    await db.close()

    await query('ALTER TABLE session_keys MODIFY client_ip TEXT CHARACTER SET utf8mb4')
    await query(`UPDATE session_keys SET client_ip = REPEAT('x', 300)`)
    await lax()
    const { mend } = (await doctor(env)).of('table.session_keys')
    t.equal(mend.filter(({ text }) => text.includes('sql_mode')).length, 1, 'said once')
    await t.rejects(follow(env, mend, query), { code: 'ER_DATA_TOO_LONG' })
    const [rows] = await query('SELECT LENGTH(client_ip) AS length FROM session_keys')
    t.match(rows, [{ length: 300 }])
  },
)

t.test('every index there is is missed when it goes', async (t) => {
  const { env, query } = await patient(t)
  const [rows] = (await query(
    `SELECT DISTINCT table_name AS t, index_name AS i FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND index_name <> 'PRIMARY'`,
  )) as unknown as [{ t: string; i: string }[]]
  t.ok(rows.length > 8)
  for (const { t: table, i } of rows) await query(`DROP INDEX ${i} ON ${table}`)
  const { findings } = await doctor(env)
  const broken = findings.filter(({ id, state }) => id.startsWith('table.') && state !== 'ok')
  t.equal(broken.flatMap(({ mend }) => mend).length, rows.length)
  await follow(
    env,
    broken.flatMap(({ mend }) => mend),
    query,
  )
  t.same(unwell(await doctor(env)), [])
})

t.test('a database that was not migrated is told to be, and then well', async (t) => {
  const { env, query } = await patient(t, { migrated: false })
  const report = await doctor(env)
  t.match(report.of('table.session_keys'), { state: 'not_checked', what: /its migration is pending/ })
  await heals(t, env, 'migrations', 'failed', /0001_session_keys is pending/, query)
  t.same(unwell(await doctor(env)), [])
  await query("UPDATE kunci_migrations SET checksum = 'x' WHERE name = '0004_products'")
  t.match((await doctor(env)).of('migrations'), { state: 'failed', why: /Another version/ })
})

t.test(
  'each privilege that is missing is found, weighed, and granted by the SQL that is printed',
  async (t) => {
    const { env, query, database, account } = await patient(t)
    for (const privilege of RIGHTS.split(', ')) {
      await query(`REVOKE ${privilege} ON \`${database}\`.* FROM ${account}`)
      const isOptional = ['CREATE', 'ALTER', 'INDEX', 'EVENT'].includes(privilege)
      const id = `database.privilege.${privilege.toLowerCase()}`
      const unseen = { state: privilege === 'EVENT' ? 'not_checked' : 'ok' }
      t.match((await doctor(env)).of('cleanup.event'), unseen)
      await heals(t, env, id, isOptional ? 'warning' : 'failed', /This login may /, query)
    }
    t.same(unwell(await doctor(env)), [])
    const fresh = await patient(t, { migrated: false, rights: 'SELECT' })
    await heals(t, fresh.env, 'database.privilege.create', 'failed', /may not CREATE/, fresh.query)
  },
)

t.test('what migrate is said to need is all it needs, for an old session_keys too', async (t) => {
  const { env, query } = await patient(t, { migrated: false })
  await query(`CREATE TABLE session_keys (id INT(11) NOT NULL AUTO_INCREMENT PRIMARY KEY, session_id VARCHAR(64) NOT NULL UNIQUE,
    session_key VARCHAR(128) NOT NULL, session_iv VARCHAR(64) NOT NULL, client_ip VARCHAR(45) NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, expires_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    KEY idx_session_id (session_id), KEY idx_expires (expires_at)) ENGINE = MyISAM`)
  await heals(t, env, 'migrations', 'failed', /pending/, query)
  t.same(unwell(await doctor(env)), [])
})

t.test(
  'a privilege counts by a role, by a wildcard and by its table, and the nearest grant hides the others',
  async (t) => {
    const { env, query, database, account, user } = await patient(t)
    const escaped = database.replaceAll('_', '\\_')
    await query(`REVOKE EVENT, DELETE ON \`${database}\`.* FROM ${account}`)
    await query(`CREATE ROLE r_${user}`)
    await query(`GRANT EVENT ON \`${escaped}\`.* TO r_${user}`)
    await query(`GRANT r_${user} TO ${account}`)
    t.equal((await doctor(env)).of('database.privilege.event').state, 'warning', 'a role that is not active')
    await query(`SET DEFAULT ROLE r_${user} FOR ${account}`)
    t.equal((await doctor(env)).of('database.privilege.event').state, 'ok', 'an active one')
    const [tables] = (await query('SHOW TABLES')) as unknown as [Record<string, string>[]]
    for (const row of tables) {
      t.equal((await doctor(env)).of('database.privilege.delete').state, 'failed', 'not on every table')
      await query(`GRANT DELETE ON \`${Object.values(row)[0]}\` TO ${account}`)
    }
    t.equal((await doctor(env)).of('database.privilege.delete').state, 'ok', 'on every table')
    // The server looks at the most exact grant only: this one takes away what the wider one gives.
    await query(`GRANT SELECT ON \`${escaped}\`.* TO ${account}`)
    await heals(t, env, 'database.privilege.insert', 'failed', /may not INSERT/, query)
  },
)

t.test('lines of SHOW GRANTS are read as both servers write them', async (t) => {
  const has = (privilege: string, ...lines: string[]) => privilegesIn(lines, 'a_b').has(privilege, ['t'])
  t.ok(has('EVENT', "GRANT ALL PRIVILEGES ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*12' WITH GRANT OPTION"))
  t.ok(has('EVENT', 'GRANT USAGE ON *.* TO `u`@`%`', 'GRANT EVENT ON `a%`.* TO `u`@`%`'))
  t.ok(has('EVENT', 'GRANT SELECT, EVENT ON `a\\_b`.* TO `u`@`%`'))
  t.ok(has('CREATE', 'GRANT CREATE TEMPORARY TABLES, CREATE ON `a_b`.* TO `u`@`%` WITH GRANT OPTION'))
  t.notOk(has('CREATE', 'GRANT CREATE VIEW, CREATE ROUTINE ON `a_b`.* TO `u`@`%`'))
  t.notOk(has('EVENT', 'GRANT EVENT ON `a\\_c`.* TO `u`@`%`', 'GRANT EVENT ON `aab`.* TO `u`@`%`'))
  t.notOk(has('EVENT', 'GRANT EVENT ON `a_b`.* TO `u`@`%`', 'GRANT SELECT ON `a\\_b`.* TO `u`@`%`'), 'hidden')
  t.notOk(has('UPDATE', 'GRANT SELECT, UPDATE (`id`, `x`) ON `a_b`.`t` TO `u`@`%`'))
  t.ok(has('SELECT', 'GRANT SELECT, UPDATE (`id`, `x`) ON `a_b`.`t` TO `u`@`%`'))
  t.notOk(has('SELECT', 'GRANT SELECT ON *.* TO `u`@`%`', 'REVOKE SELECT ON `a_b`.* FROM `u`@`%`'))
  t.ok(has('INSERT', 'GRANT SELECT ON `a_b`.* TO `u`@`%`', 'GRANT INSERT ON `a_b`.* TO `r`'))
  t.notOk(has('EVENT', 'GRANT `r`@`%` TO `u`@`%`', 'GRANT PROXY ON ``@`%` TO `u`@`%`'))
})

t.test(
  'the EVENT that cleans is found dropped, disabled, altered, silent, and without its account',
  async (t) => {
    const { env, query, user } = await patient(t)
    const event = 'cleanup_expired_sessions'
    await query(`DROP EVENT ${event}`)
    t.match((await doctor(env)).of('cleanup.definer'), { state: 'not_checked' })
    await heals(t, env, 'cleanup.event', 'warning', /There is no EVENT/, query)
    await query(`ALTER EVENT ${event} DISABLE`)
    await heals(t, env, 'cleanup.event', 'warning', /is disabled/, query)
    await query(`ALTER EVENT ${event} DISABLE ON SLAVE`)
    t.match((await doctor(env)).of('cleanup.last_run'), { state: 'not_checked' })
    await heals(t, env, 'cleanup.event', 'warning', /is disabled.*/, query)
    for (const alteration of [
      'ON SCHEDULE EVERY 1 HOUR',
      'DO DELETE FROM session_keys WHERE expires_at < NOW()',
    ]) {
      await query(`ALTER EVENT ${event} ${alteration}`)
      await heals(t, env, 'cleanup.event', 'warning', /something else, or at other times/, query)
    }
    if (!/mariadb/i.test(server.version)) return
    for (const zone of ['-05:00', '+00:00', '+07:00']) {
      await query(`SET time_zone = '${zone}'`)
      await query(`ALTER EVENT ${event} ON SCHEDULE EVERY 1 MINUTE STARTS NOW() + INTERVAL 1 HOUR`)
      const lastRun = (silence: string) =>
        query(`UPDATE mysql.event SET created = NOW() - INTERVAL 1 DAY,
        last_executed = UTC_TIMESTAMP() - INTERVAL ${silence} WHERE db = DATABASE()`)
      await lastRun('100 SECOND')
      t.match((await doctor(env)).of('cleanup.last_run'), { state: 'ok', what: /10\d seconds ago/ }, zone)
      await lastRun('20 MINUTE')
      await heals(t, env, 'cleanup.last_run', 'warning', /not run for 20 minutes/, query)
    }
    await query(`CREATE USER gone_${user}`)
    await query(`CREATE OR REPLACE DEFINER = gone_${user} EVENT ${event} ON SCHEDULE EVERY 1 MINUTE DO DO 1`)
    await query(`DROP USER gone_${user}`)
    t.match(
      (await doctor(env)).of('cleanup.definer'),
      { state: 'not_checked' },
      'who may not look does not know',
    )
    await query(`GRANT SELECT ON mysql.* TO '${user}'@'127.0.0.1'`)
    await heals(t, env, 'cleanup.definer', 'warning', /no such account any more/, query)
  },
)

t.test('a scheduler that is off and session keys that pile up are found', async (t) => {
  const { env, query } = await patient(t)
  await query('SET GLOBAL event_scheduler = OFF')
  t.match((await doctor(env)).of('cleanup.last_run'), { state: 'not_checked', what: /event_scheduler/ })
  await query(`INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, expires_at)
    VALUES ('a', '', '', '', NOW() - INTERVAL 4 MINUTE), ('b', '', '', '', NOW() - INTERVAL 6 MINUTE)`)
  await heals(t, env, 'cleanup.backlog', 'warning', /^1 session keys expired/, query)
  await heals(t, env, 'cleanup.scheduler', 'warning', /event_scheduler is OFF/, query)
})

t.test(
  'a login that is refused is told apart from a database that is not there or not allowed',
  async (t) => {
    const { env, query, url, database } = await patient(t)
    const asAdministrator = (sql: string) =>
      query(sql.replace('<the password of DATABASE_URL>', `'${PASSWORD}'`))
    await query(`ALTER USER '${url.username}'@'127.0.0.1' IDENTIFIED BY 'another'`)
    const refused = await doctor(env)
    t.match(refused.of('database.reachable'), { state: 'ok' })
    t.match(refused.of('database.access'), { state: 'not_checked', what: 'because the login is refused' })
    t.match(refused.of('table.session_keys'), { state: 'not_checked' })
    t.match(refused.of('keys.files'), { state: 'ok' }, 'what needs no database is looked at')
    const placeholders = refused.of('database.login').mend.filter(({ text }) => /IDENTIFIED/.test(text))
    t.equal(placeholders.length, 2)
    for (const { text } of placeholders)
      await t.rejects(query(text), { code: 'ER_PARSE_ERROR' }, 'refused until it is filled in')
    await heals(t, env, 'database.login', 'failed', /refuses the login/, asAdministrator)

    const named = (name: string, user = url.username, password = PASSWORD): TestEnv => {
      const other = new URL(url)
      Object.assign(other, { username: user, password, pathname: `/${name}` })
      return { ...env, DATABASE_URL: other.href }
    }
    const forbidden = named(`no_${database}`)
    const beside = await doctor(forbidden)
    t.match(beside.of('database.login'), { state: 'ok' })
    t.match(beside.of('database.version'), { state: 'ok', what: server.version }, 'the server is looked at')
    t.match(beside.of('migrations'), { state: 'not_checked', what: 'because the database cannot be used' })
    const { mend } = beside.of('database.access')
    await follow(
      {},
      mend.filter(({ kind }) => kind === 'sql'),
      query,
    )
    await heals(
      t,
      { ...forbidden, DATA_DIR: freshConfig(t).dataDir },
      'migrations',
      'failed',
      /pending/,
      query,
    )

    const nowhere = { ...named(`none_${database}`, 'root', ''), DATA_DIR: freshConfig(t).dataDir }
    await heals(t, nowhere, 'database.access', 'failed', /There is no database named none_/, query)
  },
)

t.test("nobody is told to change the login of the server's own accounts, but to make one", async (t) => {
  const { env, url, database } = await patient(t, { migrated: false })
  await root.query('DROP USER IF EXISTS kunci@127.0.0.1, kunci@localhost')
  const login = async (user: string) => {
    const other = new URL(url)
    Object.assign(other, { username: user, password: `${PASSWORD}no` })
    return (await doctor({ ...env, DATABASE_URL: other.href })).of('database.login')
  }
  for (const user of ['root', 'mysql', 'mariadb.sys']) {
    const { state, mend } = await login(user)
    t.equal(state, 'failed')
    const text = mend.map((remedy) => remedy.text).join('\n')
    t.notMatch(text, 'ALTER USER')
    t.notMatch(text, `CREATE USER IF NOT EXISTS '${user}'`)
    t.match(text, `${user} belongs to the database server itself`)
  }
  const { mend } = await login('root')
  const [create] = mend.filter(({ text }) => text.startsWith('CREATE'))
  await t.rejects(root.query(create?.text ?? ''), { code: 'ER_PARSE_ERROR' })
  await follow({}, mend, (sql) => root.query(sql.replace('<a new password>', `'${PASSWORD}'`)))
  url.username = 'kunci'
  const own = await doctor({ ...env, DATABASE_URL: url.href })
  for (const id of ['database.login', 'database.access', 'database.privilege.event'])
    t.equal(own.of(id).state, 'ok', `${id} in ${database}`)
})

t.test('a server that does not answer leaves the rest to be looked at', async (t) => {
  const { env, url } = await patient(t)
  url.port = '1'
  const report = await doctor({ ...env, DATABASE_URL: url.href })
  t.match(report.of('database.reachable'), {
    state: 'failed',
    what: /127\.0\.0\.1:1 does not answer: nothing listens/,
  })
  t.equal(report.code, 5)
  for (const id of [
    'database.login',
    'database.privilege.event',
    'migrations',
    'cleanup.backlog',
    'clock.difference',
    'keys.match',
  ])
    t.match(report.of(id), { state: 'not_checked', what: 'because the database server does not answer' })
  for (const id of ['settings', 'keys.files', 'disk.data_dir', 'log.kunci'])
    t.match(report.of(id), { state: 'ok' })
  url.hostname = 'database.invalid'
  t.match(
    (await doctor({ ...env, DATABASE_URL: url.href })).of('database.reachable').what,
    /no host of that name|looked up/,
  )
})

const COM_QUERY = 3

/** What goes wrong with a statement on its way: it is answered with an error, or its connection ends. */
type Mishap = { readonly statement: RegExp; readonly answer: 'error' | 'end' }

function errorPacket(errno: number, message: string): Buffer {
  const body = Buffer.concat([Buffer.from([0xff, errno & 0xff, errno >> 8]), Buffer.from(`#HY000${message}`)])
  return Buffer.concat([Buffer.from([body.length, 0, 0, 1]), body])
}

/** A proxy before the server. `isLeft` tells whether all its clients have gone within some seconds. */
async function proxy(t: Test, { statement, answer }: Mishap) {
  const sockets = new Set<Socket>()
  const listener = createServer((client) => {
    const upstream = connect(server.port, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    }
    upstream.pipe(client)
    client.on('end', () => upstream.end())
    client.on('data', (packet) => {
      if (packet[4] !== COM_QUERY || !statement.test(packet.toString())) upstream.write(packet)
      else if (answer === 'end') client.destroy()
      else client.write(errorPacket(1193, 'Unknown system variable'))
    })
    client.on('close', () => upstream.destroy())
  })
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  })
  const isLeft = async () => {
    for (let i = 0; i < 50 && sockets.size > 0; i++) await sleep(100)
    return sockets.size === 0
  }
  return { port: (listener.address() as AddressInfo).port, isLeft }
}

t.test('what a proxy does not say leaves out only what hangs on it', async (t) => {
  const { env, url } = await patient(t)
  const well = unwell(await doctor(env))
  const cases: [statement: RegExp, ...unchecked: string[]][] = [
    [/@@log_error/, 'log.database'],
    [/@@event_scheduler/, 'cleanup.scheduler', 'cleanup.last_run'],
    [/@@global\.time_zone/, 'clock.zones'],
    [/@@system_time_zone/],
    [/Ssl_cipher/],
  ]
  for (const [statement, ...unchecked] of cases) {
    const { port, isLeft } = await proxy(t, { statement, answer: 'error' })
    url.port = String(port)
    const report = await doctor({ ...env, DATABASE_URL: url.href })
    t.same(unwell(report).toSorted(), [...new Set([...well, ...unchecked])].toSorted(), String(statement))
    for (const id of unchecked)
      t.match(report.of(id), { state: 'not_checked', what: /the server does not say/ })
    t.ok(await isLeft(), 'no connection is left open')
  }
})

t.test('a server that falls silent once it let the login in is called that, and left', async (t) => {
  const { env, url, database } = await patient(t)
  for (const mishap of [
    { statement: /VERSION\(\)/, answer: 'end' },
    { statement: /VERSION\(\)/, answer: 'error' },
    { statement: /@@log_error/, answer: 'end' },
  ] as const)
    for (const name of [database, `none_${database}`]) {
      const { port, isLeft } = await proxy(t, mishap)
      Object.assign(url, { port: String(port), pathname: name })
      const report = await doctor({ ...env, DATABASE_URL: url.href })
      t.ok(await isLeft(), 'no connection is left open')
      t.match(report.of('database.login'), { state: 'ok' })
      t.match(report.of('migrations'), { state: 'not_checked' })
      t.equal(report.code, 5)
      if (name !== database) continue
      t.match(report.of('database.reachable'), {
        state: 'failed',
        what: / lets this login in, but does not say/,
      })
      t.match(report.of('database.access'), { state: 'ok' })
    }
  const { port, isLeft } = await proxy(t, { statement: /UTC_TIMESTAMP/, answer: 'error' })
  Object.assign(url, { port: String(port), pathname: database })
  const erring = await doctor({ ...env, DATABASE_URL: url.href })
  t.match(erring.of('database.reachable'), { state: 'failed', what: / answers with an error: .*Unknown/ })
  t.ok(await isLeft())
})

t.test('a connection that crosses a network in clear text is warned of', async (t) => {
  const { env, url, account, database } = await patient(t)
  await root.query(`RENAME USER ${account} TO '${url.username}'@'%'`)
  url.hostname = '0.0.0.0'
  const { of } = await doctor({ ...env, DATABASE_URL: url.href })
  t.match(of('database.tls'), { state: 'warning', what: /0\.0\.0\.0 is not encrypted/ })
  t.match(of('database.tls').mend.at(-1), {
    kind: 'setting',
    text: `DATABASE_URL=mysql://${url.username}:PASSWORD@0.0.0.0:${url.port}/${database}?ssl=true`,
  })
  t.match((await doctor({ ...env, DATABASE_URL: `${url.href}?ssl=true` })).of('database.reachable'), {
    state: 'failed',
    what: /TLS/,
  })
})

t.test('clocks that differ are found, and by how much', async (t) => {
  const { env } = await patient(t)
  const difference = async (ms: number) => {
    const findings = await examine(env, () => Date.now() + ms)
    return findings.find(({ id }) => id === 'clock.difference')
  }
  t.match(await difference(1500), { state: 'ok' })
  t.match(await difference(3000), { state: 'warning', what: /3\.0 s ahead of/ })
  t.match(await difference(-61_000), { state: 'warning', what: /61\.0 s behind/ })
})

t.test('keys that are not those of the database are found, and found put back', async (t) => {
  const { env, config } = await patient(t)
  const stranger = await patient(t)
  const wrong = { ...env, KEYS_DIR: stranger.config.keysDir }
  const report = await doctor(wrong)
  t.match(report.of('keys.match'), { state: 'failed', what: /not the one this database was written with/ })
  t.match(report.of('keys.match').mend, [{ kind: 'advice', text: /backup/ }])
  t.match(report.of('keys.files'), { state: 'ok' })
  t.match((await doctor({ ...env, KEYS_DIR: `${config.dataDir}/none` })).of('keys.match'), {
    state: 'failed',
    what: /is missing/,
  })
  t.match((await doctor({ ...env, KEYS_DIR: config.keysDir })).of('keys.match'), { state: 'ok' })
})

t.test('it changes nothing in the database', async (t) => {
  const { env, config } = await patient(t, { migrated: false })
  await doctor(env)
  const db = await openDatabase(config)
  t.same(await db.all('SHOW TABLES'), [])
  t.same(await db.all('SHOW EVENTS'), [])
  await db.close()
  t.notOk(existsSync(config.keysDir))
})
