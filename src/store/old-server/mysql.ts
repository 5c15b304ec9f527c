import { AppError } from '../../errors.ts'
import { MysqlSource, type SourceCell } from '../engine/mysql-source.ts'
import {
  CUSTOMER_COLUMNS,
  type OldRow,
  type OldServer,
  type OldTable,
  OPTIONAL_COLUMNS,
  SESSION_KEY_COLUMNS,
  type TimeKind,
} from './old-server.ts'

const CUSTOMERS = 'user_jce'
const SESSION_KEYS = 'session_keys'
const KUNCIS_OWN = 'kunci_migrations'
const LISTED_MAX = 50

/** Types by lower-case column name, by lower-case table name. */
type Tables = ReadonlyMap<string, ReadonlyMap<string, string>>

function unreadable(where: string, what: string, cause?: unknown): AppError {
  return new AppError('import_source', { detail: `${where}: ${what}`, cause })
}

/** Of an address all but the password. */
function whereIs(url: string): string {
  const { hostname, port, pathname, username } = new URL(url)
  return `the database ${pathname.slice(1)} on ${hostname}:${port || 3306}, as ${username || 'nobody'}`
}

async function tablesOf(source: MysqlSource): Promise<Tables> {
  const rows = await source.all(
    `SELECT table_name AS t, column_name AS c, data_type AS d FROM information_schema.columns
     WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position`,
  )
  const tables = new Map<string, Map<string, string>>()
  for (const [table, column, type] of rows) {
    const name = String(table).toLowerCase()
    const columns = tables.get(name) ?? new Map<string, string>()
    tables.set(name, columns.set(String(column).toLowerCase(), String(type).toLowerCase()))
  }
  return tables
}

function timeKindOf(type: string | undefined): TimeKind {
  if (type === 'timestamp') return 'instant'
  return type !== undefined && /int$/.test(type) ? 'unix' : 'local'
}

const KIND_TEXT: Readonly<Record<TimeKind, string>> = {
  instant: 'a TIMESTAMP, which is an instant: read as such, whatever the time zone',
  unix: 'a whole number: read as seconds since 1970',
  local: 'no TIMESTAMP: read as local time of the time zone above, unless a row names its offset',
}

function requireCustomers(where: string, tables: Tables): ReadonlyMap<string, string> {
  const listed = (names: Iterable<string>) => [...names].slice(0, LISTED_MAX).join(', ') || 'none'
  const columns = tables.get(CUSTOMERS)
  if (columns === undefined)
    throw unreadable(
      where,
      `there is no table ${CUSTOMERS}, or this login may not read it. Tables found: ${listed(tables.keys())}`,
    )
  const missing = CUSTOMER_COLUMNS.filter(
    (column) => !columns.has(column.toLowerCase()) && !OPTIONAL_COLUMNS.has(column),
  )
  if (missing.length > 0)
    throw unreadable(
      where,
      `the table ${CUSTOMERS} has no column ${missing.join(', ')}. Columns found: ${listed(columns.keys())}`,
    )
  return columns
}

/** By the primary key, so that a row has the same number at each reading. */
async function primaryKeyOf(source: MysqlSource, table: string): Promise<string[]> {
  const rows = await source.all(
    `SELECT column_name FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = '${table}' AND index_name = 'PRIMARY' ORDER BY seq_in_index`,
  )
  return rows.map(([column]) => String(column))
}

function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

function rowOf<C extends string>(
  row: number,
  columns: readonly C[],
  cells: readonly SourceCell[],
): OldRow<C> {
  const bad = columns.find((_, i) => cells[i] === undefined)
  if (bad !== undefined) return { row, fault: 'not_utf8', detail: `its ${bad} is not UTF-8` }
  const pairs = columns.map((column, i): [C, string | null] => [column, cells[i] ?? null])
  return { row, cells: Object.fromEntries(pairs) as Record<C, string | null> }
}

async function openTable<C extends string>(
  where: string,
  source: MysqlSource,
  { table, columns, types }: { table: string; columns: readonly C[]; types: ReadonlyMap<string, string> },
): Promise<{ reading: OldTable<C>; order: readonly string[] }> {
  const order = await primaryKeyOf(source, table)
  const selected = columns.map((column) => (types.has(column.toLowerCase()) ? quoted(column) : 'NULL'))
  const sorted = order.length === 0 ? '' : ` ORDER BY ${order.map(quoted).join(', ')}`
  const [[count] = []] = await source.all(`SELECT COUNT(*) FROM ${quoted(table)}`)
  let read = 0
  async function* rows(): AsyncGenerator<OldRow<C>> {
    try {
      for await (const cells of source.rows(`SELECT ${selected.join(', ')} FROM ${quoted(table)}${sorted}`))
        yield rowOf(++read, columns, cells)
    } catch (error) {
      const what = `the connection was lost after ${read} rows of ${table}: ${(error as Error).message}`
      throw unreadable(where, what, error)
    }
  }
  const times = Object.fromEntries(
    columns.map((column) => [column, timeKindOf(types.get(column.toLowerCase()))]),
  ) as Record<C, TimeKind>
  return { reading: { rows: rows(), times, progress: () => read / Math.max(1, Number(count)) }, order }
}

async function openSessionKeys(where: string, source: MysqlSource, tables: Tables) {
  const types = tables.get(SESSION_KEYS)
  const skipped = (note: string) => ({ reading: null, note: `Session keys: ${note}` })
  if (types === undefined) return skipped(`there is no table ${SESSION_KEYS}; none are brought over.`)
  if (tables.has(KUNCIS_OWN))
    return skipped(
      `${SESSION_KEYS} there belongs to a Kunci, and "kunci migrate" adopts its rows; left alone.`,
    )
  const missing = SESSION_KEY_COLUMNS.filter((column) => !types.has(column))
  if (missing.length > 0)
    return skipped(`${SESSION_KEYS} has no column ${missing.join(', ')}; none are brought over.`)
  const facts = { table: SESSION_KEYS, columns: SESSION_KEY_COLUMNS, types }
  return { reading: (await openTable(where, source, facts)).reading, note: null }
}

async function readFrom(where: string, source: MysqlSource): Promise<OldServer> {
  const tables = await tablesOf(source)
  const types = requireCustomers(where, tables)
  const facts = { table: CUSTOMERS, columns: CUSTOMER_COLUMNS, types }
  const { reading, order } = await openTable(where, source, facts)
  const sessionKeys = await openSessionKeys(where, source, tables)
  const sorting =
    order.length === 0 ? 'as the server gives them: the table has no primary key' : `by ${order.join(', ')}`
  return {
    customers: reading,
    sessionKeys: sessionKeys.reading,
    notes: [
      `Rows are numbered in the order of reading, ${sorting}.`,
      `expiry_date is ${KIND_TEXT[reading.times.expiry_date ?? 'local']}.`,
      ...(sessionKeys.note === null ? [] : [sessionKeys.note]),
    ],
    close: async () => source.close(),
  }
}

/**
 * Customers and session keys from the database of an old server, of one moment and without writing to it.
 * @throws {AppError} `import_source` when it cannot be reached, has not the tables and columns, or goes away.
 */
export async function openMysql(url: string): Promise<OldServer> {
  const where = whereIs(url)
  let source: MysqlSource | undefined
  try {
    source = await MysqlSource.open(url)
    return await readFrom(where, source)
  } catch (error) {
    source?.close()
    if (error instanceof AppError) throw error
    const { message, code = '' } = error as Error & { code?: string }
    throw unreadable(where, `it cannot be read: ${message || code}`, error)
  }
}
