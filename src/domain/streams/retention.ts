import type { Clock } from '../../clock.ts'
import type { StreamStore } from '../../store/stream.ts'
import type { StreamTicketStore } from '../../store/stream-tickets.ts'

/** How long a reader may stay away and still be told what he missed. */
const KEPT_MS = 24 * 60 * 60_000
const PLACE_MAX = 200

export type StreamRetention = ReturnType<typeof createStreamRetention>

/** Forgets what no reader is told any more. The events themselves stay in the record. */
export function createStreamRetention(deps: {
  store: StreamStore
  tickets: StreamTicketStore
  clock: Clock
}) {
  const { store, tickets, clock } = deps

  /** @throws {StoreError} */
  async function removeOld(): Promise<void> {
    // While nobody listens nothing gets a position, and what has none could not be missed when it is gone.
    while ((await store.state()).hasUnplaced) await store.place(clock(), PLACE_MAX)
    const beforeMs = clock() - KEPT_MS
    await store.removeOld(beforeMs)
    await tickets.removeOld(beforeMs)
  }

  return { removeOld }
}
