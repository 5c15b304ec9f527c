import type { Clock } from '../../clock.ts'
import { StoreError } from '../../errors.ts'

export type Value = string | number | null
export type Row = Record<string, Value>
export type Statement = readonly [sql: string, params: readonly Value[]]

/** Statements against one database: alone, or inside a transaction. Parameters are always bound, never spliced in. */
export interface Session {
  all<T extends Row>(sql: string, params?: readonly Value[]): Promise<T[]>
  /** @returns how many rows matched, whether or not the new values differ from the old. */
  run(sql: string, params?: readonly Value[]): Promise<number>
}

/** A database that is only looked at. */
export type Reader = Pick<Session, 'all'>

/** How long a caller waits for its turn, and then for the answer to a statement, before it gets a StoreError. */
export const STORE_TIMEOUT_MS = 5000

/** The port that both databases fill. Every failure is a {@link StoreError} or a {@link DuplicateKeyError}. */
export interface Database extends Session {
  readonly dialect: 'sqlite' | 'mysql'
  /** The one clock that sessions live by: the database server's on MySQL, the system's on SQLite. */
  readonly clock: Clock
  /**
   * On one node of several: reads like {@link all}, after all that the others have committed up to now. `undefined` where
   * the database is one server, which knows everything at once.
   */
  readonly allCaughtUp?: Session['all'] | undefined
  /** Runs the statements in one transaction and one commit. */
  batch(statements: readonly Statement[]): Promise<void>
  /** Runs `work` in one transaction; whatever it throws rolls back. It may be run again after a deadlock. */
  transaction<T>(work: (tx: Session) => Promise<T>): Promise<T>
  /** Runs `work` while no other process does the same: for changes of the tables themselves, however long they take. */
  exclusively<T>(work: (session: Session) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** A row with this unique key is there already. */
export class DuplicateKeyError extends StoreError {}

/** Waits for what may find one of its rows there already. @returns `false` when it did, and nothing was written. */
export async function unlessThere(work: Promise<unknown>): Promise<boolean> {
  try {
    await work
    return true
  } catch (error) {
    if (error instanceof DuplicateKeyError) return false
    throw error
  }
}

/** `?, ?, ?` for `count` parameters. */
export function placeholders(count: number): string {
  return Array.from({ length: count }, () => '?').join(', ')
}

/**
 * Repeats the last value until the list has a power of two of them, so that lists of any length need a handful of
 * prepared statements and not one each.
 */
export function paddedList<T extends Value>(values: readonly T[]): T[] {
  const size = 2 ** Math.ceil(Math.log2(Math.max(values.length, 1)))
  return Array.from({ length: size }, (_, i) => values[Math.min(i, values.length - 1)] as T)
}

/** One statement that inserts all `rows`, in the order of `columns`. */
export function insertMany(
  table: string,
  columns: readonly string[],
  rows: readonly (readonly Value[])[],
): Statement {
  const tuple = `(${placeholders(columns.length)})`
  const sql = `INSERT INTO ${table} (${columns.join(', ')}) VALUES ${rows.map(() => tuple).join(', ')}`
  return [sql, rows.flat()]
}

/** Inserts a row, or adds to (`add`) and replaces (`set`) columns of the one that has the same `key`. */
export function upsert(
  dialect: Database['dialect'],
  table: string,
  row: Readonly<Record<string, Value>>,
  rule: { key: string; add?: readonly string[]; set?: readonly string[] },
): Statement {
  const [insert, params] = insertMany(table, Object.keys(row), [Object.values(row)])
  const incoming = (column: string) => (dialect === 'mysql' ? `VALUES(${column})` : `excluded.${column}`)
  const updates = [
    ...(rule.add ?? []).map((column) => `${column} = ${table}.${column} + ${incoming(column)}`),
    ...(rule.set ?? []).map((column) => `${column} = ${incoming(column)}`),
  ]
  if (updates.length === 0) updates.push(`${rule.key} = ${table}.${rule.key}`)
  const clause = dialect === 'mysql' ? 'ON DUPLICATE KEY UPDATE' : `ON CONFLICT (${rule.key}) DO UPDATE SET`
  return [`${insert} ${clause} ${updates.join(', ')}`, params]
}
