import { type Database, type Statement, upsert } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'

export type BlockStore = {
  /** When the block of this address ends, or `null` when there is none in force. */
  find(address: string, nowMs: number): Promise<number | null>
  /** Removes blocks that are over. */
  removeEnded(nowMs: number): Promise<void>
  block(address: string, untilMs: number, nowMs: number, event: EventRow): Promise<void>
}

export function blockStore(db: Database): BlockStore {
  return {
    find: async (address, nowMs) => {
      const [row] = await db.all<{ until_ms: number }>(
        'SELECT until_ms FROM kunci_blocks WHERE address = ? AND until_ms > ?',
        [address, nowMs],
      )
      return row?.until_ms ?? null
    },
    removeEnded: async (nowMs) => {
      await db.run('DELETE FROM kunci_blocks WHERE until_ms <= ?', [nowMs])
    },
    block: (address, untilMs, nowMs, event) => {
      const row = { address, until_ms: untilMs, created_at_ms: nowMs }
      const statement: Statement = upsert(db.dialect, 'kunci_blocks', row, {
        key: 'address',
        set: ['until_ms'],
      })
      return db.batch([statement, insertEvents([event])])
    },
  }
}
