import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { Database, Reader, Value } from './database.ts'

const SQL_DIRECTORY = new URL('../../../sql/', import.meta.url)
const MIGRATION_FILE = /^(\d{4}_[a-z_]+)(?:\.(mysql|sqlite))?\.sql$/
const STATEMENT_END = /;\s*\n/
const COMMENT_LINE = /^--.*$/gm
const CREATE_TABLE = /^CREATE TABLE IF NOT EXISTS (\w+)/
const COLUMN_LINE = /^ {2}([a-z]\w*) (.+?),?$/gm
/** A key of one column: it goes when its column goes. */
const KEY_LINE = /^ {2}((?:PRIMARY|UNIQUE|KEY)\b.*\((\w+)\)),?$/gm

/** What decides races: a lost one would let two take what only one may have. */
const UNIQUE_LINE = /^ {2}(?:PRIMARY KEY|UNIQUE(?: KEY \w+)?) \(([^)]+)\),?$/gm

const MODIFY = /^ALTER TABLE (\w+) MODIFY (\w+) (.+)$/
const ADD_COLUMN = /^ALTER TABLE (\w+) ADD COLUMN (\w+) (.+)$/
const TOUCHED_TABLE = /^(?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) (\w+)/

const INDEX_LINE = /^ {2}KEY (\w+) \(([^)]+)\),?$/gm
const CREATE_INDEX = /^CREATE INDEX (\w+) ON (\w+) \(([^)]+)\)/

export type Migration = {
  readonly name: string
  readonly checksum: string
  readonly statements: readonly string[]
}

/** `columns` as in `licence_id, id`. */
export type Index = { readonly name: string; readonly columns: string }
export type Column = {
  readonly name: string
  readonly definition: string
  readonly keys: readonly string[]
  /** The file that added it to a table of an earlier one. */
  readonly addedBy?: string
}
export type Table = {
  readonly name: string
  readonly migration: string
  readonly columns: readonly Column[]
  /** The columns of each unique key, `licence_id, slot_no`. */
  readonly uniqueKeys: readonly string[]
  /** Those that only make look-ups quick. */
  readonly indexes: readonly Index[]
}

function readSql(file: string): string {
  return readFileSync(new URL(file, SQL_DIRECTORY), 'utf8')
}

/** The EVENT that cleans up on MySQL and MariaDB, as one compound statement. */
export function cleanupEventSql(): string {
  return readSql('event_cleanup_expired_sessions.mysql.sql').replace(COMMENT_LINE, '').trim()
}

/** The numbered files for one database, in order. */
export function migrationsFor(dialect: Database['dialect']): Migration[] {
  return readdirSync(SQL_DIRECTORY)
    .sort()
    .flatMap((file) => {
      const [, name, only] = MIGRATION_FILE.exec(file) ?? []
      if (name === undefined || (only !== undefined && only !== dialect)) return []
      const text = readSql(file)
      const statements = text
        .replace(COMMENT_LINE, '')
        .split(STATEMENT_END)
        .map((statement) => statement.trim().replace(/;$/, ''))
        .filter((statement) => statement !== '')
      return { name, checksum: createHash('sha256').update(text).digest('hex'), statements }
    })
}

function indexesOf(table: string, create: string, statements: readonly string[]): Index[] {
  const within = [...create.matchAll(INDEX_LINE)].map(([, name = '', columns = '']) => ({ name, columns }))
  const apart = statements.flatMap((statement) => {
    const [, name = '', on, columns = ''] = CREATE_INDEX.exec(statement) ?? []
    return on === table ? [{ name, columns }] : []
  })
  return [...within, ...apart]
}

/** The definitions that later files gave to columns, by `table.column`. */
function laterDefinitions(migrations: readonly Migration[]): ReadonlyMap<string, string> {
  const found = migrations
    .flatMap(({ statements }) => statements)
    .flatMap((statement) => {
      const [, table, column, definition] = MODIFY.exec(statement) ?? []
      return definition === undefined ? [] : [[`${table}.${column}`, definition] as const]
    })
  return new Map(found)
}

/** The tables that a file makes or changes. */
export function touchedTables({ statements }: Migration): string[] {
  return statements.flatMap((statement) => TOUCHED_TABLE.exec(statement)?.[1] ?? [])
}

/** What a statement adds to a table of an earlier file; `null` for any other statement. */
export function columnAddedBy(
  statement: string,
): { readonly table: string; readonly name: string; readonly definition: string } | null {
  const [, table, name, definition] = ADD_COLUMN.exec(statement) ?? []
  return table && name && definition ? { table, name, definition } : null
}

function laterColumns(migrations: readonly Migration[], ofTable: string): Column[] {
  return migrations.flatMap(({ name: addedBy, statements }) =>
    statements.flatMap((statement) => {
      const added = columnAddedBy(statement)
      if (added?.table !== ofTable) return []
      return [{ name: added.name, definition: added.definition, keys: [], addedBy }]
    }),
  )
}

/** The tables as the files make them. There each column and each key stands on a line of its own. */
export function expectedTables(dialect: Database['dialect']): Table[] {
  const migrations = migrationsFor(dialect)
  const later = laterDefinitions(migrations)
  return migrations.flatMap(({ name: migration, statements }) =>
    statements.flatMap((statement) => {
      const [, name] = CREATE_TABLE.exec(statement) ?? []
      if (name === undefined) return []
      const keys = [...statement.matchAll(KEY_LINE)].map(([, key = '', column = '']) => ({ key, column }))
      const first = [...statement.matchAll(COLUMN_LINE)].map(([, column = '', definition = '']) => ({
        name: column,
        definition,
        keys: keys.filter((key) => key.column === column).map(({ key }) => key),
      }))
      const columns = [...first, ...laterColumns(migrations, name)].map((column) => ({
        ...column,
        definition: later.get(`${name}.${column.name}`) ?? column.definition,
      }))
      const uniqueKeys = [...statement.matchAll(UNIQUE_LINE)].map(([, key = '']) => key)
      return [{ name, migration, columns, uniqueKeys, indexes: indexesOf(name, statement, statements) }]
    }),
  )
}

/** The columns that each table of this database has now; a table that is not there has none. */
export async function actualColumns(
  db: Reader,
  dialect: Database['dialect'],
): Promise<Map<string, Set<string>>> {
  const rows = await db.all<{ table_name: string; column_name: string }>(
    dialect === 'mysql'
      ? `SELECT table_name AS table_name, column_name AS column_name FROM information_schema.columns
         WHERE table_schema = DATABASE()`
      : `SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master m, pragma_table_info(m.name) c
         WHERE m.type IN ('table', 'view')`,
  )
  const tables = new Map<string, Set<string>>()
  for (const { table_name, column_name } of rows) {
    const columns = tables.get(table_name) ?? new Set()
    tables.set(table_name, columns.add(column_name))
  }
  return tables
}

/** The columns of every unique key of MySQL's tables, `table: a, b`. SQLite's cannot be taken away from a table. */
export async function actualUniqueKeys(db: Reader): Promise<Set<string>> {
  const rows = await db.all<{ table_name: string; unique_key: string }>(
    `SELECT table_name AS table_name, GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') AS unique_key
     FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0
     GROUP BY table_name, index_name`,
  )
  return new Set(rows.map(({ table_name, unique_key }) => `${table_name}: ${unique_key}`))
}

export async function hasIndex(
  db: Reader,
  dialect: Database['dialect'],
  table: string,
  index: string,
): Promise<boolean> {
  const params: Value[] = [table, index]
  const rows = await db.all(
    dialect === 'mysql'
      ? `SELECT 1 FROM information_schema.statistics
         WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ? LIMIT 1`
      : `SELECT 1 FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND name = ?`,
    params,
  )
  return rows.length > 0
}
