import type { Clock } from '../clock.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { SessionKeyStore } from '../store/session-keys.ts'

const EVERY_MS = 60_000
const BATCH_ROWS = 5000
const RUN_MAX_MS = 30_000
/** A row is kept a minute beyond its end, so that whoever comes late is still told that his session expired. */
const GRACE_MS = 60_000

export type Cleanup = ReturnType<typeof createCleanup>

/** Removes session keys that are long over, wherever no EVENT of the database does it, and blocks that have ended. */
export function createCleanup(deps: {
  store: SessionKeyStore
  blocks: BlockStore
  clock: Clock
  onError: (error: unknown) => void
}) {
  const { store, blocks, clock, onError } = deps
  let running: Promise<unknown> = Promise.resolve()
  let isStopped = false

  /** Removes in batches until none is left, 30 seconds have passed or it is stopped. @returns how many rows went. */
  async function run(): Promise<number> {
    let removed = 0
    for (const startMs = performance.now(); !isStopped && performance.now() - startMs < RUN_MAX_MS; ) {
      const batch = await store.removeExpired(clock() - GRACE_MS, BATCH_ROWS)
      removed += batch
      if (batch < BATCH_ROWS) break
    }
    return removed
  }

  /** Looks each minute whether the database cleans by itself, and does it in its stead while it does not. */
  function start(): { stop: () => Promise<void> } {
    const timer = setInterval(() => {
      running = (async () => {
        await blocks.removeEnded(clock())
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
