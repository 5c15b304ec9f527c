import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import type { SessionRow } from '../store/session-rows.ts'
import type { SessionStore, Stamp } from '../store/sessions.ts'
import { Flusher } from './flusher.ts'

/** A session's last activity is written at most so often. */
export const STAMP_EVERY_MS = 60_000
const BATCH_MAX = 200
const WAITING_MAX = 100_000

/** When sessions were last used: remembered at each request, written rarely and together. */
export class SessionActivity {
  readonly #store: Pick<SessionStore, 'stamp'>
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #waiting = new Map<string, Stamp>()
  /** Of sessions whose row, as it was read, may not say so yet. */
  readonly #stamped = new LRUCache<string, number>({ max: WAITING_MAX })
  readonly #flusher = new Flusher(() => this.#flushWaiting())

  constructor(
    store: Pick<SessionStore, 'stamp'>,
    { clock, onError }: { clock: Clock; onError: (error: unknown) => void },
  ) {
    this.#store = store
    this.#clock = clock
    this.#onError = onError
  }

  /** Notes a request of a session. */
  touch({ sessionId, lastActivityMs }: SessionRow, from: Pick<Stamp, 'ipAddress' | 'userAgent'>): void {
    const atMs = this.#clock()
    const knownMs = Math.max(lastActivityMs, this.#stamped.get(sessionId) ?? 0)
    // What lies ahead was noted by a clock that was put back since.
    const isDue = Math.abs(atMs - knownMs) >= STAMP_EVERY_MS
    if (!isDue && !this.#waiting.has(sessionId)) return
    if (this.#waiting.size >= WAITING_MAX && !this.#waiting.has(sessionId)) return
    this.#waiting.set(sessionId, { sessionId, atMs, ...from })
  }

  /** Writes what has been noted. What cannot be written now is tried again with the next. */
  flush(): Promise<void> {
    return this.#flusher.flush()
  }

  close(): Promise<void> {
    return this.#flusher.close()
  }

  async #flushWaiting(): Promise<void> {
    const stamps = [...this.#waiting.values()]
    this.#waiting.clear()
    try {
      for (; stamps.length > 0; stamps.splice(0, BATCH_MAX)) {
        const batch = stamps.slice(0, BATCH_MAX)
        await this.#store.stamp(batch)
        for (const { sessionId, atMs } of batch) this.#stamped.set(sessionId, atMs)
      }
    } catch (error) {
      for (const stamp of stamps)
        if (!this.#waiting.has(stamp.sessionId)) this.#waiting.set(stamp.sessionId, stamp)
      this.#onError(error)
    }
  }
}
