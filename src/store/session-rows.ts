import { insertMany, type Row, type Session } from './engine/database.ts'
import { insertStreamed, type StreamedEvent } from './stream.ts'

export const DEVICE_TYPES = ['desktop', 'mobile', 'tablet'] as const
export type DeviceType = (typeof DEVICE_TYPES)[number]

/** A row of `user_sessions`: somebody who is, or was, signed in. */
export type SessionRow = {
  readonly id: number
  readonly userId: number
  /** Names the session in public; opens nothing. */
  readonly sessionId: string
  readonly ipAddress: string
  readonly userAgent: string
  readonly firstIpAddress: string
  readonly firstUserAgent: string
  readonly deviceType: DeviceType
  readonly deviceName: string
  /** ISO 3166-1, two letters. */
  readonly country: string | null
  readonly isActive: boolean
  readonly lastActivityMs: number
  readonly loginAtMs: number
  readonly logoutAtMs: number | null
  /** How long it may go unused. */
  readonly idleMs: number
  readonly expiresAtMs: number
  /** It was asked to make way and ends at this time, unless its holder says otherwise. */
  readonly yieldByMs: number | null
  readonly endReason: string | null
  readonly endedBy: string | null
}

/** The end of one session, with what tells of it. */
export type SessionEnd = {
  readonly sessionId: string
  readonly atMs: number
  readonly reason: string
  readonly by: string
  readonly told: StreamedEvent
  /** It ends unless it was used after this time. */
  readonly unlessUsedAfterMs?: number
}

const COLUMNS = {
  id: 'id',
  userId: 'user_id',
  sessionId: 'session_id',
  ipAddress: 'ip_address',
  userAgent: 'user_agent',
  firstIpAddress: 'first_ip_address',
  firstUserAgent: 'first_user_agent',
  deviceType: 'device_type',
  deviceName: 'device_name',
  country: 'country',
  isActive: 'is_active',
  lastActivityMs: 'last_activity',
  loginAtMs: 'login_at',
  logoutAtMs: 'logout_at',
  idleMs: 'idle_ms',
  expiresAtMs: 'expires_at',
  yieldByMs: 'yield_by',
  endReason: 'end_reason',
  endedBy: 'ended_by',
} as const satisfies Record<keyof SessionRow, string>

/** All columns of `s`. */
export const SELECTED = Object.values(COLUMNS)
  .map((column) => `s.${column} AS ${column}`)
  .join(', ')

/** Whether a session is worth anything at this time. */
export function isLive(session: SessionRow, nowMs: number): boolean {
  const { isActive, expiresAtMs, lastActivityMs, idleMs, yieldByMs } = session
  const ends = Math.min(expiresAtMs, lastActivityMs + idleMs, yieldByMs ?? Number.POSITIVE_INFINITY)
  return isActive && ends > nowMs
}

export function sessionFrom(row: Row): SessionRow {
  const values = Object.entries(COLUMNS).map(([name, column]) => [name, row[column] ?? null])
  return { ...Object.fromEntries(values), isActive: row.is_active === 1 } as SessionRow
}

function toColumns(session: SessionRow): Row {
  const values = Object.entries(COLUMNS).map(([name, column]) => [column, session[name as keyof SessionRow]])
  return {
    ...Object.fromEntries(values),
    is_active: session.isActive ? 1 : 0,
    created_at: session.loginAtMs,
    updated_at: session.loginAtMs,
  }
}

/** Inserts sessions, be they of today or of an older tracker. */
export function insertSessions(sessions: readonly SessionRow[]) {
  const rows = sessions.map(toColumns)
  return insertMany('user_sessions', Object.keys(rows[0] ?? {}), rows.map(Object.values))
}

/** Ends sessions within a transaction, each once. @returns the ids of those that were not over already. */
export async function endSessions(tx: Session, ends: readonly SessionEnd[]): Promise<string[]> {
  const ended: string[] = []
  for (const { sessionId, atMs, reason, by, told, unlessUsedAfterMs = Number.MAX_SAFE_INTEGER } of ends) {
    const sql = `UPDATE user_sessions SET is_active = 0, logout_at = ?, end_reason = ?, ended_by = ?, yield_by = NULL, updated_at = ?
      WHERE session_id = ? AND is_active = 1 AND last_activity <= ?`
    if ((await tx.run(sql, [atMs, reason, by, atMs, sessionId, unlessUsedAfterMs])) !== 1) continue
    for (const statement of insertStreamed([told])) await tx.run(...statement)
    ended.push(sessionId)
  }
  return ended
}

/** The sessions of a user that are not marked as ended, within a transaction. */
export async function openSessionsOf(tx: Session, userId: number): Promise<SessionRow[]> {
  const sql = `SELECT ${SELECTED} FROM user_sessions s WHERE s.user_id = ? AND s.is_active = 1`
  return (await tx.all(sql, [userId])).map(sessionFrom)
}
