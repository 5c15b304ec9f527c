/**
 * A collection whose members come and go all the time. A Map or Set would keep those that left, and all they refer to,
 * until the next full collection: the tables it outgrows point to each other, and one that grew old holds all younger
 * ones. Places in an array that are used again hold nothing.
 */
export class Slots<T extends object> {
  readonly #places: (T | undefined)[] = []
  readonly #free: number[] = []

  get size(): number {
    return this.#places.length - this.#free.length
  }

  /** @returns the place by which it is taken out again. */
  add(member: T): number {
    const place = this.#free.pop() ?? this.#places.length
    this.#places[place] = member
    return place
  }

  /** Takes a member out; `undefined` when its place is empty. */
  take(place: number): T | undefined {
    const member = this.#places[place]
    if (member === undefined) return undefined
    this.#places[place] = undefined
    this.#free.push(place)
    return member
  }

  /** Those that are in now. */
  all(): T[] {
    return this.#places.filter((member) => member !== undefined)
  }
}
