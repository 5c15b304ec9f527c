import { type Backend, need } from './backend.ts'
import { type Calls, createCalls, type Random } from './calls.ts'
import { toB64u } from './encoding.ts'
import { type Pin, type PinnedKey, readPin, type Session } from './handshake.ts'
import { type LeaseKey, requireLeaseKey } from './lease.ts'
import { createLeaseKeeper, type LeaseKeeper } from './lease-keeper.ts'
import { type LeaseStore, memoryStore } from './lease-store.ts'
import { anyBackend, backendFor, randomBytes } from './platform.ts'
import type { Answer } from './records.ts'
import { createSessions } from './sessions.ts'
import type { SealedSuite } from './suites.ts'
import { createPost, type TransportOptions } from './transport.ts'

export type ClientOptions = TransportOptions & {
  readonly suite: SealedSuite
  /** The server's keys for this suite as `kunci keys pins` prints them: the current one, then the next. */
  readonly pins: readonly Pin[]
  /** The keys that sign leases, from the same list. Without them there is no verdict without the server. */
  readonly leaseKeys?: readonly LeaseKey[] | undefined
  /** Only leases of this issuer count. */
  readonly issuer?: string | undefined
  /** Where the lease lies. Default: in memory, so that it ends with the process. */
  readonly store?: LeaseStore | undefined
  /** What computes. Default: node:crypto or WebCrypto, the first that is here and can do the suite. */
  readonly crypto?: Backend | undefined
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** Milliseconds of a timer that nobody sets. */
  readonly monotonic?: () => number
  /** Random bytes for salts and nonces. Key pairs are drawn by the platform's own generator. */
  readonly random?: Random
  /** Told of each new session. */
  readonly onSession?: (session: { readonly expiresInS: number }) => void
}

/** What a client is made of. `keeper`: `null` without keys to verify leases by. */
export type Parts = { readonly calls: Calls; readonly keeper: LeaseKeeper | null }

const MS_PER_S = 1000
const BOOT_BYTES = 16

/** Says at once, and not at the first check, what of the options makes no sense or cannot be done here. */
async function prepare(options: ClientOptions): Promise<{ backend: Backend; pinned: readonly PinnedKey[] }> {
  const { suite, pins, crypto, leaseKeys = [], store } = options
  if (store !== undefined && leaseKeys.length === 0)
    throw new RangeError('a store keeps nothing without leaseKeys')
  const any = crypto ?? anyBackend()
  for (const key of leaseKeys) await requireLeaseKey(any, key)
  const pinned = await Promise.all(pins.map((pin) => readPin(any, suite, pin)))
  const [first] = pinned
  if (first === undefined) throw new RangeError(`there is no pin for ${suite}`)
  const backend = await backendFor(suite, first.publicKey, crypto === undefined ? undefined : [crypto])
  if (leaseKeys.length > 0) need(backend.verifyEs256, 'ES256, by which leases are verified', backend)
  return { backend, pinned }
}

/**
 * Puts a client together.
 * @throws {RangeError} for pins or keys that are none. @throws {Error} where the platform cannot do the suite.
 */
export async function assemble(options: ClientOptions): Promise<Parts> {
  const { random = randomBytes, now = Date.now, monotonic = () => performance.now(), onSession } = options
  const { leaseKeys: keys = [], issuer, store = memoryStore() } = options
  const { backend, pinned } = await prepare(options)
  const boot = toB64u(random(BOOT_BYTES))
  const clocks = () => ({ now: Math.floor(now() / MS_PER_S), monotonic: monotonic() / MS_PER_S, boot })
  const keeper = keys.length === 0 ? null : createLeaseKeeper({ backend, keys, issuer, store, clocks })
  const post = createPost(options)
  const tell = ({ expiresInS }: Session) => onSession?.({ expiresInS })
  const sessions = createSessions({ backend, pinned, post, monotonic, onSession: tell })
  const onAnswer = async (answer: Answer) => keeper?.hear(answer)
  return { calls: createCalls({ backend, sessions, post, random, onAnswer }), keeper }
}
