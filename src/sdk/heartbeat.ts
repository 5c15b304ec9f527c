import type { Calls } from './calls.ts'
import type { CheckRequest } from './check-request.ts'
import { UnavailableError } from './unavailable.ts'
import {
  type AllowedByLease,
  type CheckResult,
  type Denied,
  deniedOf,
  type SeatFacts,
  seatOf,
  type Unavailable,
  verdictOf,
} from './verdict.ts'

export type HeartbeatOptions = {
  /**
   * Seconds from one beat to the next. Default: what the server asks for. Where people are to answer `onAsked`, 5: they
   * are given 15 seconds, and hear of it with the next beat.
   */
  readonly everyS?: number | undefined
  /** Another machine asks for this one's seat. It goes in `yieldByS` seconds, unless `keepSeat` is called before. */
  readonly onAsked?: (yieldByS: number) => void
  /** The tool may not run any more, as of `check`. The heartbeat has ended. */
  readonly onDenied?: (denied: Denied) => void
  /** There was no answer: what the lease says. The heartbeat goes on. */
  readonly onUnavailable?: (result: AllowedByLease | Unavailable) => void
  /** Sets a timer, in ms. @returns what cancels it. */
  readonly schedule?: (beat: () => Promise<void>, ms: number) => () => void
}

export type Heartbeat = {
  /** Keeps the seat that another machine asks for. @returns whether it is kept. */
  keepSeat(): Promise<boolean>
  /** Ends the heartbeat. The seat is free when the client is closed, or when it lapses. */
  stop(): void
}

type HeartbeatParts = {
  readonly calls: Calls
  readonly check: (request: CheckRequest) => Promise<CheckResult>
  /** What the server asked for last, in seconds. */
  readonly checkAgainAfterS: () => number
}

const MS_PER_S = 1000

function onTimer(beat: () => Promise<void>, ms: number): () => void {
  const timer = setTimeout(() => void beat(), ms)
  // Whatever else a program waits for, it does not run on for this. Browsers have numbers here.
  if (typeof timer === 'object') timer.unref()
  return () => clearTimeout(timer)
}

/** Asks again for as long as the tool runs, by `ping` while that is enough. The first beat is a whole interval away. */
export function startHeartbeat(
  { calls, check, checkAgainAfterS }: HeartbeatParts,
  request: CheckRequest,
  options: HeartbeatOptions,
): Heartbeat {
  const { everyS, onAsked, onDenied, onUnavailable, schedule = onTimer } = options
  const { lang } = request
  let isSeated = true
  let hasEnded = false
  let cancel = () => {}

  function end(denied: Denied): void {
    if (hasEnded) return
    hasEnded = true
    cancel()
    onDenied?.(denied)
  }

  /** @returns `null` where only a check can tell: there is no session, no seat that it has taken, or no answer. */
  async function ping(keep: boolean): Promise<SeatFacts | Denied | null> {
    const data = { ...(keep ? { keep } : {}), ...(lang === undefined ? {} : { lang }) }
    const answer = await calls.callLiving('ping', data).catch(nothing)
    if (answer === null) return null
    return verdictOf(answer) === 'denied' ? deniedOf(answer) : seatOf(answer.data)
  }

  async function checkAgain(): Promise<SeatFacts | Denied | null> {
    const result = await check(request)
    if (result.outcome === 'denied') return result
    if (result.outcome === 'unavailable' || result.source === 'lease') {
      if (!hasEnded) onUnavailable?.(result)
      return null
    }
    const seat = seatOf(result)
    isSeated = seat !== null
    return seat
  }

  async function beat(): Promise<void> {
    const found = (isSeated ? await ping(false) : null) ?? (await checkAgain())
    if (hasEnded) return
    if (found !== null && 'outcome' in found) {
      end(found)
      return
    }
    if (found?.yield_by_s !== undefined) onAsked?.(found.yield_by_s)
    next()
  }

  async function keepSeat(): Promise<SeatFacts | Denied | null> {
    const kept = await ping(true)
    if (kept !== null) return kept
    // A new session takes the seat over, asked for as it is, before it can keep it.
    const taken = await checkAgain()
    return taken === null || 'outcome' in taken ? taken : ping(true)
  }

  function next(): void {
    if (!hasEnded) cancel = schedule(beat, (everyS ?? checkAgainAfterS()) * MS_PER_S)
  }

  next()
  return {
    keepSeat: async () => {
      const kept = await keepSeat()
      if (kept === null || !('outcome' in kept)) return kept !== null
      end(kept)
      return false
    },
    stop: () => {
      hasEnded = true
      cancel()
    },
  }
}

function nothing(error: unknown): null {
  if (!(error instanceof UnavailableError)) throw error
  return null
}
