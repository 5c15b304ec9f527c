import { posix, win32 } from 'node:path'
import type { Reader } from '../engine/database.ts'

/** What a MySQL or MariaDB server says of itself. */
export type ServerFacts = {
  readonly product: 'MariaDB' | 'MySQL'
  /** As it names it, such as `10.11.6-MariaDB`. */
  readonly version: string
  /** The account this login is, as grants name it. */
  readonly account: { readonly user: string; readonly host: string }
  readonly eventScheduler: string
  /** What connections get that name no time zone of their own; `SYSTEM` is the one below. */
  readonly globalTimeZone: string
  readonly systemTimeZone: string
  /** Where it writes its error log; empty or `stderr` where its service manager keeps it. */
  readonly errorLog: string
  readonly isEncrypted: boolean
}

type Variables = Record<
  'version' | 'account' | 'scheduler' | 'global_zone' | 'system_zone' | 'error_log' | 'data_directory',
  string | null
>

export async function readServerFacts(db: Reader): Promise<ServerFacts> {
  const [row] = await db.all<Variables>(
    `SELECT VERSION() AS version, CURRENT_USER() AS account, @@event_scheduler AS scheduler,
            @@global.time_zone AS global_zone, @@system_time_zone AS system_zone,
            @@log_error AS error_log, @@datadir AS data_directory`,
  )
  const [cipher] = await db.all<{ Value: string }>("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
  const text = (name: keyof Variables) => row?.[name] ?? ''
  const at = text('account').lastIndexOf('@')
  const version = text('version')
  const errorLog = text('error_log')
  return {
    product: /mariadb/i.test(version) ? 'MariaDB' : 'MySQL',
    version,
    account: { user: text('account').slice(0, at), host: text('account').slice(at + 1) },
    eventScheduler: text('scheduler'),
    globalTimeZone: text('global_zone'),
    systemTimeZone: text('system_zone'),
    errorLog: ['', 'stderr'].includes(errorLog) ? '' : absolute(text('data_directory'), errorLog),
    isEncrypted: (cipher?.Value ?? '') !== '',
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
