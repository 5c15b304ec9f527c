import { readCleanupEvent } from './engine/cleanup-event.ts'
import { Coalescer } from './engine/coalescer.ts'
import {
  type Database,
  insertMany,
  paddedList,
  placeholders,
  type Reader,
  type Row,
  type Statement,
  upsert,
} from './engine/database.ts'

/** A row of `session_keys`. The key is wrapped; nothing here is secret without the key-encryption key. */
export type SessionKeyRow = {
  readonly sessionId: string
  readonly wrappedKey: string
  readonly ivHex: string
  readonly clientIp: string
  readonly createdAtMs: number
  readonly expiresAtMs: number
}

export type SessionKeyStore = {
  /** Settles once the row is committed. */
  insert(row: SessionKeyRow): Promise<void>
  find(sessionId: string): Promise<SessionKeyRow | null>
  /** Counts a payload that did not open. @returns how many there were, this one included. */
  countFailure(row: SessionKeyRow): Promise<number>
  /** Ends a session now. @returns `false` when it was over already. */
  end(sessionId: string, nowMs: number): Promise<boolean>
  /** Removes up to `limit` rows that expired before the given time. @returns how many went. */
  removeExpired(beforeMs: number, limit: number): Promise<number>
  /** Whether the database's own EVENT does the cleaning; `false` where there is none, it is off, or it stands still. */
  hasLivingEvent(): Promise<boolean>
}

const COLUMNS = ['session_id', 'session_key', 'session_iv', 'client_ip', 'created_at', 'expires_at']
const BATCH_MAX = 64
/** The EVENT runs each minute; what has been silent for three does not run. */
export const EVENT_SILENCE_MAX_S = 180

const TEXTS_MAX = 16
const texts = new Map<number, string>()

/** `YYYY-MM-DD HH:MM:SS` in UTC, whole seconds rounded down: how the two TIMESTAMP columns are written and compared. */
export function utcText(ms: number): string {
  const second = Math.floor(ms / 1000)
  // Rows of one moment share their seconds, and a date costs more than all else in writing a row.
  const known = texts.get(second)
  if (known !== undefined) return known
  if (texts.size >= TEXTS_MAX) texts.clear()
  const text = new Date(second * 1000).toISOString().slice(0, 19).replace('T', ' ')
  texts.set(second, text)
  return text
}

function msOf(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`)
}

type Columns = Row &
  Record<'session_id' | 'session_key' | 'session_iv' | 'client_ip' | 'created_at' | 'expires_at', string>

function fromColumns(row: Columns): SessionKeyRow {
  return {
    sessionId: row.session_id,
    wrappedKey: row.session_key,
    ivHex: row.session_iv,
    clientIp: row.client_ip,
    createdAtMs: msOf(row.created_at),
    expiresAtMs: msOf(row.expires_at),
  }
}

export function insertSessionKeys(rows: readonly SessionKeyRow[]): Statement {
  const tuples = rows.map((row) => [
    row.sessionId,
    row.wrappedKey,
    row.ivHex,
    row.clientIp,
    utcText(row.createdAtMs),
    utcText(row.expiresAtMs),
  ])
  return insertMany('session_keys', COLUMNS, tuples)
}

async function insertRows(db: Database, rows: readonly SessionKeyRow[]): Promise<undefined[]> {
  await db.run(...insertSessionKeys(rows))
  return []
}

async function readRows(all: Reader['all'], ids: readonly string[]): Promise<Map<string, SessionKeyRow>> {
  const wanted = paddedList(ids)
  const rows = await all<Columns>(
    `SELECT ${COLUMNS.join(', ')} FROM session_keys WHERE session_id IN (${placeholders(wanted.length)})`,
    wanted,
  )
  return new Map(rows.map((row) => [row.session_id, fromColumns(row)]))
}

async function findRows(db: Database, ids: readonly string[]): Promise<(SessionKeyRow | null)[]> {
  const found = await readRows((sql, params) => db.all(sql, params), ids)
  const missing = ids.filter((id) => !found.has(id))
  // A session may have begun a moment ago on a node whose commit has not arrived on ours.
  const late = missing.length > 0 && db.allCaughtUp ? await readRows(db.allCaughtUp, missing) : undefined
  return ids.map((id) => found.get(id) ?? late?.get(id) ?? null)
}

/**
 * Ends a session that is still living; no row matches when it is over. It ends as of its beginning: ended as of now, it
 * would still be living to a check whose now was read a moment before this one's. A beginning that has yet to come, by
 * the clock of an old server, would end nothing: then it ends a second ago.
 */
export function endSession(sessionId: string, nowMs: number): Statement {
  return [
    `UPDATE session_keys SET expires_at = CASE WHEN created_at < ? THEN created_at ELSE ? END
     WHERE session_id = ? AND expires_at > ?`,
    [utcText(nowMs), utcText(nowMs - 1000), sessionId, utcText(nowMs)],
  ]
}

/**
 * Ends a sealed session as of now. Its row goes on answering retries, and a message whose now was read a moment before
 * is of the same moment.
 */
export function closeSession(sessionId: string, nowMs: number): Statement {
  return [
    'UPDATE session_keys SET expires_at = ? WHERE session_id = ? AND expires_at > ?',
    [utcText(nowMs), sessionId, utcText(nowMs)],
  ]
}

async function eventIsAlive(db: Database): Promise<boolean> {
  if (db.dialect === 'sqlite') return false
  const [row] = await db.all<{ scheduler: string }>('SELECT @@event_scheduler AS scheduler')
  if (row?.scheduler !== 'ON') return false
  const event = await readCleanupEvent(db)
  return event?.isEnabled === true && event.silentS < EVENT_SILENCE_MAX_S
}

/** How many rows expired before the given time and are there all the same; counting stops at `limit`. */
export async function countOverdue(db: Reader, beforeMs: number, limit: number): Promise<number> {
  const [row] = await db.all<{ overdue: number }>(
    `SELECT COUNT(*) AS overdue FROM (
       SELECT 1 FROM session_keys WHERE expires_at < ? LIMIT ${Math.floor(limit)}
     ) AS rows_of_the_past`,
    [utcText(beforeMs)],
  )
  return Number(row?.overdue ?? 0)
}

export function sessionKeyStore(db: Database): SessionKeyStore {
  const inserts = new Coalescer<SessionKeyRow, undefined>((rows) => insertRows(db, rows), {
    maxItems: BATCH_MAX,
    lanes: 1,
  })
  const finds = new Coalescer<string, SessionKeyRow | null>((ids) => findRows(db, ids), {
    maxItems: BATCH_MAX,
    lanes: 1,
  })
  return {
    insert: (row) => inserts.submit(row),
    find: (sessionId) => finds.submit(sessionId),
    countFailure: ({ sessionId, expiresAtMs }) =>
      db.transaction(async (tx) => {
        const row = { session_id: sessionId, failed_opens: 1, expires_at_ms: expiresAtMs }
        await tx.run(
          ...upsert(db.dialect, 'kunci_session_failures', row, { key: 'session_id', add: ['failed_opens'] }),
        )
        const [count] = await tx.all<{ failed_opens: number }>(
          'SELECT failed_opens FROM kunci_session_failures WHERE session_id = ?',
          [sessionId],
        )
        return count?.failed_opens ?? 0
      }),
    end: async (sessionId, nowMs) => (await db.run(...endSession(sessionId, nowMs))) === 1,
    removeExpired: async (beforeMs, limit) => {
      // MySQL deletes with LIMIT, SQLite does not: the ids of a batch serve both. LIMIT is spliced in, as MySQL takes
      // no bound number there.
      const ids = await db.all<{ id: number }>(
        `SELECT id FROM session_keys WHERE expires_at < ? ORDER BY expires_at LIMIT ${Math.floor(limit)}`,
        [utcText(beforeMs)],
      )
      if (ids.length > 0) {
        const gone = paddedList(ids.map(({ id }) => id))
        await db.run(`DELETE FROM session_keys WHERE id IN (${placeholders(gone.length)})`, gone)
      }
      await db.run('DELETE FROM kunci_session_failures WHERE expires_at_ms < ?', [beforeMs])
      return ids.length
    },
    hasLivingEvent: () => eventIsAlive(db),
  }
}
