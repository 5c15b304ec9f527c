import { insertMany, type Statement } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'

/** An event that live streams carry besides: to the user it is about, and to operators. */
export type StreamedEvent = {
  readonly event: EventRow
  readonly userId: number
  /** The session it is about, if it is about one. */
  readonly sessionId: string | null
}

/** The statements that write events and put them into the stream, to go into the transaction of what they record. */
export function insertStreamed(streamed: readonly StreamedEvent[]): Statement[] {
  if (streamed.length === 0) return []
  return [
    insertEvents(streamed.map(({ event }) => event)),
    insertMany(
      'kunci_stream',
      ['event_id', 'user_id', 'session_id', 'created_at_ms'],
      streamed.map(({ event, userId, sessionId }) => [event.id, userId, sessionId, event.atMs]),
    ),
  ]
}
