import { StoreError } from '../../errors.ts'
import type { Database, Reader } from './database.ts'
import { cleanupEventSql } from './schema.ts'

const SCHEDULER_OFF =
  'event_scheduler is off, so the server removes expired session keys itself while it runs. To let the database do it:\n' +
  '  SET GLOBAL event_scheduler = ON;'

/** The EVENT as it is in the database. */
export type CleanupEvent = {
  readonly isEnabled: boolean
  /** Whether it does what this version's does, as often. */
  readonly isCurrent: boolean
  readonly definer: { readonly user: string; readonly host: string }
  /** Seconds since it ran, or since it was made where it never did. */
  readonly silentS: number
}

/** How an EVENT begins up to what it does. */
const HEAD = /^CREATE EVENT \w+\s+ON SCHEDULE EVERY (\d+) (\w+)\s+ON COMPLETION PRESERVE\s+DO\s+/

function oneLine(sql: string): string {
  return sql.replace(/\s+/g, ' ').trim()
}

/** Whether this login may see EVENTs of this database at all; to others there seems to be none. */
export async function maySeeEvents(db: Reader): Promise<boolean> {
  try {
    await db.all('SHOW EVENTS')
    return true
  } catch (error) {
    if (error instanceof StoreError) return false
    throw error
  }
}

/**
 * Looks at the EVENT, whatever the state of the scheduler that runs it.
 * @returns `null` where there is none, or none that this login may see.
 */
export async function readCleanupEvent(db: Reader): Promise<CleanupEvent | null> {
  // The last run is told in the EVENT's own time zone, its making in that of this connection.
  const [row] = await db.all<{
    status: string
    body: string
    every: string
    definer: string
    silent_s: number
  }>(
    `SELECT status AS status, event_definition AS body, definer AS definer,
            CONCAT(interval_value, ' ', interval_field) AS every,
            TIMESTAMPDIFF(SECOND, COALESCE(
              CONVERT_TZ(last_executed, time_zone, '+00:00'), CONVERT_TZ(created, @@session.time_zone, '+00:00')
            ), UTC_TIMESTAMP()) AS silent_s
     FROM information_schema.events
     WHERE event_schema = DATABASE() AND event_name = 'cleanup_expired_sessions'`,
  )
  if (row === undefined) return null
  const wanted = cleanupEventSql()
  const [, value = '', field = ''] = HEAD.exec(wanted) ?? []
  const at = row.definer.lastIndexOf('@')
  return {
    isEnabled: row.status === 'ENABLED',
    isCurrent: row.every === `${value} ${field}` && oneLine(row.body) === oneLine(wanted.replace(HEAD, '')),
    definer: { user: row.definer.slice(0, at), host: row.definer.slice(at + 1) },
    silentS: Number(row.silent_s),
  }
}

/**
 * Puts the EVENT in place that removes expired session keys, in the place of an older one of that name.
 * @returns what to tell the operator where it cannot run; the server then cleans by itself.
 */
export async function installCleanupEvent(db: Database): Promise<string[]> {
  if (db.dialect === 'sqlite') return []
  // Two that migrate at once would drop and make it in each other's way.
  return db.exclusively(async (session) => {
    try {
      await session.run('DROP EVENT IF EXISTS cleanup_expired_sessions')
      await session.run(cleanupEventSql())
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      return [
        `The EVENT cleanup_expired_sessions could not be made (${error.message}), so the server removes expired session ` +
          'keys itself while it runs. To let the database do it, as its administrator:\n' +
          '  GRANT EVENT ON <database>.* TO <this login>;\nand run "kunci migrate" again.',
      ]
    }
    const [row] = await session.all<{ scheduler: string }>('SELECT @@event_scheduler AS scheduler')
    return row?.scheduler === 'ON' ? [] : [SCHEDULER_OFF]
  })
}
