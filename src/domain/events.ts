import type { Clock } from '../clock.ts'
import type { Random } from '../random.ts'
import type { EventFilter, EventRow, EventStore } from '../store/events.ts'
import type { StreamedEvent } from '../store/stream.ts'
import { addressKey } from './addresses.ts'
import { eventIdAfter, eventIdPrefix, newEventId } from './ids.ts'
import { Refusals } from './refusals.ts'

/** Every kind of event, with what it says. Names follow the OWASP logging vocabulary where that has one. */
export const EVENT_TYPES = {
  licence_check_allowed: 'A machine was told that it may run.',
  licence_check_denied: 'A machine was told that it may not run; detail.reason says why.',
  device_reset: 'An operator released a machine from its licence.',
  product_created: 'An operator created a product.',
  product_updated: 'An operator changed a product.',
  licence_created: 'An operator created a licence.',
  licence_updated: 'An operator changed the customer, the texts or the seats of a licence.',
  licence_suspended: 'An operator suspended a licence.',
  licence_resumed: 'An operator lifted a suspension.',
  licence_revoked: 'An operator revoked a licence for good.',
  licences_imported: 'An operator imported licences of an old server; count says how many.',
  users_imported: 'An operator imported users of an older system; count says how many.',
  user_sessions_imported: 'An operator imported sessions of an older system as history; count says how many.',
  licence_key_issued: 'An operator had a key made for a licence; detail.replaced: an earlier one is void.',
  licence_renewed: 'An operator changed when a licence expires.',
  device_binding_ended: 'A machine known by the old contract alone made way for one that is enrolled.',
  seat_ended:
    'A device lost or left its seat; detail.reason: kicked, yielded, withdrawn or released. A seat that lapses is silent.',
  seat_kept: 'A device that was asked to make way for another keeps its seat.',
  lease_issued:
    'A client asked for a new lease, a permit to run while the server cannot be reached, and it was signed.',
  client_log: 'A client logged something.',
  authn_token_created: 'An operator token was created.',
  authn_token_revoked: 'An operator token was revoked.',
  key_rotated: 'A key was made that takes over in its ring; detail.from says when.',
  key_retired: 'A key was taken out of its ring.',
  key_set_signed: 'An operator signed the set of public keys that clients may take.',
  user_created: 'A user was created.',
  user_updated: 'What is known of a user was changed; detail.changed says what.',
  user_disabled: 'A user may no longer sign in; his sessions ended.',
  user_enabled: 'A user may sign in again.',
  privilege_permissions_changed: 'A user was given another role; his sessions ended.',
  authn_password_change: 'A password was set; detail.by says whether by its owner or by an operator.',
  authn_totp_changed: 'One-time codes were switched on or off for a user, or his recovery codes made anew.',
  authn_recovery_code_used: 'Somebody signed in with a recovery code, which is used up.',
  session_policies_changed: 'An operator changed how many sessions a role or a user may have at once.',
  session_created: 'Somebody signed in.',
  session_ended: 'A session ended; detail.reason says why.',
  session_asked: 'A session was asked to make way for another sign-in of its user.',
  session_kept: 'A session that was asked to make way is kept by its holder.',
  authn_login_fail: 'Sign-ins were refused: wrong email, password or code.',
  authn_login_lock: 'Sign-ins failed so often that the next ones have to wait.',
  excess_rate_limit_exceeded: 'Requests were refused because there were too many of them.',
  authn_token_refused: 'Requests came without a valid token.',
  input_validation_fail: 'Requests were not in the form their address expects.',
  address_blocked: 'An address asked for too many unknown licences or machines.',
} as const

export type EventType = keyof typeof EVENT_TYPES
export type RefusalType =
  | 'excess_rate_limit_exceeded'
  | 'authn_token_refused'
  | 'authn_login_fail'
  | 'authn_login_lock'
  | 'input_validation_fail'

/** Who did it, as the record names him: `client`, `cli:<login>`, `token:<id>` or `user:<id>`. */
export type Actor = { readonly name: string; readonly address?: string | undefined }

export type EventFacts = Partial<
  Pick<EventRow, 'productId' | 'licenceId' | 'deviceId' | 'supportCode' | 'detail'>
>

/** An event as operators read it, by HTTP and on the command line alike. */
export function eventView(event: EventRow) {
  return {
    id: event.id,
    at: new Date(event.atMs).toISOString(),
    type: event.type,
    actor: event.actor,
    address: event.address,
    product_id: event.productId,
    licence_id: event.licenceId,
    device_id: event.deviceId,
    support_code: event.supportCode,
    count: event.count,
    detail: event.detail,
  }
}

export type Events = ReturnType<typeof createEvents>

export function createEvents(deps: {
  store: EventStore
  clock: Clock
  random: Random
  onError: (error: unknown) => void
}) {
  const { store, clock, random, onError } = deps
  const refusals = new Refusals((rows) => store.addRefusals(rows), onError)

  let newestId = ''

  /** What is made here within one millisecond sorts in the order in which it was made. */
  function nextId(ms: number): string {
    const drawn = newEventId(ms, random)
    const isTooLow = drawn < newestId && newestId.startsWith(eventIdPrefix(ms))
    newestId = isTooLow ? eventIdAfter(newestId) : drawn
    return newestId
  }

  function build(type: EventType, actor: Actor, facts: EventFacts = {}): EventRow {
    const atMs = clock()
    return {
      id: nextId(atMs),
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

  /** An event about a user or one of his sessions, which live streams carry too. */
  function tell(
    type: EventType,
    actor: Actor,
    about: { readonly userId: number; readonly sessionId?: string },
    detail: EventRow['detail'] = {},
  ): StreamedEvent {
    const { userId, sessionId = null } = about
    const named = { user_id: userId, ...(sessionId === null ? {} : { session_id: sessionId }) }
    return { event: build(type, actor, { detail: { ...named, ...detail } }), userId, sessionId }
  }

  /** Counts a refusal of somebody unknown, by the address as the limits see it. */
  function refuse(type: RefusalType, address: string): void {
    refusals.add(build(type, { name: 'client', address: addressKey(address) }))
  }

  return {
    build,
    tell,
    refuse,
    flush: () => refusals.flush(),
    close: () => refusals.close(),
    list: (filter: EventFilter) => store.list(filter),
  }
}
