import type { StreamStore } from '../../store/stream.ts'
import { isOperator } from '../sessions.ts'
import { messageOf } from './messages.ts'
import type { Stream } from './stream.ts'
import type { Tail } from './tail.ts'

/** Whoever missed more than this is told how things are instead. */
const REPLAY_MAX = 10_000
const PAGE = 100

/** What happened between the position that a reader knows and now. */
export function createReplays({ store, tail }: { store: StreamStore; tail: Tail }) {
  /** Whether all that came after this position is still there to be told. @throws {StoreError} */
  async function canReplay(after: number | null): Promise<boolean> {
    if (after === null) return false
    const { head } = await store.state()
    if (after > head || head - after > REPLAY_MAX) return false
    return after === head || after + 1 >= ((await store.oldest()) ?? head + 1)
  }

  /** Sends what the reader lacks, no faster than he takes it. @throws {StoreError} */
  async function catchUp(stream: Stream): Promise<void> {
    const { user } = stream.wish.session
    const userId = isOperator(user.role) ? null : user.id
    for (let after = stream.position; !stream.isOver; ) {
      await stream.drained()
      const upTo = tail.position()
      if (after >= upTo) break
      const events = await store.read({ after, upTo, userId, limit: PAGE })
      stream.give(events.map(messageOf))
      after = events.length < PAGE ? upTo : (events.at(-1)?.position ?? upTo)
      stream.moveOn(after)
    }
    // In the same turn of the event loop in which the tail was found to be no further.
    stream.isCaughtUp = true
  }

  return { canReplay, catchUp }
}
