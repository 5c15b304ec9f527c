import { Coalescer } from './engine/coalescer.ts'
import { type Database, insertMany, paddedList, placeholders } from './engine/database.ts'

/** What opens a stream in the place of a token. */
export type StreamTicket = {
  /** SHA-256 in hex. */
  readonly hash: string
  readonly userId: number
  readonly sessionId: string
  readonly createdAtMs: number
}

/** A ticket as it was used: `uses` times by now. */
export type TicketUse = { readonly hash: string; readonly sessionId: string; readonly uses: number }

export type StreamTicketStore = {
  create(ticket: StreamTicket): Promise<void>
  /**
   * Uses a ticket: for the first time when it was made at `sinceMs` or later, and `again` after that.
   * @returns `null` when it opens nothing.
   */
  use(hash: string, terms: { readonly sinceMs: number; readonly again: boolean }): Promise<TicketUse | null>
  /** How often a ticket was used; those that are asked about at the same moment are read in one statement. */
  usesOf(hash: string): Promise<number>
  /** Removes what was made before the given time and never used, or whose session had ended by then. */
  removeOld(beforeMs: number): Promise<number>
}

const COUNT_MAX = 64

export function streamTicketStore(db: Database): StreamTicketStore {
  const counts = new Coalescer<string, number>(
    async (hashes) => {
      const wanted = paddedList(hashes)
      const rows = await db.all<{ ticket_hash: string; uses: number }>(
        `SELECT ticket_hash, uses FROM kunci_stream_tickets WHERE ticket_hash IN (${placeholders(wanted.length)})`,
        wanted,
      )
      const found = new Map(rows.map(({ ticket_hash, uses }) => [ticket_hash, uses]))
      return hashes.map((hash) => found.get(hash) ?? 0)
    },
    { maxItems: COUNT_MAX, lanes: 1 },
  )
  return {
    create: async ({ hash, userId, sessionId, createdAtMs }) => {
      const columns = ['ticket_hash', 'user_id', 'session_id', 'created_at_ms', 'uses']
      await db.run(
        ...insertMany('kunci_stream_tickets', columns, [[hash, userId, sessionId, createdAtMs, 0]]),
      )
    },
    use: (hash, { sinceMs, again }) =>
      db.transaction(async (tx) => {
        const isGood = `(uses = 0 AND created_at_ms >= ?)${again ? ' OR uses > 0' : ''}`
        const sql = `UPDATE kunci_stream_tickets SET uses = uses + 1 WHERE ticket_hash = ? AND (${isGood})`
        if ((await tx.run(sql, [hash, sinceMs])) !== 1) return null
        const [row] = await tx.all<{ session_id: string; uses: number }>(
          'SELECT session_id, uses FROM kunci_stream_tickets WHERE ticket_hash = ?',
          [hash],
        )
        return row === undefined ? null : { hash, sessionId: row.session_id, uses: row.uses }
      }),
    usesOf: (hash) => counts.submit(hash),
    removeOld: (beforeMs) =>
      db.run(
        `DELETE FROM kunci_stream_tickets WHERE created_at_ms < ? AND (uses = 0 OR NOT EXISTS (
           SELECT 1 FROM user_sessions s WHERE s.session_id = kunci_stream_tickets.session_id
             AND (s.is_active = 1 OR s.logout_at >= ?)))`,
        [beforeMs, beforeMs],
      ),
  }
}
