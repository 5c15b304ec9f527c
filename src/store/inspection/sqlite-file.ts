import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { StoreError } from '../../errors.ts'
import { type Reader, type Row, STORE_TIMEOUT_MS } from '../engine/database.ts'

export type SqliteFile = Reader & { readonly dialect: 'sqlite'; close(): Promise<void> }

/**
 * Opens an SQLite file that is there, to be looked at only.
 * @throws {StoreError} when it is not there or is no database.
 */
export function openSqliteFile(path: string): SqliteFile {
  const url = pathToFileURL(path)
  // SQLite makes two files beside the database to read it while others write. Without a log nobody writes.
  if (!existsSync(`${path}-wal`)) url.searchParams.set('immutable', '1')
  const ask = <T>(work: () => T): T => {
    try {
      return work()
    } catch (cause) {
      throw new StoreError(`SQLite: ${(cause as Error).message}`, { cause })
    }
  }
  const db = ask(() => new DatabaseSync(url, { readOnly: true, timeout: STORE_TIMEOUT_MS }))
  return {
    dialect: 'sqlite',
    all: async <T extends Row>(sql: string, params: readonly (string | number | null)[] = []) =>
      ask(() => db.prepare(sql).all(...params) as T[]),
    close: async () => db.close(),
  }
}
