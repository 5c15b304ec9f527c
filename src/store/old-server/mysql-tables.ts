import { AppError } from '../../errors.ts'
import { MysqlSource, type SourceCell } from '../engine/mysql-source.ts'
import {
  listed,
  type Names,
  type OldRow,
  type OldTable,
  quoted,
  type TimeKind,
  unreadable,
} from './old-table.ts'

/** Types by lower-case column name. */
export type MysqlTable = { readonly name: string; readonly types: ReadonlyMap<string, string> }

/** Somebody else's database, at one moment. */
export type MysqlTables = {
  /** Of an address all but the password. */
  readonly where: string
  readonly source: MysqlSource
  readonly all: readonly MysqlTable[]
  /** Whether a Kunci lives there. */
  readonly isKuncis: boolean
  find(name: string): MysqlTable | undefined
  /** @throws {AppError} `import_source`, with the tables there are. */
  require(name: string): MysqlTable
}

function whereIs(url: string): string {
  const { hostname, port, pathname, username } = new URL(url)
  return `the database ${pathname.slice(1)} on ${hostname}:${port || 3306}, as ${username || 'nobody'}`
}

async function tablesOf(where: string, source: MysqlSource): Promise<MysqlTables> {
  const rows = await source.all(
    `SELECT table_name AS t, column_name AS c, data_type AS d FROM information_schema.columns
     WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position`,
  )
  const tables = new Map<string, { name: string; types: Map<string, string> }>()
  for (const [name = '', column = '', type = ''] of rows.map((cells) => cells.map(String))) {
    const table = tables.get(name) ?? { name, types: new Map() }
    table.types.set(column.toLowerCase(), type.toLowerCase())
    tables.set(name, table)
  }
  // Whether case counts in the names of tables is the server's to say.
  const find = (name: string) =>
    tables.get(name) ?? [...tables.values()].find((table) => table.name.toLowerCase() === name.toLowerCase())
  return {
    ...{ where, source, all: [...tables.values()], isKuncis: tables.has('kunci_migrations'), find },
    require: (name) => {
      const table = find(name)
      if (table !== undefined) return table
      const found = listed(tables.keys())
      throw unreadable(
        where,
        `there is no table ${name}, or this login may not read it. Tables found: ${found}`,
      )
    },
  }
}

/**
 * Opens a database to be read, of one moment and without writing to it.
 * @returns what `read` makes of its tables.
 * @throws {AppError} `import_source` when it cannot be reached, or `read` finds it unfit.
 */
export async function openTables<T>(url: string, read: (tables: MysqlTables) => Promise<T>): Promise<T> {
  const where = whereIs(url)
  let source: MysqlSource | undefined
  try {
    source = await MysqlSource.open(url)
    return await read(await tablesOf(where, source))
  } catch (error) {
    source?.close()
    if (error instanceof AppError) throw error
    const { message, code = '' } = error as Error & { code?: string }
    throw unreadable(where, `it cannot be read: ${message || code}`, error)
  }
}

function timeKindOf(type: string | undefined): TimeKind {
  if (type === 'timestamp') return 'instant'
  return type !== undefined && /int$/.test(type) ? 'unix' : 'local'
}

/** By the primary key, so that a row has the same number at each reading. */
async function primaryKeyOf(source: MysqlSource, table: string): Promise<string[]> {
  const rows = await source.all(
    `SELECT table_name, column_name FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND index_name = 'PRIMARY' ORDER BY seq_in_index`,
  )
  return rows.flatMap(([name, column]) => (name === table ? [String(column)] : []))
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

/** A table that is read when its rows are asked for, sorted by its primary key. */
export async function openTable<C extends string>(
  { where, source }: MysqlTables,
  { name: table, types }: MysqlTable,
  names: Names<C>,
): Promise<OldTable<C> & { readonly sorting: string }> {
  const order = await primaryKeyOf(source, table)
  const columns = Object.keys(names) as C[]
  const selected = columns.map((column) => (names[column] === null ? 'NULL' : quoted(names[column])))
  const sorting =
    order.length === 0 ? 'as the server gives them: the table has no primary key' : `by ${order.join(', ')}`
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
    columns.map((column) => [column, timeKindOf(types.get(names[column] ?? ''))]),
  ) as Record<C, TimeKind>
  return { rows: rows(), times, progress: () => read / Math.max(1, Number(count)), sorting }
}
