import { isObject, type JsonObject } from './json.ts'
import type { Lease } from './lease.ts'
import type { LeaseVerdict } from './lease-state.ts'
import type { Answer } from './records.ts'
import type { Reason } from './unavailable.ts'

/** The machine's place among those that may run at once. */
export type SeatFacts = {
  /** How many there are. */
  readonly seats: number
  /** It is free in so many seconds, unless the machine is heard again. */
  readonly lapses_in_s: number
  /** Another machine asks for it: it is free in so many seconds, unless it is kept. */
  readonly yield_by_s?: number
}

/** What the server says of a licence, as it stands in the reply. */
export type LicenceData = {
  readonly valid?: boolean
  /** A compact JWS, see `verifyLease`. */
  readonly lease?: string
  readonly check_again_after_s?: number
  /** To be told to the vendor. */
  readonly support_code?: string
  /** For the user, in the language that was asked for. */
  readonly message?: string
  readonly device?: { readonly id: string }
  readonly entitlements?: readonly unknown[]
  readonly variables?: Readonly<Record<string, unknown>>
  /** Only where the licence counts its seats. */
  readonly seat?: SeatFacts
}

/** The tool may run: the server said so. */
export type Allowed = LicenceData & {
  readonly outcome: 'allowed'
  readonly source: 'server'
  readonly code: 'ok'
  /** Whether the reply's lease is now in the store, for when there is no server. */
  readonly leaseKept: boolean
}

/** The tool may run: there was no answer, and a lease covers for it. */
export type AllowedByLease = {
  readonly outcome: 'allowed'
  readonly source: 'lease'
  readonly code: 'lease' | 'grace'
  /** `grace`: it has run out, and the tool should say so. */
  readonly state: 'ok' | 'grace'
  readonly lease: Lease
  readonly reason: Reason
}

/** The tool may not run: the server said so. */
export type Denied = LicenceData & {
  readonly outcome: 'denied'
  readonly source: 'server'
  /** `licence_invalid`, `licence_expired`, `device_limit`, `device_weak` or `seat_limit`. */
  readonly code: string
  /** `seat_limit`: how many seats there are. */
  readonly seats?: number
  /** `seat_limit`: asking again makes sense in so many seconds. */
  readonly retry_in?: number
  /** `seat_limit`: another machine has just taken this one's seat. Ask the user before you check again. */
  readonly kicked?: boolean
}

/** Nobody said anything that can be trusted, and no lease counts. */
export type Unavailable = {
  readonly outcome: 'unavailable'
  readonly code: null
  readonly reason: Reason
  /** Seconds, where the server asked for them. */
  readonly retryIn: number | null
  /** Why no lease counts; `null` where none was asked. */
  readonly lease: Exclude<LeaseVerdict, 'ok' | 'grace'> | 'no_lease' | null
}

export type CheckResult = Allowed | AllowedByLease | Denied | Unavailable

/** A lease that was signed for this request, verified and kept. */
export type Issued = { readonly outcome: 'issued'; readonly lease: Lease }

export type IssueResult = Issued | Denied | Unavailable

const OK = 200
const FORBIDDEN = 403
const REFUSAL = /^(?:licence|device|seat)_/

/** The one place where an opened reply becomes a verdict. `null`: it is none. */
export function verdictOf({ status, code, data }: Answer): 'allowed' | 'denied' | null {
  if (status === OK && data.valid === true) return 'allowed'
  return status === FORBIDDEN && REFUSAL.test(code) ? 'denied' : null
}

/** What an opened reply says that {@link verdictOf} takes for a refusal. */
export function deniedOf({ code, data }: Answer): Denied {
  const said: LicenceData = data
  return { ...said, outcome: 'denied', source: 'server', code }
}

/** The seat that a reply tells of; `null` where it tells of none. */
export function seatOf({ seat }: { readonly seat?: unknown }): SeatFacts | null {
  return isObject(seat) && typeof seat.seats === 'number' && typeof seat.lapses_in_s === 'number'
    ? (seat as SeatFacts)
    : null
}

/** How long the server asks to be left alone, in seconds. */
export function retryInOf({ retry_in }: JsonObject): number | null {
  return typeof retry_in === 'number' ? retry_in : null
}
