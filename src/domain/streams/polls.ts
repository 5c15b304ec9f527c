import type { OwnedSession } from '../../store/sessions.ts'
import type { Streams } from './hub.ts'
import type { StreamMessage } from './messages.ts'

export type PollWish = {
  readonly session: OwnedSession
  /** The last position that the caller knows; `null`: he wants a snapshot. */
  readonly after: number | null
  /** How long he waits for something to happen. */
  readonly waitMs: number
}

/** A stream for those who can only ask and be answered: opened, read once, and closed. */
export function createPolls(streams: Streams) {
  /**
   * @param gone is aborted when nobody waits for the answer any more.
   * @returns what happened after `after`, at once or as soon as something does; nothing when nothing did.
   * @throws {AppError} `too_many_streams`. @throws {StoreError}
   */
  return async function poll(
    { session, after, waitMs }: PollWish,
    gone: AbortSignal,
  ): Promise<{ events: readonly StreamMessage[]; lastId: number }> {
    const events: StreamMessage[] = []
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
    const stream = streams.open({ kind: 'poll', session, after, ticket: null })
    const timer = setTimeout(answer, waitMs)
    gone.addEventListener('abort', () => answer())
    try {
      await stream.begin(() => ({
        send: (messages) => {
          events.push(...messages)
          answer()
        },
        beat: () => undefined,
        drained: async () => undefined,
        end: answer,
      }))
      if (events.length === 0) await answered
      return { events, lastId: stream.position() }
    } finally {
      clearTimeout(timer)
      stream.close()
    }
  }
}
