import { type AtLimit, ROLES, type Role, type SessionPolicy } from './accounts.ts'
import { type Database, type Row, upsert } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'

/** What holds for a role of which nothing was said: any number of sessions. */
const UNLIMITED: SessionPolicy = { maxSessions: null, atLimit: 'kick' }

export type RolePolicy = SessionPolicy & { readonly role: Role }

export type SessionPolicyStore = {
  find(role: Role): Promise<SessionPolicy>
  /** One for each role. */
  list(): Promise<RolePolicy[]>
  set(role: Role, policy: SessionPolicy, nowMs: number, event: EventRow): Promise<void>
}

function fromColumns(row: Row): SessionPolicy {
  return { maxSessions: row.max_sessions as number | null, atLimit: row.at_limit as AtLimit }
}

export function sessionPolicyStore(db: Database): SessionPolicyStore {
  async function find(role: Role): Promise<SessionPolicy> {
    const sql = 'SELECT max_sessions, at_limit FROM kunci_session_policies WHERE role = ?'
    const [row] = await db.all(sql, [role])
    return row === undefined ? UNLIMITED : fromColumns(row)
  }

  return {
    find,
    list: () => Promise.all(ROLES.map(async (role) => ({ role, ...(await find(role)) }))),
    set: (role, { maxSessions, atLimit }, nowMs, event) => {
      const row = { role, max_sessions: maxSessions, at_limit: atLimit, updated_at_ms: nowMs }
      const rule = { key: 'role', set: ['max_sessions', 'at_limit', 'updated_at_ms'] }
      return db.batch([upsert(db.dialect, 'kunci_session_policies', row, rule), insertEvents([event])])
    },
  }
}
