import type { Clock } from '../clock.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { MessageStore } from '../store/messages.ts'
import type { SessionKeyStore } from '../store/session-keys.ts'
import type { SessionExpiry } from './session-expiry.ts'
import type { StreamRetention } from './streams/retention.ts'

const EVERY_MS = 60_000
const BATCH_ROWS = 5000
const RUN_MAX_MS = 30_000
/** A row is kept a minute beyond its end, so that whoever comes late is still told that his session expired. */
const GRACE_MS = 60_000
/** How long a client may ask again, in another session, for what it asked already. */
const IDEMPOTENT_MS = 24 * 60 * 60_000

export type Cleanup = ReturnType<typeof createCleanup>

/**
 * Removes session keys and messages that are long over, wherever no EVENT of the database does it, blocks that have
 * ended, answers that nobody asks for again, what became of users' sessions longer ago than history is kept, and what no
 * stream tells any more.
 */
export function createCleanup(deps: {
  store: SessionKeyStore
  messages: MessageStore
  blocks: BlockStore
  expiry: SessionExpiry
  streams: StreamRetention
  clock: Clock
  onError: (error: unknown) => void
}) {
  const { store, messages, blocks, expiry, streams, clock, onError } = deps
  let running: Promise<unknown> = Promise.resolve()
  let isStopped = false

  /** Removes in batches until none is left, 30 seconds have passed or it is stopped. @returns how many rows went. */
  async function inBatches(removeExpired: SessionKeyStore['removeExpired']): Promise<number> {
    let removed = 0
    for (const startMs = performance.now(); !isStopped && performance.now() - startMs < RUN_MAX_MS; ) {
      const batch = await removeExpired(clock() - GRACE_MS, BATCH_ROWS)
      removed += batch
      if (batch < BATCH_ROWS) break
    }
    return removed
  }

  /** @returns how many session keys went; their messages go with them. */
  async function run(): Promise<number> {
    const removed = await inBatches(store.removeExpired)
    await inBatches(messages.removeExpired)
    return removed
  }

  /** Looks each minute whether the database cleans by itself, and does it in its stead while it does not. */
  function start(): { stop: () => Promise<void> } {
    const timer = setInterval(() => {
      running = (async () => {
        await blocks.removeEnded(clock())
        await messages.removeIdempotent(clock() - IDEMPOTENT_MS)
        await expiry.endOverdue()
        await expiry.removeHistory()
        await streams.removeOld()
        if (!(await store.hasLivingEvent())) await run()
      })().catch(onError)
    }, EVERY_MS).unref()
    return {
      stop: async () => {
        isStopped = true
        clearInterval(timer)
        await running
      },
    }
  }

  return { run, start, hasLivingEvent: () => store.hasLivingEvent() }
}
