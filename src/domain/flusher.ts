const FLUSH_MS = 2000

/** Has what gathers in memory written every other second, one write after another. */
export class Flusher {
  readonly #write: () => Promise<void>
  readonly #timer: NodeJS.Timeout
  #flushing: Promise<void> = Promise.resolve()

  /** @param write writes what has gathered, and sees to its own errors. */
  constructor(write: () => Promise<void>) {
    this.#write = write
    this.#timer = setInterval(() => void this.flush(), FLUSH_MS).unref()
  }

  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(this.#write)
    return this.#flushing
  }

  /** Writes once more, and then no longer by itself. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.flush()
  }
}
