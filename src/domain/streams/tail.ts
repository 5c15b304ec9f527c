import type { Clock } from '../../clock.ts'
import type { PlacedEvent, StreamStore } from '../../store/stream.ts'

/** How long an event of another process may lie there before it is seen; those of this one are seen at once. */
const EVERY_MS = 250
const PLACE_MAX = 200
const PAGE = 500

/** Takes what is new, in order; called before the position moves on to anything else. */
export type Deliver = (events: readonly PlacedEvent[]) => void

export type Tail = ReturnType<typeof createTail>

/**
 * Follows the stream while somebody listens, and gives positions to what was committed without one. Loses nothing however
 * late a writer commits, and needs nobody to tell it: whoever can poke it is only heard sooner.
 */
export function createTail(deps: { store: StreamStore; clock: Clock; onError: (error: unknown) => void }) {
  const { store, clock, onError } = deps
  let deliver: Deliver | undefined
  /** All up to here is delivered; `undefined` until the first look. */
  let position: number | undefined
  let timer: NodeJS.Timeout | undefined
  let last: Promise<unknown> = Promise.resolve()
  let next: Promise<void> | undefined
  let isWell = true

  async function deliverUpTo(head: number): Promise<void> {
    while (position !== undefined && position < head) {
      const events = await store.read({ after: position, upTo: head, userId: null, limit: PAGE })
      if (position === undefined) return
      position = events.length < PAGE ? head : (events.at(-1)?.position ?? head)
      deliver?.(events)
    }
  }

  async function lookOnce(): Promise<void> {
    for (let isMore = true; isMore && deliver !== undefined; ) {
      const { head, hasUnplaced } = await store.state()
      position ??= head
      await deliverUpTo(head)
      if (hasUnplaced) await store.place(clock(), PLACE_MAX)
      isMore = hasUnplaced
    }
    isWell = true
  }

  /**
   * Settles once all is delivered that was committed before the call: those who ask while one look is under way share the
   * next. @throws {StoreError}
   */
  function look(): Promise<void> {
    if (next !== undefined) return next
    const turn = last.then(() => {
      next = undefined
      return lookOnce()
    })
    next = turn
    last = turn.catch(() => undefined)
    return turn
  }

  /** Once in a row: it is tried four times a second. */
  function report(error: unknown): void {
    if (isWell && deliver !== undefined) onError(error)
    isWell = false
  }

  return {
    look,
    /** Something was told on this process, and is committed. */
    poke: (): void => {
      if (deliver !== undefined) look().catch(report)
    },
    follow: (listener: Deliver): void => {
      deliver = listener
      timer = setInterval(() => look().catch(report), EVERY_MS).unref()
    },
    leave: (): void => {
      clearInterval(timer)
      deliver = undefined
      position = undefined
    },
    /** All up to here is delivered. 0 before the first look. */
    position: (): number => position ?? 0,
  }
}
