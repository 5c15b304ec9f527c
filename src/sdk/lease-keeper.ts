import type { Backend } from './backend.ts'
import type { Hwid } from './hwid.ts'
import { type Lease, type LeaseKey, verifyLease } from './lease.ts'
import {
  acceptLease,
  type Clocks,
  floorFor,
  hearServer,
  type LeaseVerdict,
  stepLease,
} from './lease-state.ts'
import type { LeaseStore } from './lease-store.ts'
import type { Answer } from './records.ts'

/** For whom a lease has to be. */
export type Holder = { readonly tool: string; readonly hwid: Hwid }

/** What a lease says while there is no server: the lease itself where it counts. */
export type Offline =
  | { readonly verdict: 'ok' | 'grace'; readonly lease: Lease }
  | { readonly verdict: Exclude<LeaseVerdict, 'ok' | 'grace'> | 'no_lease' }

export type LeaseKeeper = {
  /** Learns from an opened reply what time it is and which leases have ended. */
  hear(answer: Answer): Promise<void>
  /**
   * Keeps the lease that an opened reply brought.
   * @param nonce that the lease has to carry, where one was asked for.
   * @returns the lease, or `null` when there is none, it does not count, or it cannot be kept.
   */
  keep(answer: Answer, holder: Holder, nonce?: string): Promise<Lease | null>
  /** Takes a step of the clock and says whether the tool may run without the server. */
  offline(holder: Holder): Promise<Offline>
}

export type LeaseKeeperOptions = {
  readonly backend: Backend
  readonly keys: readonly LeaseKey[]
  readonly issuer: string | undefined
  readonly store: LeaseStore
  readonly clocks: () => Clocks
}

/** One thing after the other: two changes of one file must not cross. */
function inTurn(): <Result>(task: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve()
  return (task) => {
    const result = last.then(task)
    last = result.catch(() => {})
    return result
  }
}

/** Reads and writes the store. What cannot be read or verified counts for nothing, and what cannot be kept neither. */
export function createLeaseKeeper({ backend, keys, issuer, store, clocks }: LeaseKeeperOptions): LeaseKeeper {
  const next = inTurn()

  async function hear({ serverTime, data }: Answer): Promise<void> {
    const { state } = await store.load()
    if (state === null) return
    const floor = Number.isSafeInteger(data.lease_floor) ? Number(data.lease_floor) : undefined
    await store.saveState(hearServer(state, { serverTime, floor }))
  }

  async function keep({ serverTime, data }: Answer, holder: Holder, nonce?: string): Promise<Lease | null> {
    if (typeof data.lease !== 'string') return null
    const { state } = await store.load()
    // The server's time and not ours: a machine whose clock is wrong may still keep a lease.
    const lease = await verifyLease(data.lease, { ...holder, keys, issuer, now: serverTime }, backend)
    if (lease.seq < floorFor(state, lease)) return null
    if (nonce !== undefined && lease.nonce !== nonce) return null
    await store.saveLease(data.lease)
    await store.saveState(acceptLease(state, lease, serverTime, clocks()))
    return lease
  }

  async function offline(holder: Holder): Promise<Offline> {
    const { lease: jws, state } = await store.load()
    if (jws === null) return { verdict: 'no_lease' }
    const time = clocks()
    // A clock that was set back is the step's to name; the signature is looked at as of the latest time known.
    const now = Math.max(time.now, state?.hwm ?? 0)
    const lease = await verifyLease(jws, { ...holder, keys, issuer, now }, backend)
    const { verdict, state: stepped } = stepLease(state, lease, time)
    if (stepped !== null) await store.saveState(stepped)
    return verdict === 'ok' || verdict === 'grace' ? { verdict, lease } : { verdict }
  }

  return {
    hear: (answer) => next(() => hear(answer)).catch(() => {}),
    keep: (answer, holder, nonce) => next(() => keep(answer, holder, nonce)).catch(() => null),
    offline: (holder) => next(() => offline(holder)).catch(() => ({ verdict: 'no_lease' }) as const),
  }
}
