const PLACES = 1024
/** Of keys that are hex only, and end in digits that are spread evenly. */
const PLACE_DIGITS = 7

type Known<T> = { readonly key: string; readonly value: T; readonly untilMs: number }

/**
 * What was learnt a moment ago. Each key has one place, which the next key that falls on it takes: nothing has to be
 * tidied up. There are few places on purpose: what outlives a young collection is what the pauses of Node are made of.
 */
export class Recent<T> {
  readonly #places: (Known<T> | undefined)[] = Array.from({ length: PLACES })
  readonly #forMs: number

  /** @param forMs how many milliseconds a value is known. */
  constructor(forMs: number) {
    this.#forMs = forMs
  }

  get(key: string): T | undefined {
    const known = this.#places[placeOf(key)]
    return known?.key === key && known.untilMs > performance.now() ? known.value : undefined
  }

  /** @param sinceMs when the value was true, by `performance.now()`: before it was read. */
  set(key: string, value: T, sinceMs: number): void {
    this.#places[placeOf(key)] = { key, value, untilMs: sinceMs + this.#forMs }
  }

  delete(key: string): void {
    const place = placeOf(key)
    if (this.#places[place]?.key === key) this.#places[place] = undefined
  }
}

function placeOf(key: string): number {
  return Number.parseInt(key.slice(-PLACE_DIGITS), 16) & (PLACES - 1)
}
