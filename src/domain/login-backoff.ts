import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import { addressKey } from './addresses.ts'

/** From this failure on the next try has to wait. */
const FAILURES_FREE = 5
/** An address tries many accounts: it may fail so often in all. */
const ADDRESS_FAILURES_FREE = 20
/** NIST SP 800-63B-4, section 3.2.2, allows an account a hundred in a row: a code has six digits. */
const CODES_FREE = 20
const FIRST_WAIT_MS = 1000
const WAIT_MAX_MS = 15 * 60_000
const FORGOTTEN_AFTER_MS = 24 * 60 * 60_000
const TRACKED_MAX = 100_000

type Lane = { readonly failures: number; readonly pauseMs: number; readonly lastMs: number }

export type LoginBackoff = ReturnType<typeof createLoginBackoff>

/**
 * Who fails to sign in waits longer each time. It is the address that waits, for one account and for all together: an
 * account is never locked as such, as anybody could then lock anybody out. Only who knows its password makes it wait, by
 * trying codes. Each of `workers` processes counts by itself and allows its part.
 */
export function createLoginBackoff({
  workers,
  isOff,
  clock,
}: {
  workers: number
  isOff: boolean
  clock: Clock
}) {
  const lanes = new LRUCache<string, Lane>({ max: TRACKED_MAX })

  function lanesOf(email: string, address: string): readonly (readonly [key: string, free: number])[] {
    const from = addressKey(address)
    return [
      [`${from} ${email}`, FAILURES_FREE],
      [from, ADDRESS_FAILURES_FREE],
    ]
  }

  const codeLane = (email: string) => `code ${email}`

  /** How long this address has to wait before it may try this account, in ms: 0 mostly. A try before that is not looked at. */
  function waitMs(email: string, address: string): number {
    if (isOff) return 0
    const nowMs = clock()
    return Math.max(...lanesOf(email, address).map(([key]) => leftOf(lanes.get(key), nowMs)))
  }

  /** A clock that was put back makes nobody wait for longer than he would have: what he waits for is over. */
  function leftOf(lane: Lane | undefined, nowMs: number): number {
    if (lane === undefined || nowMs < lane.lastMs) return 0
    return Math.max(0, lane.lastMs + lane.pauseMs - nowMs)
  }

  function count(key: string, free: number): void {
    const nowMs = clock()
    const before = lanes.get(key)
    const isOld = before === undefined || nowMs - before.lastMs > FORGOTTEN_AFTER_MS
    const failures = isOld ? 1 : before.failures + 1
    const over = failures - Math.ceil(free / workers)
    const pauseMs = over < 0 ? 0 : Math.min(FIRST_WAIT_MS * 2 ** over, WAIT_MAX_MS)
    lanes.set(key, { failures, pauseMs, lastMs: nowMs })
  }

  /** @returns whether the next try has to wait from now on. */
  function countFailure(email: string, address: string): boolean {
    for (const [key, free] of lanesOf(email, address)) count(key, free)
    return waitMs(email, address) > 0
  }

  /**
   * Counts a try at a one-time code of this account, from wherever it comes: before it is looked at, as many may come at
   * once.
   * @returns how long it has to wait first, in ms: it is then not to be looked at, and not counted. Else 0.
   */
  function tryCode(email: string): number {
    const leftMs = isOff ? 0 : leftOf(lanes.get(codeLane(email)), clock())
    if (leftMs === 0) count(codeLane(email), CODES_FREE)
    return leftMs
  }

  /** Whoever got in has not guessed; what his address did to other accounts stays counted. */
  function clear(email: string, address: string): void {
    const [[key]] = lanesOf(email, address) as [readonly [string, number], readonly [string, number]]
    lanes.delete(key)
    lanes.delete(codeLane(email))
  }

  return { waitMs, countFailure, tryCode, clear }
}
