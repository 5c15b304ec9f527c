import { existsSync } from 'node:fs'
import t, { type Test } from 'tap'
import { createApp, databaseStatus, migrateDatabase, openDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { SetupError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import type { Database, Row, Session } from '../../src/store/engine/database.ts'
import { requireWholeSchema } from '../../src/store/engine/migrations.ts'
import { actualColumns, expectedTables, hasIndex, migrationsFor } from '../../src/store/engine/schema.ts'
import { DATABASES } from '../support/databases.ts'
import { runKunci } from '../support/server.ts'

type Teardown = Pick<Test, 'teardown'>

const PORTS = { logger: createLogger('silent') }

async function open(t: Teardown, config: Config): Promise<Database> {
  const db = await openDatabase(config)
  t.teardown(() => db.close())
  return db
}

async function start(config: Config): Promise<void> {
  const app = await createApp(config, PORTS)
  await app.close()
}

/** What a `SetupError` says; anything else is thrown on. */
async function refusalOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (error instanceof SetupError) return error.message
    throw error
  }
  return 'it was not refused'
}

/** Every table with its columns, in the order of the alphabet. */
async function tablesOf(db: Database): Promise<Record<string, string[]>> {
  const tables = [...(await actualColumns(db, db.dialect))]
  const sorted = tables.map(([name, columns]) => [name, [...columns].sort()] as const)
  return Object.fromEntries(
    sorted.filter(([name]) => !name.startsWith('sqlite_')).sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}

function ourTables(dialect: Database['dialect']): Record<string, string[]> {
  const tables = expectedTables(dialect).map(
    ({ name, columns }) => [name, columns.map((column) => column.name).sort()] as const,
  )
  return Object.fromEntries(tables.sort(([a], [b]) => (a < b ? -1 : 1)))
}

const appliedRows = (db: Session) =>
  db.all<{ name: string; finished_at_ms: number | null }>(
    'SELECT name, finished_at_ms FROM kunci_migrations ORDER BY name',
  )

for (const { name, freshConfig } of DATABASES)
  t.test(`on ${name}`, async (t) => {
    const migrated = async (t: Teardown) => {
      const config = await freshConfig(t)
      await migrateDatabase(config)
      return { config, db: await open(t, config) }
    }

    t.test('the first migrate applies everything, the second nothing', async (t) => {
      const config = await freshConfig(t)
      const db = await open(t, config)
      const names = migrationsFor(db.dialect).map((migration) => migration.name)
      const first = await migrateDatabase(config)
      t.same(first.applied, names)
      t.same(first.warnings, [])
      t.equal(first.createdKeys.length, 8)
      t.same(await tablesOf(db), ourTables(db.dialect), 'the tables that the files describe, and no other')
      const rows = await appliedRows(db)
      t.ok(rows.every(({ finished_at_ms }) => Number(finished_at_ms) > 0))
      const second = await migrateDatabase(config)
      t.same(second, { applied: [], createdKeys: [], warnings: [] })
      t.same(await appliedRows(db), rows)
      const { migrations, damage } = await databaseStatus(config)
      t.same(
        migrations,
        names.map((name) => ({ name, state: 'applied' })),
      )
      t.same(damage, [])
    })

    t.test('several that start at once migrate once, and all find it done', async (t) => {
      const config = await freshConfig(t)
      const results = await Promise.all(Array.from({ length: 4 }, () => migrateDatabase(config)))
      const applied = results.flatMap((result) => result.applied).sort()
      const db = await open(t, config)
      t.same(
        applied,
        migrationsFor(db.dialect).map((migration) => migration.name),
      )
      const again = await Promise.all(Array.from({ length: 8 }, () => migrateDatabase(config)))
      t.same(
        [...results, ...again].flatMap(({ warnings }) => warnings),
        [],
        'nor does one spoil the EVENT of another',
      )
      await start(config)
    })

    t.test('processes that start at once migrate once', async (t) => {
      const config = await freshConfig(t)
      const env = { DATA_DIR: config.dataDir, DATABASE_URL: config.databaseUrl ?? '' }
      const runs = await Promise.all(Array.from({ length: 3 }, () => runKunci(['migrate', '--json'], env)))
      for (const { code, stderr } of runs) t.equal(code, 0, stderr)
      const applied = runs.flatMap(({ stdout }) => JSON.parse(stdout).applied).sort()
      const db = await open(t, config)
      t.same(
        applied,
        migrationsFor(db.dialect).map((migration) => migration.name),
      )
      await start(config)
    })

    t.test('a database whose migrations are not ours is left alone', async (t) => {
      const { config, db } = await migrated(t)
      await db.run('UPDATE kunci_migrations SET checksum = ? WHERE name = ?', [
        '0'.repeat(64),
        '0004_products',
      ])
      await db.run('DROP TABLE kunci_blocks')
      for (const work of [migrateDatabase, start]) {
        const refusal = await refusalOf(work(config))
        t.match(refusal, '0004_products: changed')
        t.match(refusal, 'another version of Kunci')
      }
      await db.run('DELETE FROM kunci_migrations WHERE name = ?', ['0004_products'])
      t.notOk((await tablesOf(db)).kunci_blocks, 'nothing was created')
    })

    t.test('a database of a newer version is left alone', async (t) => {
      const { config, db } = await migrated(t)
      await db.run('INSERT INTO kunci_migrations (name, checksum, started_at_ms) VALUES (?, ?, ?)', [
        '9999_from_the_future',
        'f'.repeat(64),
        1,
      ])
      await db.run('DROP TABLE kunci_blocks')
      for (const work of [migrateDatabase, start]) {
        const refusal = await refusalOf(work(config))
        t.match(refusal, '9999_from_the_future: unknown')
        t.match(refusal, 'another version of Kunci')
      }
      t.notOk((await tablesOf(db)).kunci_blocks, 'nothing was created')
    })

    const foreign = ['kunci_licences', 'kunci_migrations', 'kunci_blocks', 'session_keys']
    for (const table of foreign)
      t.test(`somebody else's table named ${table} stops migrate before its first statement`, async (t) => {
        const config = await freshConfig(t)
        const db = await open(t, config)
        await db.run(`CREATE TABLE ${table} (id INT, mine VARCHAR(20))`)
        await db.run('CREATE TABLE their_own (id INT)')
        await db.run(`INSERT INTO ${table} (id, mine) VALUES (?, ?)`, [1, 'precious'])
        const before = await tablesOf(db)
        const refusal = await refusalOf(migrateDatabase(config))
        t.match(refusal, new RegExp(`a table named ${table} that Kunci did not make`))
        t.same(await tablesOf(db), before, 'nothing was created')
        t.same(await db.all(`SELECT id, mine FROM ${table}`), [{ id: 1, mine: 'precious' }])
        const remedy = /ALTER TABLE .*?(?=;)/.exec(refusal)?.[0] ?? ''
        await db.run(remedy)
        await migrateDatabase(config)
        t.same(await db.all(`SELECT id, mine FROM old_${table}`), [{ id: 1, mine: 'precious' }])
        t.same(await tablesOf(db), {
          ...before,
          [`old_${table}`]: ['id', 'mine'],
          ...ourTables(db.dialect),
        })
      })

    t.test('all foreign tables are named at once, a view among them', async (t) => {
      const config = await freshConfig(t)
      const db = await open(t, config)
      await db.run('CREATE TABLE kunci_tokens (mine INT)')
      await db.run('CREATE VIEW kunci_events AS SELECT mine FROM kunci_tokens')
      const refusal = await refusalOf(migrateDatabase(config))
      t.match(refusal, 'kunci_tokens')
      t.match(refusal, 'kunci_events')
      t.same(Object.keys(await tablesOf(db)), ['kunci_events', 'kunci_tokens'])
    })

    t.test('a migration that was cut off half-way is finished by running it again', async (t) => {
      const { config, db } = await migrated(t)
      await db.run('INSERT INTO kunci_settings (name, value, updated_at_ms) VALUES (?, ?, ?)', [
        'kept',
        'yes',
        1,
      ])
      await db.run(`DROP INDEX kunci_events_support_code${db.dialect === 'mysql' ? ' ON kunci_events' : ''}`)
      await db.run('UPDATE kunci_migrations SET finished_at_ms = NULL WHERE name = ?', ['0007_events'])
      const later = expectedTables(db.dialect).filter(({ migration }) => migration > '0007_events')
      for (const { name: table } of later) await db.run(`DROP TABLE ${table}`)
      await db.run('DELETE FROM kunci_migrations WHERE name > ?', ['0007_events'])

      const status = await databaseStatus(config)
      const names = migrationsFor(db.dialect).map((migration) => migration.name)
      const left = names.slice(names.indexOf('0007_events'))
      t.same(
        status.migrations.filter(({ state }) => state !== 'applied'),
        left.map((name, i) => ({ name, state: i === 0 ? 'unfinished' : 'pending' })),
      )
      t.throws(() => requireWholeSchema(status), /0007_events: unfinished.*kunci migrate/s)
      const { applied } = await migrateDatabase(config)
      t.same(applied, left)
      t.ok(await hasIndex(db, db.dialect, 'kunci_events', 'kunci_events_type'))
      t.ok(await hasIndex(db, db.dialect, 'kunci_events', 'kunci_events_support_code'))
      t.same(await tablesOf(db), ourTables(db.dialect))
      t.same(await db.all('SELECT value FROM kunci_settings WHERE name = ?', ['kept']), [{ value: 'yes' }])
      requireWholeSchema(await databaseStatus(config))
    })

    t.test('a first run that was cut off after its first table goes on', async (t) => {
      const config = await freshConfig(t)
      const db = await open(t, config)
      const [first] = migrationsFor(db.dialect)
      for (const statement of first?.statements ?? []) await db.run(statement)
      t.equal((await migrateDatabase(config)).applied.length, migrationsFor(db.dialect).length)
      await start(config)
    })

    t.test('a table that was dropped is named, and migrate makes it anew', async (t) => {
      const { config, db } = await migrated(t)
      await db.run('DROP TABLE kunci_events')
      await db.run('DROP TABLE session_keys')
      const status = await databaseStatus(config)
      t.throws(
        () => requireWholeSchema(status),
        /session_keys is missing.*kunci_events is missing.*kunci migrate/s,
      )
      const again = db.dialect === 'mysql' ? ['0012_event_details'] : []
      t.same((await migrateDatabase(config)).applied, ['0001_session_keys', '0007_events', ...again])
      t.same(await tablesOf(db), ourTables(db.dialect))
      t.ok(await hasIndex(db, db.dialect, 'kunci_events', 'kunci_events_type'))
      t.same((await migrateDatabase(config)).applied, [])
      await start(config)
    })

    t.test(
      'a file that adds columns and was cut off between them is finished by running it again',
      async (t) => {
        const { config, db } = await migrated(t)
        await db.run('ALTER TABLE kunci_products DROP COLUMN at_seat_limit')
        await db.run('UPDATE kunci_migrations SET finished_at_ms = NULL WHERE name = ?', ['0016_seats'])
        t.same((await databaseStatus(config)).damage, [], 'what has yet to come is not missing')
        t.same((await migrateDatabase(config)).applied, ['0016_seats'])
        t.same(await tablesOf(db), ourTables(db.dialect))
        await start(config)
      },
    )

    t.test('a database from before a column was added is behind, and not damaged', async (t) => {
      const { config, db } = await migrated(t)
      await db.run('ALTER TABLE kunci_licences DROP COLUMN seats')
      await db.run('ALTER TABLE kunci_products DROP COLUMN at_seat_limit')
      await db.run('DROP TABLE kunci_seats')
      await db.run('DELETE FROM kunci_migrations WHERE name = ?', ['0016_seats'])
      const { migrations, damage } = await databaseStatus(config)
      t.same(damage, [])
      t.match(
        migrations.find(({ state }) => state !== 'applied'),
        { name: '0016_seats', state: 'pending' },
      )
      t.same((await migrateDatabase(config)).applied, ['0016_seats'])
      t.same(await tablesOf(db), ourTables(db.dialect))
    })

    t.test(
      'the loss of a column that was added later is named, and the SQL that is printed mends it',
      async (t) => {
        const { config, db } = await migrated(t)
        await db.run('ALTER TABLE kunci_licences DROP COLUMN seats')
        await db.run('ALTER TABLE kunci_products DROP COLUMN at_seat_limit')
        const { damage } = await databaseStatus(config)
        t.same(
          damage.map(({ what, remedy }) => [what, remedy.kind]),
          [
            ['kunci_products.at_seat_limit is missing', 'sql'],
            ['kunci_licences.seats is missing', 'sql'],
          ],
        )
        for (const { remedy } of damage) await db.run(remedy.text)
        requireWholeSchema(await databaseStatus(config))
        await start(config)
      },
    )

    t.test('a table that is made anew has the columns that later files added', async (t) => {
      const { config, db } = await migrated(t)
      await db.run('DROP TABLE kunci_licences')
      t.same((await migrateDatabase(config)).applied, ['0005_licences', '0016_seats'])
      t.same(await tablesOf(db), ourTables(db.dialect))
      await start(config)
    })

    t.test('a column that was dropped stops the start, and is named', async (t) => {
      const { config, db } = await migrated(t)
      await db.run('ALTER TABLE kunci_events DROP COLUMN actor')
      await db.run('ALTER TABLE session_keys DROP COLUMN client_ip')
      const refusal = await refusalOf(start(config))
      t.match(refusal, 'kunci_events.actor is missing')
      t.match(refusal, 'session_keys.client_ip is missing')
    })
  })

t.test('the two databases have the same tables and columns', async (t) => {
  t.same(ourTables('mysql'), ourTables('sqlite'))
})

t.test('SQLite migrates by itself at its first start', async (t) => {
  const config = await DATABASES[0]!.freshConfig(t)
  await start(config)
  t.same(await tablesOf(await open(t, config)), ourTables('sqlite'))
})

t.test('MariaDB must be migrated first: a start says so, and makes neither tables nor keys', async (t) => {
  const config = await DATABASES[1]!.freshConfig(t)
  t.match(await refusalOf(start(config)), /0001_session_keys: pending.*Run: kunci migrate/s)
  t.same(await tablesOf(await open(t, config)), {})
  t.notOk(existsSync(config.keysDir))
})

const SHAPE = `SELECT column_type AS type, is_nullable AS nullable, column_default AS fallback, extra AS extra,
  collation_name AS collation, REPLACE(column_key, 'MUL', '') AS keyed
  FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?`

t.test('MariaDB: the SQL that is printed for a dropped column puts it back as it was', async (t) => {
  const config = await DATABASES[1]!.freshConfig(t)
  await migrateDatabase(config)
  const db = await open(t, config)
  // A row that lost its key can have none that is its own.
  await db.run('DELETE FROM kunci_settings')
  const keptBySeveral: string[] = []
  for (const { name: table, columns } of expectedTables('mysql').slice(1))
    for (const { name: column } of columns) {
      const [before] = await db.all<Row>(SHAPE, [table, column])
      try {
        await db.run(`ALTER TABLE ${table} DROP COLUMN ${column}`)
      } catch {
        keptBySeveral.push(`${table}.${column}`)
        continue
      }
      const status = await databaseStatus(config)
      const remedy = status.damage[0]?.remedy.text ?? ''
      t.throws(
        () => requireWholeSchema(status),
        new RegExp(`${table}.${column} is missing: run this SQL: ALTER`),
      )
      await db.run(remedy)
      t.same((await db.all<Row>(SHAPE, [table, column]))[0], before, remedy)
    }
  const ofSeveral = expectedTables('mysql').flatMap(({ name, uniqueKeys }) =>
    uniqueKeys
      .filter((key) => key.includes(', '))
      .flatMap((key) => key.split(', ').map((column) => `${name}.${column}`)),
  )
  t.same(keptBySeveral, [...new Set(ofSeveral)], 'only columns of a key of several cannot go')
  requireWholeSchema(await databaseStatus(config))
  await start(config)
})

t.test(
  'MariaDB: a unique key that was dropped stops the start, and the SQL that is printed puts it back',
  async (t) => {
    const config = await DATABASES[1]!.freshConfig(t)
    await migrateDatabase(config)
    const db = await open(t, config)
    for (const [table, index, columns] of [
      ['kunci_devices', 'licence_id', 'licence_id, slot_no'],
      ['kunci_licences', 'key_hash', 'key_hash'],
      ['session_keys', 'session_id', 'session_id'],
    ]) {
      await db.run(`ALTER TABLE ${table} DROP INDEX ${index}`)
      const refusal = await refusalOf(start(config))
      t.match(refusal, `${table} has lost its unique key`)
      const [remedy = ''] = /ALTER TABLE .*?(?=;)/.exec(refusal) ?? []
      t.equal(remedy, `ALTER TABLE ${table} ADD UNIQUE (${columns})`)
      await db.run(remedy)
      t.same((await databaseStatus(config)).damage, [])
    }
  },
)
