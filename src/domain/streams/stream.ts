import type { OwnedSession } from '../../store/sessions.ts'
import type { StreamedEvent } from '../../store/stream.ts'
import type { TicketUse } from '../../store/stream-tickets.ts'
import { isOperator } from '../sessions.ts'
import { asLast, type StreamMessage } from './messages.ts'

/** The far end of a stream. */
export type Reader = {
  /** Takes messages that belong together, in order. */
  send(messages: readonly StreamMessage[]): void
  /** Shows that the stream lives, and that all up to this position was sent. */
  beat(position: number): void
  /** Settles when what was sent is taken, or never will be. */
  drained(): Promise<void>
  /** Nothing more will come; whoever reads may come back. */
  end(): void
}

export type StreamWish = {
  readonly session: OwnedSession
  /** Whether it stays open, or is a question that waits for its answer. */
  readonly kind: 'stream' | 'poll'
  /** The last position that the reader knows; `null`: he wants a snapshot. */
  readonly after: number | null
  /** What it is opened with, where that is a ticket. */
  readonly ticket: TicketUse | null
}

/** One reader and what he was sent. */
export class Stream {
  readonly wish: StreamWish
  /** Whether all that happened before is sent, and what happens now comes next. */
  isCaughtUp = false
  readonly #onClose: () => void
  #reader: Reader | undefined
  #position: number
  #isOver = false

  /** @param onClose is called once. */
  constructor(wish: StreamWish, onClose: () => void) {
    this.wish = wish
    this.#onClose = onClose
    this.#position = wish.after ?? 0
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** All that the reader may see up to here was sent. */
  get position(): number {
    return this.#position
  }

  /** Whether this reader may see it, and has not. */
  lacks({ userId, position }: Pick<StreamedEvent, 'userId'> & { readonly position: number }): boolean {
    const { user } = this.wish.session
    return position > this.#position && (isOperator(user.role) || user.id === userId)
  }

  connect(reader: Reader): void {
    if (this.#isOver) reader.end()
    else this.#reader = reader
  }

  /** Sends messages, up to the end of the session that the stream belongs to. */
  give(messages: readonly StreamMessage[]): void {
    const last = messages.at(-1)
    if (this.#isOver || last === undefined) return
    this.#position = last.id
    const { sessionId } = this.wish.session
    const end = messages.findIndex(
      ({ event, data }) => event === 'session_ended' && data.sessionId === sessionId,
    )
    if (end === -1) return void this.#reader?.send(messages)
    this.#reader?.send([...messages.slice(0, end), ...messages.slice(end, end + 1).map(asLast)])
    this.finish()
  }

  /** Nothing that the reader may see lies between where he is and this position. */
  moveOn(position: number): void {
    this.#position = Math.max(this.#position, position)
  }

  beat(): void {
    this.#reader?.beat(this.#position)
  }

  drained(): Promise<void> | undefined {
    return this.#reader?.drained()
  }

  /** The reader has gone. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#onClose()
  }

  /** Ends the stream; its reader may come back. */
  finish(): void {
    this.close()
    this.#reader?.end()
  }
}
