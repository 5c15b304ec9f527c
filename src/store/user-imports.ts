import { type Account, accountColumns, accountFrom } from './accounts.ts'
import { type Database, paddedList, placeholders, unlessThere, type Value } from './engine/database.ts'
import { countEvent, type EventRow } from './events.ts'
import { slices } from './imports.ts'
import { insertSessions, type SessionRow } from './session-rows.ts'
import { insertUsers, type User } from './users.ts'

export type UserImportStore = {
  /** Those who have one of these emails or ids. */
  known(emails: readonly string[], ids: readonly number[]): Promise<Account[]>
  /** Writes all in one transaction and adds to the event's count. @returns `false` when one was there already, and none was written. */
  write(users: readonly User[], event: EventRow): Promise<boolean>
  /** When the sessions began that are there already, by their ids. */
  knownSessions(sessionIds: readonly string[]): Promise<Map<string, number>>
  /** As {@link write}. */
  writeSessions(sessions: readonly SessionRow[], event: EventRow): Promise<boolean>
}

export function userImportStore(db: Database): UserImportStore {
  async function accounts(column: 'id' | 'email', values: readonly Value[]): Promise<Account[]> {
    if (values.length === 0) return []
    const wanted = paddedList(values)
    const sql = `SELECT u.id AS user_id, ${accountColumns('u')} FROM kunci_users u
      WHERE u.${column} IN (${placeholders(wanted.length)})`
    return (await db.all(sql, wanted)).map(accountFrom)
  }

  return {
    known: async (emails, ids) => [...(await accounts('email', emails)), ...(await accounts('id', ids))],
    write: (users, event) =>
      unlessThere(db.batch([...slices(users).map(insertUsers), countEvent(db.dialect, event)])),
    knownSessions: async (sessionIds) => {
      const wanted = paddedList(sessionIds)
      const rows = await db.all<{ session_id: string; login_at: number }>(
        `SELECT session_id, login_at FROM user_sessions WHERE session_id IN (${placeholders(wanted.length)})`,
        wanted,
      )
      return new Map(rows.map(({ session_id, login_at }) => [session_id, login_at]))
    },
    writeSessions: (sessions, event) =>
      unlessThere(db.batch([...slices(sessions).map(insertSessions), countEvent(db.dialect, event)])),
  }
}
