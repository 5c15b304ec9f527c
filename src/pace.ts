const TURN_MS = 0.6

/**
 * Does pieces of work that take a part of a millisecond each, and may be asked for many at a time, without keeping the
 * event loop from everything else: as many in one turn of it as begin within {@link TURN_MS}, the others in the next ones,
 * in the order in which they came. A lone piece is done in this turn.
 */
export class Pace {
  #waiting: (() => void)[] = []
  #isGoing = false

  /** @returns what `work` returns, or rejects with what it throws. */
  run<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
      if (!this.#isGoing) this.#goOn()
    })
  }

  #goOn(): void {
    this.#isGoing = true
    setImmediate(() => {
      const endMs = performance.now() + TURN_MS
      let done = 0
      for (const piece of this.#waiting) {
        piece()
        done++
        if (performance.now() > endMs) break
      }
      this.#waiting = this.#waiting.slice(done)
      this.#isGoing = false
      if (this.#waiting.length > 0) this.#goOn()
    })
  }
}
