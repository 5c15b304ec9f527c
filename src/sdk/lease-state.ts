import { type Lease, TOLERANCE_S } from './lease.ts'

/** What is remembered between two looks at the clock. It has to be kept where nobody else can write it. */
export type LeaseState = {
  /** The greatest time known to have been, seconds since 1970. */
  readonly hwm: number
  /** Seconds run under the lease since the server last answered. */
  readonly run: number
  /** The lease that this belongs to. */
  readonly jti: string
  /** The device that the lease is for: `seq` counts its leases and no other's. */
  readonly dev: string
  /** Leases of the device with a lower `seq` no longer count. */
  readonly seq: number
  /** Whose timer `mono` was read from: another process has another. */
  readonly boot: string
  /** Seconds of that timer at the last step. */
  readonly mono: number
}

/** The two clocks: the one that anybody can set, and the one that nobody can. In seconds. */
export type Clocks = {
  /** Since 1970. */
  readonly now: number
  readonly monotonic: number
  /** Names the monotonic timer; a step adds running time only to one of the same name. */
  readonly boot?: string
}

/**
 * `ok`: go on. `grace`: go on, with a warning. `expired`: ask the server. `clock_rollback`: the clock was set back; it
 * counts again when it is right. `superseded`: the server has ended this lease. `state_lost`: what was remembered is
 * gone or is another lease's; ask the server.
 */
export type LeaseVerdict = 'ok' | 'grace' | 'expired' | 'clock_rollback' | 'superseded' | 'state_lost'

export type LeaseStep = { readonly verdict: LeaseVerdict; readonly state: LeaseState | null }

const FIRST_HOUR_S = 3600

/**
 * The lowest `seq` with which a lease still counts. None is too low for another device than before: a machine that was
 * released, or has another licence, is a new one, whose leases are numbered from one again.
 */
export function floorFor(state: LeaseState | null, { dev }: Lease): number {
  return state?.dev === dev ? state.seq : 0
}

/**
 * The state after the server gave, or gave again, this lease. Its time is the true one, so a clock that once ran ahead
 * does not keep the lease from counting for ever.
 * @param serverTime seconds since 1970, of the opened reply.
 */
export function acceptLease(
  state: LeaseState | null,
  lease: Lease,
  serverTime: number,
  { monotonic, boot = '' }: Clocks,
): LeaseState {
  const { jti, dev, iat } = lease
  const [hwm, seq] = [Math.max(serverTime, iat), Math.max(lease.seq, floorFor(state, lease))]
  return { hwm, run: 0, jti, dev, seq, boot, mono: monotonic }
}

/**
 * The state after any opened reply.
 * @param reply its time, and the lowest `seq` that still counts if it names one.
 */
export function hearServer(
  state: LeaseState,
  { serverTime, floor = 0 }: { readonly serverTime: number; readonly floor?: number | undefined },
): LeaseState {
  return { ...state, hwm: Math.max(state.hwm, serverTime), seq: Math.max(state.seq, floor) }
}

function verdictOf({ hwm, run, jti, seq }: LeaseState, lease: Lease, now: number): LeaseVerdict {
  if (jti !== lease.jti) return 'state_lost'
  if (lease.seq < seq) return 'superseded'
  if (now + TOLERANCE_S < hwm || now + TOLERANCE_S < lease.nbf) return 'clock_rollback'
  const latest = Math.max(now, hwm)
  if (run > lease.run || latest > lease.exp + lease.grace) return 'expired'
  return latest <= lease.exp ? 'ok' : 'grace'
}

/**
 * A look at the clock, to be taken at the start and every minute while there is no server.
 * @param state `null` when it is missing or was tampered with. The lease then counts no longer, but for its first hour
 *   where `installedAt` says that the tool was put in place in this hour: a lease that came with the installation.
 * @param clocks `installedAt`: seconds since 1970.
 * @returns the verdict, and the state to keep: a verdict whose state cannot be kept must not be relied on.
 */
export function stepLease(
  state: LeaseState | null,
  lease: Lease,
  clocks: Clocks & { readonly installedAt?: number },
): LeaseStep {
  const { now, monotonic, boot = '', installedAt } = clocks
  if (state === null) {
    const isFresh = (since: number) => now - since <= FIRST_HOUR_S && since - now <= TOLERANCE_S
    if (installedAt === undefined || !isFresh(installedAt) || !isFresh(lease.iat))
      return { verdict: 'state_lost', state }
    return stepLease(acceptLease(null, lease, lease.iat, clocks), lease, { now, monotonic, boot })
  }
  const elapsed = boot === state.boot ? Math.max(0, monotonic - state.mono) : 0
  const stepped = { ...state, run: state.run + elapsed, boot, mono: monotonic }
  return {
    verdict: verdictOf(stepped, lease, now),
    state: { ...stepped, hwm: Math.max(state.hwm, now, lease.iat) },
  }
}
