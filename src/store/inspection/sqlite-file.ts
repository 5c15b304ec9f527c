import { existsSync, statSync } from 'node:fs'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { StoreError } from '../../errors.ts'
import { type Reader, type Row, STORE_TIMEOUT_MS } from '../engine/database.ts'

export type SqliteFile = Reader & {
  readonly dialect: 'sqlite'
  /** Row after row, integers as bigint; however large the table, memory stays small. @throws {StoreError} */
  rows(sql: string): Iterable<readonly SQLOutputValue[]>
  close(): Promise<void>
}

/** Whether there is a log to be read: one that is empty holds nothing that is not in the file. */
function hasLog(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
}

/** Whether to read the file SQLite would have to make the index of its log first, as after a restored backup. */
export function lacksLogIndex(path: string): boolean {
  return hasLog(path) && !existsSync(`${path}-shm`)
}

/**
 * Opens an SQLite file that is there, to be looked at only.
 * @throws {StoreError} when it is not there, is no database, or cannot be read without making a file.
 */
export function openSqliteFile(path: string): SqliteFile {
  if (lacksLogIndex(path)) throw new StoreError('SQLite: its log has no index yet')
  const url = pathToFileURL(path)
  // SQLite makes two files beside the database to read it while others write. Without a log nobody writes.
  if (!existsSync(`${path}-wal`) || !existsSync(`${path}-shm`)) url.searchParams.set('immutable', '1')
  const ask = <T>(work: () => T): T => {
    try {
      return work()
    } catch (cause) {
      throw new StoreError(`SQLite: ${(cause as Error).message}`, { cause })
    }
  }
  const db = ask(() => new DatabaseSync(url, { readOnly: true, timeout: STORE_TIMEOUT_MS }))
  function* rows(sql: string): Generator<readonly SQLOutputValue[]> {
    const statement = ask(() => db.prepare(sql))
    statement.setReadBigInts(true)
    statement.setReturnArrays(true)
    const cursor = statement.iterate() as unknown as Iterator<SQLOutputValue[]>
    for (let next = ask(() => cursor.next()); next.done !== true; next = ask(() => cursor.next()))
      yield next.value
  }
  return {
    dialect: 'sqlite',
    rows,
    all: async <T extends Row>(sql: string, params: readonly (string | number | null)[] = []) =>
      ask(() => db.prepare(sql).all(...params) as T[]),
    close: async () => db.close(),
  }
}
