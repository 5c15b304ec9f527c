import type { Clock } from '../../clock.ts'
import { SetupError } from '../../errors.ts'
import { advice, command, type Remedy, sql } from '../../remedy.ts'
import type { Database, Reader, Session } from './database.ts'
import {
  actualColumns,
  actualUniqueKeys,
  type Column,
  columnAddedBy,
  expectedTables,
  hasIndex,
  type Migration,
  migrationsFor,
  type Table,
  touchedTables,
} from './schema.ts'

type Applied = { name: string; checksum: string; finished_at_ms: number | null }

export type MigrationState = {
  readonly name: string
  readonly state: 'applied' | 'pending' | 'unfinished' | 'changed' | 'unknown'
}

/** Something wrong with a table that was made, such as `kunci_events.actor is missing`, and what mends it. */
export type Damage = { readonly table: string; readonly what: string; readonly remedy: Remedy }

export type SchemaStatus = {
  readonly migrations: readonly MigrationState[]
  /** What is wrong with the tables of applied migrations. */
  readonly damage: readonly Damage[]
}

/** Work that a migration needs beyond its file: it runs after the file's statements and must bear being run twice. */
export type MigrationWork = Readonly<Record<string, (session: Session) => Promise<void>>>

const BOOTSTRAP = '0000_migrations'
const CONTRACT_TABLES = new Set(['session_keys'])

async function readApplied(
  session: Reader,
  tables: ReadonlyMap<string, unknown>,
): Promise<Map<string, Applied>> {
  if (!tables.has('kunci_migrations')) return new Map()
  const rows = await session.all<Applied>('SELECT name, checksum, finished_at_ms FROM kunci_migrations')
  return new Map(rows.map((row) => [row.name, row]))
}

function stateOf(migration: Migration, applied: Applied | undefined): MigrationState['state'] {
  if (applied === undefined) return 'pending'
  if (applied.finished_at_ms === null) return 'unfinished'
  return applied.checksum === migration.checksum ? 'applied' : 'changed'
}

/** SQLite takes a column back where a file of ours could add it, and no other. */
function remedyFor(table: Table, { name, definition, keys, addedBy }: Column, dialect: Database['dialect']) {
  if (dialect === 'sqlite' && addedBy === undefined) return advice('restore kunci.db from a backup')
  const additions = [`${name} ${definition}`, ...keys].map((addition) => `ADD ${addition}`)
  return sql(`ALTER TABLE ${table.name} ${additions.join(', ')};`)
}

/** @param isFinished whether a file is applied: the columns of one that is still to come are not missing. */
function missingColumns(
  table: Table,
  columns: ReadonlySet<string>,
  dialect: Database['dialect'],
  isFinished: (migration: string) => boolean,
): Damage[] {
  return table.columns
    .filter(({ name, addedBy }) => !columns.has(name) && (addedBy === undefined || isFinished(addedBy)))
    .map((column) => ({
      table: table.name,
      what: `${table.name}.${column.name} is missing`,
      remedy: remedyFor(table, column, dialect),
    }))
}

/** Of columns that are there; those of a missing one come back with it. */
function missingUniqueKeys(
  { name, uniqueKeys }: Table,
  columns: ReadonlySet<string>,
  actual: ReadonlySet<string> | null,
): Damage[] {
  return uniqueKeys
    .filter((key) => key.split(', ').every((column) => columns.has(column)))
    .filter((key) => actual !== null && !actual.has(`${name}: ${key}`))
    .map((key) => ({
      table: name,
      what: `${name} has lost its unique key (${key})`,
      remedy: sql(`ALTER TABLE ${name} ADD UNIQUE (${key});`),
    }))
}

/** Reads how far this database is, and whether the tables of what was applied are still whole. Changes nothing. */
export async function schemaStatus(session: Reader, dialect: Database['dialect']): Promise<SchemaStatus> {
  const actual = await actualColumns(session, dialect)
  const applied = await readApplied(session, actual)
  const uniqueKeys = dialect === 'mysql' ? await actualUniqueKeys(session) : null
  const known = migrationsFor(dialect)
  const migrations: MigrationState[] = known.map((migration) => ({
    name: migration.name,
    state: stateOf(migration, applied.get(migration.name)),
  }))
  for (const name of applied.keys())
    if (!known.some((migration) => migration.name === name)) migrations.push({ name, state: 'unknown' })
  const isFinished = (name: string) => typeof applied.get(name)?.finished_at_ms === 'number'
  const damage = expectedTables(dialect).flatMap((table) => {
    const columns = actual.get(table.name)
    if (!applied.has(table.migration)) return []
    if (columns === undefined)
      return [
        {
          table: table.name,
          what: `table ${table.name} is missing; a new one will be empty`,
          remedy: command('kunci migrate'),
        },
      ]
    return [
      ...missingColumns(table, columns, dialect, isFinished),
      ...missingUniqueKeys(table, columns, uniqueKeys),
    ]
  })
  return { migrations, damage }
}

/** The status of a database that does not exist yet. */
export function untouchedStatus(dialect: Database['dialect']): SchemaStatus {
  return { migrations: migrationsFor(dialect).map(({ name }) => ({ name, state: 'pending' })), damage: [] }
}

export function isWhole({ migrations, damage }: SchemaStatus): boolean {
  return damage.length === 0 && migrations.every(({ state }) => state === 'applied')
}

/** A sentence: what is wrong, and what mends it. */
export function damageText({ what, remedy: { kind, text } }: Damage): string {
  return `${what}: ${kind === 'sql' ? 'run this SQL: ' : kind === 'command' ? 'run: ' : ''}${text}`
}

/** @throws {SetupError} unless every migration is applied and every table whole; the message names the command. */
export function requireWholeSchema(status: SchemaStatus): void {
  if (isWhole(status)) return
  const { migrations, damage } = status
  const behind = migrations.filter(({ state }) => state !== 'applied')
  const lines = [...behind.map(({ name, state }) => `${name}: ${state}`), ...damage.map(damageText)]
  const newer = behind.some(({ state }) => state === 'unknown' || state === 'changed')
  const mend = newer
    ? 'It was migrated by another version of Kunci. Run that version, or restore the backup that fits this one.'
    : `${damage.some(({ remedy }) => remedy.kind === 'sql') ? 'Run the statements above. ' : ''}Run: kunci migrate`
  throw new SetupError(
    `The database is not as this version needs it:\n${lines.map((line) => `  ${line}`).join('\n')}\n${mend}`,
  )
}

/** A table under one of our names that we did not make stops everything before the first statement. */
async function refuseForeignTables(session: Session, dialect: Database['dialect']): Promise<void> {
  const actual = await actualColumns(session, dialect)
  const own = expectedTables(dialect)
  const bootstrap = own.find(({ migration }) => migration === BOOTSTRAP)
  const isOurs = (table: (typeof own)[number]) =>
    table.columns.every(({ name }) => actual.get(table.name)?.has(name) ?? true)
  const applied =
    bootstrap !== undefined && isOurs(bootstrap) ? await readApplied(session, actual) : new Map()
  const foreign = own.filter((table) => {
    if (!actual.has(table.name)) return false
    const adoptable = table.migration === BOOTSTRAP || CONTRACT_TABLES.has(table.name)
    return !applied.has(table.migration) && !(adoptable && isOurs(table))
  })
  if (foreign.length === 0) return
  const names = foreign.map(({ name }) => name)
  throw new SetupError(
    `There is already a table named ${names.join(', ')} that Kunci did not make. Nothing was changed.\n` +
      `If you still need it, give it another name and run "kunci migrate" again:\n${names
        .map((name) => `  ALTER TABLE ${name} RENAME TO old_${name};`)
        .join('\n')}`,
  )
}

async function runFile(
  session: Session,
  dialect: Database['dialect'],
  { statements }: Migration,
): Promise<void> {
  for (const statement of statements) {
    const [, index = '', table = ''] = /^CREATE INDEX (\w+) ON (\w+)/.exec(statement) ?? []
    if (index !== '' && (await hasIndex(session, dialect, table, index))) continue
    const added = columnAddedBy(statement)
    if (added !== null && (await actualColumns(session, dialect)).get(added.table)?.has(added.name)) continue
    await session.run(statement)
  }
}

async function apply(
  session: Session,
  dialect: Database['dialect'],
  migration: Migration,
  { clock, work, known }: { clock: Clock; work: MigrationWork; known: boolean },
): Promise<void> {
  // Noted before the first statement: tables of a migration that was cut off are then known to be ours.
  if (!known && migration.name !== BOOTSTRAP) await noteStart(session, migration, clock)
  await runFile(session, dialect, migration)
  await work[migration.name]?.(session)
  if (!known && migration.name === BOOTSTRAP) await noteStart(session, migration, clock)
  await session.run('UPDATE kunci_migrations SET finished_at_ms = ? WHERE name = ?', [
    clock(),
    migration.name,
  ])
}

async function noteStart(session: Session, { name, checksum }: Migration, clock: Clock): Promise<void> {
  await session.run('INSERT INTO kunci_migrations (name, checksum, started_at_ms) VALUES (?, ?, ?)', [
    name,
    checksum,
    clock(),
  ])
}

/**
 * Brings the tables up to date: applies what is pending or unfinished, and creates anew what is missing. Two processes
 * that start at once take turns, and the second finds nothing to do.
 * @returns the names of the migrations that were run.
 * @throws {SetupError} when a foreign table is in the way, or when the database is of another version.
 */
export async function migrate(db: Database, work: MigrationWork): Promise<string[]> {
  return db.exclusively(async (session) => {
    await refuseForeignTables(session, db.dialect)
    const status = await schemaStatus(session, db.dialect)
    const foreign = status.migrations.filter(({ state }) => state === 'unknown' || state === 'changed')
    if (foreign.length > 0) requireWholeSchema(status)
    const actual = await actualColumns(session, db.dialect)
    const done: string[] = []
    for (const migration of migrationsFor(db.dialect)) {
      const state = status.migrations.find(({ name }) => name === migration.name)?.state
      // A table that is made anew goes through all that later files did to it.
      const isThere = touchedTables(migration).every((table) => actual.has(table))
      if (state === 'applied' && isThere) continue
      await apply(session, db.dialect, migration, { clock: db.clock, work, known: state !== 'pending' })
      done.push(migration.name)
    }
    return done
  })
}
