import { createHash } from 'node:crypto'
import { toCrockford } from '../crypto/licence-key.ts'
import type { EventRow } from '../store/events.ts'
import { Flusher } from './flusher.ts'
import { eventIdPrefix } from './ids.ts'

const MINUTE_MS = 60_000
const SLICE_ROWS = 200
/** Beyond so many causes and addresses a minute the rest shares one row a cause: nobody fills memory or disk with them. */
const KEYS_MAX = 10_000
/** Of minutes in which the database was away at most so many rows are kept for later. */
const WAITING_MAX = 2 * KEYS_MAX

/** Refusals of people unknown: one counted row per cause, address and minute, whichever process counts. */
export class Refusals {
  readonly #write: (rows: readonly EventRow[]) => Promise<void>
  readonly #onError: (error: unknown) => void
  readonly #waiting = new Map<string, EventRow>()
  readonly #flusher = new Flusher(() => this.#flushWaiting())
  #minute = { atMs: 0, ids: new Set<string>() }

  constructor(write: (rows: readonly EventRow[]) => Promise<void>, onError: (error: unknown) => void) {
    this.#write = write
    this.#onError = onError
  }

  /** @param event one refusal; its id and time become those of its minute. */
  add(event: EventRow): void {
    const atMs = Math.floor(event.atMs / MINUTE_MS) * MINUTE_MS
    if (this.#minute.atMs !== atMs) this.#minute = { atMs, ids: new Set() }
    const own = { ...event, id: idOf(event, atMs), atMs }
    const isKnown = this.#minute.ids.has(own.id) || this.#minute.ids.size < KEYS_MAX
    if (isKnown) this.#minute.ids.add(own.id)
    const row = isKnown ? own : { ...own, id: idOf({ ...event, address: null }, atMs), address: null }
    this.#keep(row)
  }

  /** Writes what has been counted. What cannot be written now is tried again with the next. */
  flush(): Promise<void> {
    return this.#flusher.flush()
  }

  close(): Promise<void> {
    return this.#flusher.close()
  }

  #keep(row: EventRow): void {
    const before = this.#waiting.get(row.id)
    this.#waiting.set(row.id, { ...row, count: row.count + (before?.count ?? 0) })
  }

  async #flushWaiting(): Promise<void> {
    const rows = [...this.#waiting.values()]
    this.#waiting.clear()
    try {
      // In slices, so that a flood of addresses holds up nobody else's writes for long.
      for (; rows.length > 0; rows.splice(0, SLICE_ROWS)) await this.#write(rows.slice(0, SLICE_ROWS))
    } catch (error) {
      for (const row of rows.slice(0, Math.max(0, WAITING_MAX - this.#waiting.size))) this.#keep(row)
      this.#onError(error)
    }
  }
}

/** The same for every process that counts the same cause, address and minute: their counts meet in one row. */
function idOf({ type, address }: EventRow, minuteMs: number): string {
  const digest = createHash('sha256').update(`${type} ${address}`).digest().subarray(0, 10)
  return eventIdPrefix(minuteMs) + toCrockford(digest)
}
