import {
  type Database,
  insertMany,
  type Row,
  type Session,
  type Statement,
  upsert,
} from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'

/** An event that live streams carry besides: to the user it is about, and to operators. */
export type StreamedEvent = {
  readonly event: EventRow
  readonly userId: number
  /** The session it is about, if it is about one. */
  readonly sessionId: string | null
}

/** An event in its place in the stream. */
export type PlacedEvent = Pick<EventRow, 'type' | 'atMs' | 'detail'> &
  Omit<StreamedEvent, 'event'> & {
    /** Positions begin with 1 and leave none out. Those who see one see all before it. */
    readonly position: number
  }

/** How far the stream is. */
export type StreamState = {
  /** The last position given, 0 before the first. */
  readonly head: number
  /** Whether events wait for a position. */
  readonly hasUnplaced: boolean
}

export type StreamStore = {
  state(): Promise<StreamState>
  /**
   * Gives positions to up to `limit` events that were committed without one; callers on all nodes take turns.
   * @returns how many there were.
   */
  place(nowMs: number, limit: number): Promise<number>
  /** Up to `limit` events after one position and up to another, of one user or of all, in their order. */
  read(range: {
    readonly after: number
    readonly upTo: number
    readonly userId: number | null
    readonly limit: number
  }): Promise<PlacedEvent[]>
  /** The first position that is kept, or `null` when none is. */
  oldest(): Promise<number | null>
  /** Removes what was placed and happened before the given time, and all that was placed before that. */
  removeOld(beforeMs: number): Promise<number>
}

const HEAD = 'stream_head'

/** The statements that write events and put them into the stream, to go into the transaction of what they record. */
export function insertStreamed(streamed: readonly StreamedEvent[]): Statement[] {
  if (streamed.length === 0) return []
  return [
    insertEvents(streamed.map(({ event }) => event)),
    insertMany(
      'kunci_stream',
      ['event_id', 'user_id', 'session_id', 'created_at_ms'],
      streamed.map(({ event, userId, sessionId }) => [event.id, userId, sessionId, event.atMs]),
    ),
  ]
}

function placedFrom(row: Row): PlacedEvent {
  return {
    position: Number(row.pos),
    userId: Number(row.user_id),
    sessionId: row.session_id as string | null,
    type: String(row.type),
    atMs: Number(row.at_ms),
    detail: JSON.parse(String(row.detail)),
  }
}

async function place(
  tx: Session,
  dialect: Database['dialect'],
  nowMs: number,
  limit: number,
): Promise<number> {
  // Written first, and by every node: two that place at once wait here, or on a cluster one of them is undone at its
  // commit and begins anew. So a position is committed after all before it, however late a writer commits its event.
  const counter = { name: HEAD, value: '0', updated_at_ms: nowMs }
  await tx.run(...upsert(dialect, 'kunci_settings', counter, { key: 'name', set: ['updated_at_ms'] }))
  const [head] = await tx.all('SELECT value FROM kunci_settings WHERE name = ?', [HEAD])
  const unplaced = await tx.all(
    `SELECT event_id FROM kunci_stream WHERE pos IS NULL ORDER BY event_id LIMIT ${Math.floor(limit)}`,
  )
  let position = Number(head?.value)
  for (const { event_id = null } of unplaced)
    await tx.run('UPDATE kunci_stream SET pos = ? WHERE event_id = ?', [++position, event_id])
  await tx.run('UPDATE kunci_settings SET value = ? WHERE name = ?', [String(position), HEAD])
  return unplaced.length
}

export function streamStore(db: Database): StreamStore {
  return {
    state: async () => {
      const [row] = await db.all(
        `SELECT (SELECT value FROM kunci_settings WHERE name = ?) AS head,
           EXISTS (SELECT 1 FROM kunci_stream WHERE pos IS NULL) AS has_unplaced`,
        [HEAD],
      )
      return { head: Number(row?.head), hasUnplaced: row?.has_unplaced === 1 }
    },
    place: (nowMs, limit) => db.transaction((tx) => place(tx, db.dialect, nowMs, limit)),
    read: async ({ after, upTo, userId, limit }) => {
      const rows = await db.all(
        `SELECT s.pos, s.user_id, s.session_id, e.type, e.at_ms, e.detail
         FROM kunci_stream s JOIN kunci_events e ON e.id = s.event_id
         WHERE s.pos > ? AND s.pos <= ? ${userId === null ? '' : 'AND s.user_id = ?'}
         ORDER BY s.pos LIMIT ${Math.floor(limit)}`,
        [after, upTo, ...(userId === null ? [] : [userId])],
      )
      return rows.map(placedFrom)
    },
    oldest: async () => {
      const [row] = await db.all<{ oldest: number | null }>('SELECT MIN(pos) AS oldest FROM kunci_stream')
      return row?.oldest ?? null
    },
    removeOld: async (beforeMs) => {
      // By position: what is kept has no gap, so that its first position tells whether anything is missing.
      const sql = 'SELECT MAX(pos) AS last FROM kunci_stream WHERE created_at_ms < ?'
      const [row] = await db.all<{ last: number | null }>(sql, [beforeMs])
      return row === undefined || row.last === null
        ? 0
        : db.run('DELETE FROM kunci_stream WHERE pos <= ?', [row.last])
    },
  }
}
