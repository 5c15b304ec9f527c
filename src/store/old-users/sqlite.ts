import { statSync } from 'node:fs'
import type { SQLOutputValue } from 'node:sqlite'
import { StoreError } from '../../errors.ts'
import { lacksLogIndex, openSqliteFile, type SqliteFile } from '../inspection/sqlite-file.ts'
import { type Names, type OldRow, type OldTable, quoted, unreadable } from '../old-server/old-table.ts'
import { type OldUsers, TIME_COLUMNS } from './old-users.ts'
import { type FoundTable, type TableSource, usersIn } from './tables.ts'

/** From 2000 to 9999: seconds, and numbers that are no times, lie outside. */
const TIME_MS = { min: 946_684_800_000, max: 253_402_300_799_999 }
/** What node:sqlite makes of bytes that are not UTF-8. */
const BROKEN = '\ufffd'

/** A cell as text, `undefined` where it is none; epoch milliseconds, which Prisma writes, as the time they are. */
function textOf(cell: SQLOutputValue | undefined, column: string): string | null | undefined {
  if (cell === null || cell === undefined) return null
  if (typeof cell === 'string') return cell.includes(BROKEN) ? undefined : cell
  if (typeof cell === 'object') return undefined
  const ms = Number(cell)
  const isTime = TIME_COLUMNS.has(column) && ms >= TIME_MS.min && ms <= TIME_MS.max
  return isTime ? new Date(ms).toISOString() : String(cell)
}

function rowOf<C extends string>(
  row: number,
  columns: readonly C[],
  cells: readonly SQLOutputValue[],
): OldRow<C> {
  const texts = columns.map((column, i) => textOf(cells[i], column))
  const bad = columns.find((_, i) => texts[i] === undefined)
  if (bad !== undefined) return { row, fault: 'not_utf8', detail: `its ${bad} is not UTF-8` }
  const pairs = columns.map((column, i): [C, string | null] => [column, texts[i] ?? null])
  return { row, cells: Object.fromEntries(pairs) as Record<C, string | null> }
}

type SqliteTable = FoundTable & { readonly key: readonly string[] }

async function tablesOf(file: SqliteFile): Promise<SqliteTable[]> {
  const rows = await file.all<{ name: string; column: string; pk: number }>(
    `SELECT m.name AS name, c.name AS "column", c.pk AS pk FROM sqlite_master m, pragma_table_info(m.name) c
     WHERE m.type IN ('table', 'view') ORDER BY m.name, c.cid`,
  )
  return [...Map.groupBy(rows, ({ name }) => name)].map(([name, columns]) => ({
    name,
    columns: columns.map(({ column }) => column),
    key: columns
      .filter(({ pk }) => pk > 0)
      .sort((a, b) => a.pk - b.pk)
      .map(({ column }) => column),
  }))
}

async function openTable<C extends string>(
  where: string,
  file: SqliteFile,
  { name: table, key }: SqliteTable,
  names: Names<C>,
): Promise<OldTable<C>> {
  const columns = Object.keys(names) as C[]
  const selected = columns.map((column) => (names[column] === null ? 'NULL' : quoted(names[column])))
  const sorted = key.length === 0 ? '' : ` ORDER BY ${key.map(quoted).join(', ')}`
  const [{ n } = { n: 0 }] = await file.all<{ n: number }>(`SELECT COUNT(*) AS n FROM ${quoted(table)}`)
  let read = 0
  async function* rows(): AsyncGenerator<OldRow<C>> {
    try {
      for (const cells of file.rows(`SELECT ${selected.join(', ')} FROM ${quoted(table)}${sorted}`))
        yield rowOf(++read, columns, cells)
    } catch (error) {
      const what = `it broke off after ${read} rows of ${table}: ${(error as Error).message}`
      throw unreadable(where, what, error)
    }
  }
  return { rows: rows(), times: {}, progress: () => read / Math.max(1, n) }
}

function open(path: string): SqliteFile {
  if (!(statSync(path, { throwIfNoEntry: false })?.isFile() ?? false))
    throw unreadable(path, 'there is no such file')
  if (lacksLogIndex(path))
    throw unreadable(
      path,
      'beside it lies a log (-wal) that is not part of it yet. Stop what writes to it, and run: ' +
        `sqlite3 ${path} 'PRAGMA wal_checkpoint(TRUNCATE)'`,
    )
  return openSqliteFile(path)
}

async function readFrom(
  path: string,
  file: SqliteFile,
  sessionsTable: string | undefined,
): Promise<OldUsers> {
  // All that follows is then of one moment.
  await file.all('BEGIN')
  const tables = await tablesOf(file)
  const source: TableSource = {
    ...{ where: path, tables, close: () => file.close() },
    open: <C extends string>({ name }: FoundTable, names: Names<C>) =>
      openTable(path, file, tables.find((one) => one.name === name) as SqliteTable, names),
    all: async (sql) => [...file.rows(sql)],
    numbering: 'Rows are numbered in the order of reading, by the primary key of each table.',
  }
  return usersIn(source, sessionsTable)
}

/**
 * Users and sessions from an SQLite file, which is not written to.
 * @throws {AppError} `import_source` when there is none, it is none, or has not the tables and columns.
 */
export async function openSqliteUsers(path: string, sessionsTable: string | undefined): Promise<OldUsers> {
  let file: SqliteFile | undefined
  try {
    file = open(path)
    return await readFrom(path, file, sessionsTable)
  } catch (error) {
    await file?.close()
    if (error instanceof StoreError) throw unreadable(path, `it cannot be read: ${error.message}`, error)
    throw error
  }
}
