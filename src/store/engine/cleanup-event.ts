import { StoreError } from '../../errors.ts'
import type { Database } from './database.ts'
import { cleanupEventSql } from './schema.ts'

const SCHEDULER_OFF =
  'event_scheduler is off, so the server removes expired session keys itself while it runs. To let the database do it:\n' +
  '  SET GLOBAL event_scheduler = ON;'

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
