import { Coalescer } from './engine/coalescer.ts'
import { type Database, DuplicateKeyError, insertMany } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'

export type KeySet = {
  /** Grows by one with each set. */
  readonly seq: number
  /** Compact JWS, at most 32,768 characters. */
  readonly jws: string
  readonly signedMs: number
}

export type KeySetStore = {
  newest(): Promise<KeySet | null>
  /** @returns `false` when another set took this number first. */
  add(set: KeySet, event: EventRow): Promise<boolean>
}

export function keySetStore(db: Database): KeySetStore {
  const newest = new Coalescer<undefined, KeySet | null>(
    async (callers) => {
      const [row] = await db.all(
        'SELECT seq, jws, signed_at_ms FROM kunci_key_sets ORDER BY seq DESC LIMIT 1',
      )
      const set =
        row === undefined
          ? null
          : { seq: Number(row.seq), jws: String(row.jws), signedMs: Number(row.signed_at_ms) }
      return callers.map(() => set)
    },
    { maxItems: 1000, lanes: 1 },
  )
  return {
    newest: () => newest.submit(undefined),
    add: async ({ seq, jws, signedMs }, event) => {
      try {
        await db.batch([
          insertMany('kunci_key_sets', ['seq', 'jws', 'signed_at_ms'], [[seq, jws, signedMs]]),
          insertEvents([event]),
        ])
        return true
      } catch (error) {
        if (error instanceof DuplicateKeyError) return false
        throw error
      }
    },
  }
}
