import type { Clock } from '../../clock.ts'
import { AppError } from '../../errors.ts'
import { Slots } from '../../slots.ts'
import type { PlacedEvent, StreamStore } from '../../store/stream.ts'
import type { StreamTicketStore } from '../../store/stream-tickets.ts'
import type { Sessions } from '../sessions.ts'
import { createLookout } from './lookout.ts'
import { messageOf } from './messages.ts'
import { createReplays } from './replays.ts'
import { createSnapshots } from './snapshots.ts'
import { type Reader, Stream, type StreamWish } from './stream.ts'
import type { Tail } from './tail.ts'

/** How often each stream shows that it lives, and it is looked whether its session does. */
export const BEAT_MS = 15_000
/** How many a session may have open at once in this process. */
export const OPEN_MAX = { stream: 10, poll: 20 } as const
const LOOKS_AT_ONCE = 64

export type Streams = ReturnType<typeof createStreams>

/**
 * The streams of this process. Each begins with a snapshot, or with what its reader missed, and goes on with what happens:
 * to users what is about them, to operators all.
 */
export function createStreams(deps: {
  store: StreamStore
  tail: Tail
  sessions: Sessions
  tickets: Pick<StreamTicketStore, 'usesOf'>
  clock: Clock
  onError: (error: unknown) => void
}) {
  const { tail, onError } = deps
  const snapshots = createSnapshots(deps)
  const replays = createReplays(deps)
  const lookout = createLookout(deps)
  const streams = new Slots<Stream>()
  let timer: NodeJS.Timeout | undefined
  let isClosing = false

  /** @throws {AppError} `too_many_streams`. */
  function admit(wish: StreamWish): Stream {
    const { session, kind, ticket } = wish
    const own = streams.all().filter((other) => other.wish.session.sessionId === session.sessionId)
    const isDisplaced = (other: Stream) => ticket !== null && other.wish.ticket?.hash === ticket.hash
    const staying = own.filter((other) => other.wish.kind === kind && !isDisplaced(other))
    if (staying.length >= OPEN_MAX[kind]) throw new AppError('too_many_streams')
    const stream = new Stream(wish, () => leave(place))
    const place = streams.add(stream)
    if (streams.size === 1) wake()
    for (const other of own.filter(isDisplaced)) other.finish()
    return stream
  }

  function wake(): void {
    tail.follow(deliver)
    timer = setInterval(() => void beat(), BEAT_MS).unref()
  }

  function leave(place: number): void {
    streams.take(place)
    if (streams.size > 0) return
    tail.leave()
    clearInterval(timer)
  }

  function deliver(events: readonly PlacedEvent[]): void {
    const listening = streams.all().filter(({ isCaughtUp }) => isCaughtUp)
    const told = events.map((event) => ({ event, message: messageOf(event) }))
    for (const stream of listening)
      stream.give(told.filter(({ event }) => stream.lacks(event)).map(({ message }) => message))
  }

  /** @param connect is called once nothing can be refused any more. @throws {StoreError} before that. */
  async function begin(stream: Stream, connect: () => Reader): Promise<void> {
    const { session, after } = stream.wish
    try {
      await tail.look()
      const snapshot = (await replays.canReplay(after)) ? undefined : await snapshots.take(session)
      stream.connect(connect())
      if (snapshot !== undefined) stream.give([snapshot])
    } catch (error) {
      stream.close()
      throw error
    }
    try {
      await replays.catchUp(stream)
    } catch (error) {
      onError(error)
      stream.finish()
    }
    if (isClosing) stream.finish()
  }

  /** Shows all readers that their streams live, and ends those whose sessions do not. */
  async function beat(): Promise<void> {
    const all = streams.all()
    try {
      for (let i = 0; i < all.length; i += LOOKS_AT_ONCE)
        await Promise.all(all.slice(i, i + LOOKS_AT_ONCE).map(lookout.lookAfter))
    } catch (error) {
      onError(error)
      // Nobody knows whose sessions live: no stream goes on without that.
      finishAll()
    }
  }

  function finishAll(): void {
    for (const stream of streams.all()) stream.finish()
  }

  return {
    /**
     * Makes room for a stream: `begin` sends what it begins with, and then whatever happens until `close`.
     * @throws {AppError} `too_many_streams`.
     */
    open: (wish: StreamWish) => {
      const stream = admit(wish)
      return {
        begin: (connect: () => Reader) => begin(stream, connect),
        close: () => stream.close(),
        position: () => stream.position,
      }
    },
    beat,
    size: () => streams.size,
    /** Ends all streams, and from now on each as soon as it has begun: their readers find another process. */
    close: (): void => {
      isClosing = true
      finishAll()
    },
  }
}
