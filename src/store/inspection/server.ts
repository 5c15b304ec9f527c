import { posix, win32 } from 'node:path'
import { StoreError } from '../../errors.ts'
import type { Reader } from '../engine/database.ts'

/** What a MySQL or MariaDB server says of itself; `null` is what it, or a proxy before it, does not say. */
export type ServerFacts = {
  readonly product: 'MariaDB' | 'MySQL'
  /** As it names it, such as `10.11.6-MariaDB`. */
  readonly version: string
  /** The account this login is, as grants name it. */
  readonly account: { readonly user: string; readonly host: string }
  readonly eventScheduler: string | null
  /** What connections get that name no time zone of their own; `SYSTEM` is the one below. */
  readonly globalTimeZone: string | null
  readonly systemTimeZone: string | null
  /** Where it writes its error log; empty or `stderr` where its service manager keeps it. */
  readonly errorLog: string | null
  readonly isEncrypted: boolean | null
}

/** `null` where the server answers with an error; that it does not answer at all is thrown. */
async function unlessRefused<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    // Those of the server have numbers above zero, those of the network below or none.
    const { errno = 0 } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
    if (error instanceof StoreError && errno > 0) return null
    throw error
  }
}

async function read(db: Reader, expression: string): Promise<string> {
  const [row] = await db.all<{ value: string | null }>(`SELECT ${expression} AS value`)
  return row?.value ?? ''
}

async function readIsEncrypted(db: Reader): Promise<boolean | null> {
  const status = db.all<{ Value: string }>("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
  const [cipher] = (await unlessRefused(status)) ?? []
  return cipher === undefined ? null : cipher.Value !== ''
}

async function readErrorLog(db: Reader): Promise<string | null> {
  const path = await unlessRefused(read(db, '@@log_error'))
  if (path === null) return null
  if (['', 'stderr'].includes(path)) return ''
  const directory = win32.isAbsolute(path) ? '' : await unlessRefused(read(db, '@@datadir'))
  return directory === null ? null : absolute(directory, path)
}

/**
 * Each variable by itself: proxies do not know them all.
 * @throws {StoreError} when the server stops answering, or does not even say its version and who this login is.
 */
export async function readServerFacts(db: Reader): Promise<ServerFacts> {
  const version = await read(db, 'VERSION()')
  const account = await read(db, 'CURRENT_USER()')
  const at = account.lastIndexOf('@')
  const variable = async (name: string) => (await unlessRefused(read(db, name))) || null
  return {
    product: /mariadb/i.test(version) ? 'MariaDB' : 'MySQL',
    version,
    account: { user: account.slice(0, at), host: account.slice(at + 1) },
    eventScheduler: await variable('@@event_scheduler'),
    globalTimeZone: await variable('@@global.time_zone'),
    systemTimeZone: await variable('@@system_time_zone'),
    errorLog: await readErrorLog(db),
    isEncrypted: await readIsEncrypted(db),
  }
}

/** The server may run on another kind of machine than this one. */
function absolute(directory: string, path: string): string {
  if (win32.isAbsolute(path)) return path
  return (directory.includes('\\') ? win32 : posix).join(directory, path)
}

/** Whether an account is there; `null` when this login may not look. */
export async function accountExists(db: Reader, user: string, host: string): Promise<boolean | null> {
  try {
    return (await db.all('SELECT 1 FROM mysql.user WHERE user = ? AND host = ?', [user, host])).length > 0
  } catch {
    return null
  }
}
