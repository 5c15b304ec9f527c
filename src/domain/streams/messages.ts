import type { PlacedEvent } from '../../store/stream.ts'

/** What a stream carries, whichever way it is read. */
export type StreamMessage = {
  /** The position after which a reader goes on who has seen it. */
  readonly id: number
  /** The type of the event, or `snapshot`. */
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** An event as those read it who may see it. */
export function messageOf({ position, type, atMs, userId, sessionId, detail }: PlacedEvent): StreamMessage {
  const facts = Object.entries(detail).map(([name, value]) => [camelCase(name), value])
  const at = new Date(atMs).toISOString()
  return { id: position, event: type, data: { type, at, userId, sessionId, ...Object.fromEntries(facts) } }
}

/** The same message, for the stream whose own session is over: whoever reads it need not come back. */
export function asLast({ id, event, data }: StreamMessage): StreamMessage {
  return { id, event, data: { ...data, reconnect: 'never' } }
}
