import { type MysqlTable, type MysqlTables, openTable, openTables } from './mysql-tables.ts'
import { CUSTOMER_COLUMNS, type OldServer, OPTIONAL_COLUMNS, SESSION_KEY_COLUMNS } from './old-server.ts'
import { listed, type Names, type TimeKind, unreadable } from './old-table.ts'

const CUSTOMERS = 'user_jce'
const SESSION_KEYS = 'session_keys'

const KIND_TEXT: Readonly<Record<TimeKind, string>> = {
  instant: 'a TIMESTAMP, which is an instant: read as such, whatever the time zone',
  unix: 'a whole number: read as seconds since 1970',
  local: 'no TIMESTAMP: read as local time of the time zone above, unless a row names its offset',
}

function namesIn<C extends string>({ types }: MysqlTable, columns: readonly C[]): Names<C> {
  const names = columns.map((column) => column.toLowerCase())
  const pairs = columns.map((column, i) => [column, types.has(names[i] ?? '') ? names[i] : null])
  return Object.fromEntries(pairs)
}

function requireColumns(where: string, { name, types }: MysqlTable, missing: readonly string[]): void {
  if (missing.length === 0) return
  const found = listed(types.keys())
  throw unreadable(where, `the table ${name} has no column ${missing.join(', ')}. Columns found: ${found}`)
}

async function openCustomers(tables: MysqlTables) {
  const table = tables.require(CUSTOMERS)
  const names = namesIn(table, CUSTOMER_COLUMNS)
  const missing = CUSTOMER_COLUMNS.filter((column) => names[column] === null && !OPTIONAL_COLUMNS.has(column))
  requireColumns(tables.where, table, missing)
  return openTable(tables, table, names)
}

async function openSessionKeys(tables: MysqlTables) {
  const table = tables.find(SESSION_KEYS)
  const skipped = (note: string) => ({ reading: null, note: `Session keys: ${note}` })
  if (table === undefined) return skipped(`there is no table ${SESSION_KEYS}; none are brought over.`)
  if (tables.isKuncis)
    return skipped(
      `${SESSION_KEYS} there belongs to a Kunci, and "kunci migrate" adopts its rows; left alone.`,
    )
  const names = namesIn(table, SESSION_KEY_COLUMNS)
  const missing = SESSION_KEY_COLUMNS.filter((column) => names[column] === null)
  if (missing.length > 0)
    return skipped(`${SESSION_KEYS} has no column ${missing.join(', ')}; none are brought over.`)
  return { reading: await openTable(tables, table, names), note: null }
}

async function readFrom(tables: MysqlTables): Promise<OldServer> {
  const customers = await openCustomers(tables)
  const sessionKeys = await openSessionKeys(tables)
  return {
    customers,
    sessionKeys: sessionKeys.reading,
    notes: [
      `Rows are numbered in the order of reading, ${customers.sorting}.`,
      `expiry_date is ${KIND_TEXT[customers.times.expiry_date ?? 'local']}.`,
      ...(sessionKeys.note === null ? [] : [sessionKeys.note]),
    ],
    close: async () => tables.source.close(),
  }
}

/**
 * Customers and session keys from the database of an old server, of one moment and without writing to it.
 * @throws {AppError} `import_source` when it cannot be reached, has not the tables and columns, or goes away.
 */
export function openMysql(url: string): Promise<OldServer> {
  return openTables(url, readFrom)
}
