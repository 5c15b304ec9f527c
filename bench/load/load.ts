/** One request of a load. */
export type Shot = {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** The header Authorization, for a request that has one. */
  readonly authorization?: string
  /** JSON. */
  readonly body?: string
}

/** Requests that are sent over and over, each connection sending its next one as soon as it has its answer. */
export type Load = {
  /** Such as `http://127.0.0.1:3000`. */
  readonly baseUrl: string
  readonly shots: readonly Shot[]
  /** What the body of every good answer holds. */
  readonly success: string
  readonly connections: number
  readonly seconds: number
}

/** What is sent, and how a good answer is told from others. */
export type Requests = Pick<Load, 'shots' | 'success'>

/** What a driver saw. Every driver reports the same members. */
export type Figures = {
  /** Requests that were answered. */
  readonly requests: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** How often each kind of error happened; a kind that did not is not named. */
  readonly errors: Readonly<Record<string, number>>
  /** The first answer that was no success: its status and at most 200 characters of its body. */
  readonly firstBad?: string
}

export type Driver = {
  readonly name: 'wrk' | 'autocannon'
  readonly version: string
  /** @throws {Error} when the load could not be put on at all. */
  run(load: Load): Promise<Figures>
}

/** Of all kinds of errors only those that happened. */
export function happened(errors: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(errors).filter(([, count]) => count > 0))
}

export function rateOf({ requests, seconds }: Figures): number {
  return requests / seconds
}
