import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import type { BlockStore } from '../store/blocks.ts'
import { addressKey } from './addresses.ts'
import type { Actor, Events } from './events.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const SUBNET_FACTOR = 30
const TRACKED_MAX = 100_000

/** How often something may happen in a window. */
type Limit = { readonly max: number; readonly windowMs: number }

/** The defaults; `RATE_LIMIT_PER_MINUTE` replaces those that count by the minute. */
export const LIMITS = {
  hand_out: { max: 20, windowMs: MINUTE_MS },
  hand_out_subnet: { max: 600, windowMs: MINUTE_MS },
  check: { max: 10, windowMs: MINUTE_MS },
  session_call: { max: 60, windowMs: MINUTE_MS },
  client_log: { max: 60, windowMs: MINUTE_MS },
  login: { max: 30, windowMs: MINUTE_MS },
  stream_ticket: { max: 30, windowMs: MINUTE_MS },
  refused_token: { max: 30, windowMs: MINUTE_MS },
  unknown_licence: { max: 5, windowMs: 15 * MINUTE_MS },
  licence_prefix: { max: 30, windowMs: HOUR_MS },
} as const satisfies Record<string, Limit>

const BLOCK_MS = HOUR_MS

export type LimitName = keyof typeof LIMITS

export type Limits = ReturnType<typeof createLimits>

/**
 * Counters in this process, blocks in the database. `perMinute` replaces the per-minute limits; 0 switches every limit
 * and block off. Each of `workers` processes allows its part of what counts by the minute, rounded up.
 */
export function createLimits(deps: {
  perMinute: number | undefined
  workers: number
  blocks: BlockStore
  events: Events
  clock: Clock
}) {
  const { perMinute, workers, blocks, events, clock } = deps
  const counters = new LRUCache<string, { count: number; resetAtMs: number }>({ max: TRACKED_MAX })
  const isOff = perMinute === 0

  function maxOf(name: LimitName): number {
    const { max, windowMs } = LIMITS[name]
    if (perMinute === undefined || windowMs !== MINUTE_MS) return max
    return name === 'hand_out_subnet' ? perMinute * SUBNET_FACTOR : perMinute
  }

  /** What leads to a block is not divided: a customer whose connection one worker keeps would be locked out sooner. */
  function shareOf(name: LimitName): number {
    return LIMITS[name].windowMs === MINUTE_MS ? Math.ceil(maxOf(name) / workers) : maxOf(name)
  }

  /** Counts one, and says whether it is still within the limit. */
  function allows(name: LimitName, key: string): boolean {
    if (isOff) return true
    const nowMs = clock()
    const id = `${name} ${key}`
    const known = counters.get(id)
    const counter =
      known !== undefined && known.resetAtMs > nowMs ? known : newWindow(id, nowMs + LIMITS[name].windowMs)
    counter.count++
    return counter.count <= shareOf(name)
  }

  function newWindow(id: string, resetAtMs: number) {
    const counter = { count: 0, resetAtMs }
    counters.set(id, counter)
    return counter
  }

  /** How long this address, which guessed too often, is still blocked: in ms, 0 where it is not. */
  async function blockedForMs(address: string): Promise<number> {
    if (isOff) return 0
    const nowMs = clock()
    return ((await blocks.find(addressKey(address), nowMs)) ?? nowMs) - nowMs
  }

  /** Whether this address guessed too often. Never asked about an enrolled machine that may run. */
  async function isBlocked(address: string): Promise<boolean> {
    return (await blockedForMs(address)) > 0
  }

  /** Counts a check for something unknown, and blocks the address when there were too many. */
  async function countUnknown(
    actor: Actor & { address: string },
    licenceKeyPrefix: string | null,
  ): Promise<void> {
    if (isOff) return
    const key = addressKey(actor.address)
    const byAddress = allows('unknown_licence', key)
    const byPrefix = licenceKeyPrefix === null || allows('licence_prefix', licenceKeyPrefix)
    if (byAddress && byPrefix) return
    const nowMs = clock()
    await blocks.block(key, nowMs + BLOCK_MS, nowMs, events.build('address_blocked', actor))
  }

  return { allows, blockedForMs, isBlocked, countUnknown }
}
