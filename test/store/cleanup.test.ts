import { mock } from 'node:test'
import { createConnection } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { createApp, migrateDatabase, openDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import { type Database, insertMany } from '../../src/store/engine/database.ts'
import { cleanupEventSql } from '../../src/store/engine/schema.ts'
import { sessionKeyStore, utcText } from '../../src/store/session-keys.ts'
import { DATABASES, freshConfig } from '../support/databases.ts'
import { until } from '../support/installation.ts'
import { sharedMariadb, startMariadb } from '../support/mariadb.ts'

type Teardown = Pick<Test, 'teardown'>

const SECOND_MS = 1000
const MINUTE_MS = 60_000
const MANY = 12_000

async function migrated(t: Teardown, config: Config): Promise<Database> {
  await migrateDatabase(config)
  const db = await openDatabase(config)
  t.teardown(() => db.close())
  return db
}

async function start(t: Teardown, config: Config) {
  const app = await createApp(config, { logger: createLogger('silent') })
  t.teardown(() => app.close())
  return app
}

/** Writes session keys, each with its failures, that expire at the given distances from now. */
async function write(db: Database, label: string, expiries: readonly number[]): Promise<void> {
  const nowMs = db.clock()
  const keys = expiries.map((ms, i) => [`${label}${i}`, 'key', 'iv', '::1', utcText(nowMs + ms)])
  const failures = expiries.map((ms, i) => [`${label}${i}`, 1, nowMs + ms])
  const columns = ['session_id', 'session_key', 'session_iv', 'client_ip', 'expires_at']
  for (let i = 0; i < keys.length; i += 1000) {
    await db.run(...insertMany('session_keys', columns, keys.slice(i, i + 1000)))
    await db.run(
      ...insertMany(
        'kunci_session_failures',
        ['session_id', 'failed_opens', 'expires_at_ms'],
        failures.slice(i, i + 1000),
      ),
    )
  }
}

async function idsIn(db: Database, table = 'session_keys'): Promise<string[]> {
  const rows = await db.all<{ session_id: string }>(`SELECT session_id FROM ${table} ORDER BY session_id`)
  return rows.map(({ session_id }) => session_id)
}

const expired = (count: number) => Array.from({ length: count }, (_, i) => -62 * SECOND_MS - i * SECOND_MS)
const LIVING = [5 * MINUTE_MS, -1 * SECOND_MS, -20 * SECOND_MS]
const LIVING_IDS = ['living0', 'living1', 'living2']

for (const { name, freshConfig } of DATABASES)
  t.test(`on ${name}`, async (t) => {
    t.test('only what is a minute past its end goes, the oldest first, so many at a time', async (t) => {
      const db = await migrated(t, await freshConfig(t))
      if (db.dialect === 'mysql') await db.run('DROP EVENT cleanup_expired_sessions')
      await write(db, 'living', LIVING)
      await write(db, 'dead', expired(7))
      const { removeExpired } = sessionKeyStore(db)
      const beforeMs = db.clock() - MINUTE_MS
      t.equal(await removeExpired(beforeMs, 3), 3)
      t.same(await idsIn(db), ['dead0', 'dead1', 'dead2', 'dead3', ...LIVING_IDS])
      t.equal(await removeExpired(beforeMs, 3), 3)
      t.equal(await removeExpired(beforeMs, 3), 1)
      t.equal(await removeExpired(beforeMs, 3), 0)
      t.same(await idsIn(db), LIVING_IDS)
      t.same(await idsIn(db, 'kunci_session_failures'), LIVING_IDS)
    })

    t.test('one run removes all there is, however much', async (t) => {
      const config = await freshConfig(t)
      const db = await migrated(t, config)
      if (db.dialect === 'mysql') await db.run('DROP EVENT cleanup_expired_sessions')
      await write(db, 'living', LIVING)
      await write(db, 'dead', expired(MANY))
      const app = await start(t, config)
      t.equal(await app.cleanup.run(), MANY)
      t.same(await idsIn(db), LIVING_IDS)
      t.equal(await app.cleanup.run(), 0)
    })

    t.test('the server does it each minute where no EVENT does', async (t) => {
      const config = await freshConfig(t)
      const db = await migrated(t, config)
      if (db.dialect === 'mysql') await db.run('DROP EVENT cleanup_expired_sessions')
      const app = await start(t, config)
      mock.timers.enable({ apis: ['setInterval'] })
      t.teardown(() => mock.timers.reset())
      const cleaning = app.cleanup.start()
      await write(db, 'living', LIVING)
      await write(db, 'dead', expired(2))
      mock.timers.tick(MINUTE_MS - 1)
      t.ok((await idsIn(db)).includes('dead0'), 'not before the minute is over')
      mock.timers.tick(1)
      await until('the rows go', async () => (await idsIn(db)).length === LIVING_IDS.length)
      t.same(await idsIn(db), LIVING_IDS)
      await cleaning.stop()
      await write(db, 'late', expired(1))
      mock.timers.tick(MINUTE_MS)
      t.ok((await idsIn(db)).includes('late0'), 'nor after it was stopped')
    })
  })

t.test('MariaDB: the server leaves it to an EVENT that lives', async (t) => {
  const config = await DATABASES[1]!.freshConfig(t)
  const db = await migrated(t, config)
  await db.run(
    'ALTER EVENT cleanup_expired_sessions ON SCHEDULE EVERY 1 MINUTE STARTS NOW() + INTERVAL 1 HOUR',
  )
  const app = await start(t, config)
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const cleaning = app.cleanup.start()
  await write(db, 'dead', expired(1))
  mock.timers.tick(MINUTE_MS)
  await cleaning.stop()
  t.same(await idsIn(db), ['dead0'])
})

t.test('SQLite has no EVENT', async (t) => {
  const db = await migrated(t, freshConfig(t))
  t.equal(await sessionKeyStore(db).hasLivingEvent(), false)
})

t.test('MariaDB: one run of the EVENT removes all there is, and nothing that lives', async (t) => {
  const db = await migrated(t, await DATABASES[1]!.freshConfig(t))
  await write(db, 'living', LIVING)
  await write(db, 'dead', expired(MANY))
  const [event] = await db.all<{ body: string }>(
    'SELECT event_definition AS body FROM information_schema.events WHERE event_schema = DATABASE()',
  )
  await db.run(`CREATE PROCEDURE one_run() ${event?.body}`)
  await db.run('CALL one_run()')
  t.same(await idsIn(db), LIVING_IDS)
  t.same(await idsIn(db, 'kunci_session_failures'), LIVING_IDS)
})

t.test('MariaDB: the EVENT runs by itself', async (t) => {
  const db = await migrated(t, await DATABASES[1]!.freshConfig(t))
  await write(db, 'living', LIVING)
  await write(db, 'dead', expired(10))
  await db.run('ALTER EVENT cleanup_expired_sessions ON SCHEDULE EVERY 1 SECOND')
  const gone = async (table: string) => (await idsIn(db, table)).length === LIVING_IDS.length
  await until('the keys go', () => gone('session_keys'))
  await until('the failures go', () => gone('kunci_session_failures'))
  t.same(await idsIn(db), LIVING_IDS)
})

t.test('MariaDB: an EVENT counts as living only while it is seen to run', async (t) => {
  const server = await startMariadb({ timeZone: '+07:00' })
  t.teardown(() => server.stop())
  const config = freshConfig(t, { DATABASE_URL: await server.createDatabase() })
  const db = await migrated(t, config)
  const { hasLivingEvent } = sessionKeyStore(db)
  const scheduler = (state: 'ON' | 'OFF') => db.run(`SET GLOBAL event_scheduler = ${state}`)

  t.equal(await hasLivingEvent(), true, 'as migrate made it')
  await scheduler('OFF')
  t.equal(await hasLivingEvent(), false, 'the scheduler is off')
  const [warning = ''] = (await migrateDatabase(config)).warnings
  t.match(warning, 'event_scheduler is off')
  t.match(warning, 'SET GLOBAL event_scheduler = ON;')
  await db.run(/SET .*;/.exec(warning)?.[0] ?? '')
  t.equal(await hasLivingEvent(), true, 'what the warning says helps')
  t.same((await migrateDatabase(config)).warnings, [])
  await db.run('ALTER EVENT cleanup_expired_sessions DISABLE')
  t.equal(await hasLivingEvent(), false, 'disabled')
  await migrateDatabase(config)
  t.equal(await hasLivingEvent(), true, 'migrate puts it back')
  await db.run('DROP EVENT cleanup_expired_sessions')
  t.equal(await hasLivingEvent(), false, 'dropped')
  if (/mariadb/i.test(server.version)) await standsStill(t, config)
})

/** An EVENT of a cluster whose node died is there, is enabled, and does not run. */
async function standsStill(t: Test, config: Config): Promise<void> {
  const db = await openDatabase(config)
  const operator = await createConnection(config.databaseUrl ?? '')
  const lastRun = (silence: string) =>
    operator.query(`UPDATE mysql.event SET created = NOW() - INTERVAL 1 DAY,
      last_executed = UTC_TIMESTAMP() - INTERVAL ${silence} WHERE name = 'cleanup_expired_sessions'`)
  for (const zone of ['+07:00', '-05:00', '+00:00']) {
    await operator.query('SET time_zone = ?', [zone])
    await operator.query('DROP EVENT IF EXISTS cleanup_expired_sessions')
    await operator.query(
      cleanupEventSql().replace('EVERY 1 MINUTE', 'EVERY 1 MINUTE STARTS NOW() + INTERVAL 1 HOUR'),
    )
    await lastRun('10 MINUTE')
    t.equal(await sessionKeyStore(db).hasLivingEvent(), false, `silent for ten minutes, made at ${zone}`)
  }
  await lastRun('61 SECOND')
  t.equal(await sessionKeyStore(db).hasLivingEvent(), true, 'it ran a minute ago')
  operator.destroy()
  await db.close()
}

t.test(
  'MariaDB: a login that may make no EVENT is told what to ask for, and the server does without',
  async (t) => {
    const server = await sharedMariadb()
    const url = new URL(await server.createDatabase('limited'))
    const database = url.pathname.slice(1)
    const user = `u${database.slice(-12)}`
    const root = await createConnection(server.rootUrl())
    t.teardown(async () => {
      await root.query(`DROP USER ${user}@'%'`)
      root.destroy()
    })
    await root.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret'`)
    await root.query(
      `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX ON \`${database}\`.* TO ${user}@'%'`,
    )
    url.username = user
    url.password = 'secret'
    const config = freshConfig(t, { DATABASE_URL: url.href })
    const { applied, warnings } = await migrateDatabase(config)
    t.ok(applied.length > 5, 'everything else is done')
    t.match(warnings, [/EVENT cleanup_expired_sessions could not be made.*GRANT EVENT/s])
    t.notMatch(warnings[0], 'secret')
    const app = await start(t, config)
    t.equal(await app.cleanup.hasLivingEvent(), false)
    const db = await openDatabase(config)
    t.teardown(() => db.close())
    await write(db, 'dead', expired(3))
    t.equal(await app.cleanup.run(), 3)

    await root.query(`GRANT EVENT ON \`${database}\`.* TO ${user}@'%'`)
    t.same((await migrateDatabase(config)).warnings, [], 'what the warning says helps')
    const later = await start(t, config)
    t.equal(await later.cleanup.hasLivingEvent(), true)
  },
)
