import { createHash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { toCrockford } from '../crypto/licence-key.ts'
import type { Random } from '../random.ts'
import type { EventFilter, EventRow, EventStore } from '../store/events.ts'
import { eventIdPrefix, newEventId } from './ids.ts'

/** Every kind of event, with what it says. Names follow the OWASP logging vocabulary where that has one. */
export const EVENT_TYPES = {
  licence_check_allowed: 'A machine was told that it may run.',
  licence_check_denied: 'A machine was told that it may not run; detail.reason says why.',
  device_reset: 'An operator released a machine from its licence.',
  product_created: 'An operator created a product.',
  product_updated: 'An operator changed a product.',
  licence_created: 'An operator created a licence.',
  licence_updated: 'An operator changed the texts of a licence.',
  licence_suspended: 'An operator suspended a licence.',
  licence_resumed: 'An operator lifted a suspension.',
  licence_revoked: 'An operator revoked a licence for good.',
  licence_renewed: 'An operator changed when a licence expires.',
  authn_token_created: 'An operator token was created.',
  authn_token_revoked: 'An operator token was revoked.',
  excess_rate_limit_exceeded: 'Requests were refused because there were too many of them.',
  authn_token_refused: 'Requests came without a valid token.',
  input_validation_fail: 'Requests were not in the form their address expects.',
  session_expired: 'Checks came under a session key that was over.',
  payload_unreadable: 'Payloads did not open under their session key.',
  address_blocked: 'An address asked for too many unknown licences or machines.',
} as const

export type EventType = keyof typeof EVENT_TYPES
export type RefusalType =
  | 'excess_rate_limit_exceeded'
  | 'authn_token_refused'
  | 'input_validation_fail'
  | 'session_expired'
  | 'payload_unreadable'

/** Who did it, as the record names him: `client`, `cli:<login>` or `token:<id>`. */
export type Actor = { readonly name: string; readonly address?: string | undefined }

export type EventFacts = Partial<
  Pick<EventRow, 'productId' | 'licenceId' | 'deviceId' | 'supportCode' | 'detail'>
>

export type Events = ReturnType<typeof createEvents>

const MINUTE_MS = 60_000
const FLUSH_MS = 2000
/** Beyond so many causes and addresses a minute the rest shares one row, so that an attacker cannot fill the memory. */
const KEYS_MAX = 10_000

export function createEvents(deps: {
  store: EventStore
  clock: Clock
  random: Random
  onError: (error: unknown) => void
}) {
  const { store, clock, random, onError } = deps
  const refusals = new Map<string, EventRow>()
  const timer = setInterval(() => void flush(), FLUSH_MS).unref()

  function build(type: EventType, actor: Actor, facts: EventFacts = {}): EventRow {
    const atMs = clock()
    return {
      id: newEventId(atMs, random),
      atMs,
      type,
      actor: actor.name,
      address: actor.address ?? null,
      productId: facts.productId ?? null,
      licenceId: facts.licenceId ?? null,
      deviceId: facts.deviceId ?? null,
      supportCode: facts.supportCode ?? null,
      count: 1,
      detail: facts.detail ?? {},
    }
  }

  /** Counts a refusal of somebody unknown: one row per cause, address and minute, whichever process counts. */
  function refuse(type: RefusalType, address: string): void {
    const atMs = Math.floor(clock() / MINUTE_MS) * MINUTE_MS
    const known = refusals.size < KEYS_MAX || refusals.has(`${atMs} ${type} ${address}`)
    const counted = known ? address : null
    const key = `${atMs} ${type} ${counted}`
    const digest = createHash('sha256').update(key).digest().subarray(0, 10)
    const before = refusals.get(key)
    refusals.set(key, {
      ...build(type, { name: 'client' }),
      id: eventIdPrefix(atMs) + toCrockford(digest),
      atMs,
      address: counted,
      count: (before?.count ?? 0) + 1,
    })
  }

  async function flush(): Promise<void> {
    const rows = [...refusals.values()]
    refusals.clear()
    try {
      // In slices, so that a flood of addresses holds up nobody else's writes for long.
      while (rows.length > 0) {
        await store.addRefusals(rows.slice(0, 200))
        rows.splice(0, 200)
      }
    } catch (error) {
      for (const row of rows.slice(0, KEYS_MAX - refusals.size)) {
        const key = `${row.atMs} ${row.type} ${row.address}`
        refusals.set(key, { ...row, count: row.count + (refusals.get(key)?.count ?? 0) })
      }
      onError(error)
    }
  }

  async function close(): Promise<void> {
    clearInterval(timer)
    await flush()
  }

  return { build, refuse, flush, close, list: (filter: EventFilter) => store.list(filter) }
}
