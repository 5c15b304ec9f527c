import { type Account, accountColumns, accountFrom } from './accounts.ts'
import { Coalescer } from './engine/coalescer.ts'
import {
  type Database,
  paddedList,
  placeholders,
  type Reader,
  type Row,
  type Statement,
  type Value,
} from './engine/database.ts'
import { endSessions, SELECTED, type SessionEnd, type SessionRow, sessionFrom } from './session-rows.ts'

/** A session with whose it is. */
export type OwnedSession = SessionRow & { readonly user: Account }

/** A session as it was last used. */
export type Stamp = {
  readonly sessionId: string
  readonly atMs: number
  readonly ipAddress: string
  readonly userAgent: string
}

export type SessionStore = {
  /** Sessions that are asked for at the same moment are read in one statement. */
  find(sessionId: string): Promise<OwnedSession | null>
  /** Ends sessions. @returns the ids of those that were not over already. */
  end(ends: readonly SessionEnd[]): Promise<string[]>
  /** Writes when sessions were last used, in one commit; never to an earlier time. */
  stamp(stamps: readonly Stamp[]): Promise<void>
  /** Sessions that are not over, the latest used first. */
  listLive(nowMs: number, limit: number): Promise<OwnedSession[]>
  /** Those of one user, the newest first. */
  listLiveOf(userId: number, nowMs: number, limit: number): Promise<OwnedSession[]>
  countLive(nowMs: number): Promise<number>
  /** All of one user's, the newest first. */
  listOf(userId: number, limit: number): Promise<OwnedSession[]>
  /** Up to `limit` sessions that are over and not yet marked so. */
  listOverdue(nowMs: number, limit: number): Promise<OwnedSession[]>
  countOverdue(nowMs: number): Promise<number>
  /**
   * Brings back what lies later than `laterMs`, by a clock that was put back since: such a session begins, or was last used,
   * at `nowMs`, and what it was asked is forgotten.
   */
  bringBack(nowMs: number, laterMs: number): Promise<void>
  /** Removes up to `limit` sessions that ended before the given time. @returns how many went. */
  removeEnded(beforeMs: number, limit: number): Promise<number>
}

function ownedFrom(row: Row): OwnedSession {
  return { ...sessionFrom(row), user: accountFrom(row) }
}

const OWNED = `SELECT ${SELECTED}, ${accountColumns('u')} FROM user_sessions s JOIN kunci_users u ON u.id = s.user_id`
/** The same rule as {@link isLive}, for whole lists. */
const LIVE =
  's.is_active = 1 AND s.expires_at > ? AND s.last_activity + s.idle_ms > ? AND (s.yield_by IS NULL OR s.yield_by > ?)'
const OVERDUE =
  's.is_active = 1 AND (s.expires_at <= ? OR s.last_activity + s.idle_ms <= ? OR s.yield_by <= ?)'
const FIND_MAX = 64
const ASCII = /^[\x20-\x7e]*$/

/** Guarded by the time, as another node may know of a later use. */
function stampOne({ sessionId, atMs, ipAddress, userAgent }: Stamp): Statement {
  return [
    `UPDATE user_sessions SET last_activity = ?, ip_address = ?, user_agent = ?, updated_at = ?
     WHERE session_id = ? AND is_active = 1 AND last_activity < ?`,
    [atMs, ipAddress, userAgent, atMs, sessionId, atMs],
  ]
}

async function readRows(
  all: Reader['all'],
  ids: readonly string[],
): Promise<ReadonlyMap<string, OwnedSession>> {
  const wanted = paddedList(ids)
  const rows = await all(`${OWNED} WHERE s.session_id IN (${placeholders(wanted.length)})`, wanted)
  return new Map(rows.map((row) => [String(row.session_id), ownedFrom(row)]))
}

async function findRows(db: Database, ids: readonly string[]): Promise<(OwnedSession | null)[]> {
  const found = await readRows((sql, params) => db.all(sql, params), ids)
  const missing = ids.filter((id) => !found.has(id))
  // Somebody may have signed in a moment ago at a node whose commit has not arrived on ours.
  const late = missing.length > 0 && db.allCaughtUp ? await readRows(db.allCaughtUp, missing) : undefined
  return ids.map((id) => found.get(id) ?? late?.get(id) ?? null)
}

export function sessionStore(db: Database): SessionStore {
  const together = new Coalescer<string, OwnedSession | null>((ids) => findRows(db, ids), {
    maxItems: FIND_MAX,
    lanes: 2,
  })
  const overdue = (nowMs: number) => [nowMs, nowMs, nowMs]

  async function list(rest: string, params: readonly Value[], limit: number): Promise<OwnedSession[]> {
    const rows = await db.all(`${OWNED} WHERE ${rest} LIMIT ${Math.floor(limit)}`, params)
    return rows.map(ownedFrom)
  }

  async function count(condition: string, nowMs: number): Promise<number> {
    const sql = `SELECT COUNT(*) AS n FROM user_sessions s WHERE ${condition}`
    const [row] = await db.all<{ n: number }>(sql, overdue(nowMs))
    return Number(row?.n)
  }

  return {
    // Text beyond ASCII is an error to the column, and would be one to whoever asks at the same moment.
    find: async (sessionId) => (ASCII.test(sessionId) ? together.submit(sessionId) : null),
    end: (ends) => db.transaction((tx) => endSessions(tx, ends)),
    stamp: (stamps) => db.batch(stamps.map(stampOne)),
    listLive: (nowMs, limit) =>
      list(`${LIVE} ORDER BY s.last_activity DESC, s.id DESC`, overdue(nowMs), limit),
    listLiveOf: (userId, nowMs, limit) =>
      list(
        `s.user_id = ? AND ${LIVE} ORDER BY s.login_at DESC, s.id DESC`,
        [userId, ...overdue(nowMs)],
        limit,
      ),
    countLive: (nowMs) => count(LIVE, nowMs),
    listOf: (userId, limit) => list('s.user_id = ? ORDER BY s.login_at DESC, s.id DESC', [userId], limit),
    listOverdue: (nowMs, limit) => list(`${OVERDUE} ORDER BY s.id`, overdue(nowMs), limit),
    countOverdue: (nowMs) => count(OVERDUE, nowMs),
    bringBack: (nowMs, laterMs) =>
      db.batch([
        // From left to right, as MySQL assigns: what reads login_at comes before it is written.
        [
          `UPDATE user_sessions SET expires_at = expires_at - login_at + ?, login_at = ?, updated_at = ?
           WHERE is_active = 1 AND login_at > ?`,
          [nowMs, nowMs, nowMs, laterMs],
        ],
        [
          'UPDATE user_sessions SET last_activity = ?, updated_at = ? WHERE is_active = 1 AND last_activity > ?',
          [nowMs, nowMs, laterMs],
        ],
        [
          'UPDATE user_sessions SET yield_by = NULL, updated_at = ? WHERE is_active = 1 AND yield_by > ?',
          [nowMs, laterMs],
        ],
      ]),
    removeEnded: async (beforeMs, limit) => {
      // By id, as MySQL deletes with LIMIT and SQLite does not.
      const sql = `SELECT id FROM user_sessions WHERE is_active = 0 AND logout_at < ? ORDER BY id LIMIT ${Math.floor(limit)}`
      const rows = await db.all<{ id: number }>(sql, [beforeMs])
      const gone = paddedList(rows.map(({ id }) => id))
      if (rows.length > 0)
        await db.run(`DELETE FROM user_sessions WHERE id IN (${placeholders(gone.length)})`, gone)
      return rows.length
    },
  }
}
