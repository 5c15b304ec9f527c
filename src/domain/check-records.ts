import type { Clock } from '../clock.ts'
import type { CheckRecord } from '../store/checks.ts'
import type { Licence } from '../store/licences.ts'
import type { Product } from '../store/products.ts'
import type { Candidate } from './decide.ts'
import { isSeenAnew } from './devices.ts'
import type { Actor, EventFacts, Events } from './events.ts'
import type { Machine, Recognition } from './recognition.ts'
import type { SessionClaims } from './session-keys.ts'

/** A check of the legacy contract, its token genuine. */
export type LegacyCheck = {
  readonly session: SessionClaims
  /** Hex, as posted. */
  readonly payload: string
  readonly licenceKey: string | undefined
  readonly address: string
  readonly supportCode: string
}

export function actorOf({ address }: LegacyCheck): Actor & { address: string } {
  return { name: 'client', address }
}

/** What is known of a check when it is decided. */
type Findings = {
  readonly product: Product | null
  readonly licence: Licence | null
  readonly reason: string
  readonly deviceId: string | undefined
}

function factsOf({ supportCode }: LegacyCheck, { product, licence, reason, deviceId }: Findings): EventFacts {
  return {
    productId: product?.id ?? null,
    licenceId: licence?.id ?? null,
    deviceId: deviceId ?? null,
    supportCode,
    detail: { reason, contract: 'legacy' },
  }
}

export type CheckRecords = ReturnType<typeof createCheckRecords>

/** What a check of the legacy contract leaves in the database. */
export function createCheckRecords(deps: {
  recognition: Recognition
  events: Events
  clock: Clock
  singleUse: boolean
}) {
  const { recognition, events, clock, singleUse } = deps

  function denied(check: LegacyCheck, findings: Findings): CheckRecord {
    return { event: events.build('licence_check_denied', actorOf(check), factsOf(check, findings)) }
  }

  function allowed(
    check: LegacyCheck,
    product: Product,
    machine: Machine,
    { bound, binding }: Candidate,
  ): CheckRecord {
    const { licence, device } = bound
    const nowMs = clock()
    const enrol = binding === 'none' ? recognition.newDevice(licence.id, machine, nowMs, nowMs) : undefined
    const learn =
      binding === 'imported' && device !== null ? recognition.volumeOf(device.id, machine, nowMs) : undefined
    const isStale = device !== null && isSeenAnew(device.lastSeenMs, nowMs)
    const reason = enrol === undefined && learn === undefined ? 'known_device' : 'device_enrolled'
    const facts = factsOf(check, { product, licence, reason, deviceId: enrol?.id ?? device?.id })
    return {
      event: events.build('licence_check_allowed', actorOf(check), facts),
      enrol,
      learn,
      seenDeviceId: isStale ? device.id : undefined,
      endSessionId: singleUse ? check.session.sessionId : undefined,
    }
  }

  return { allowed, denied }
}
