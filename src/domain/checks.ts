import type { Clock } from '../clock.ts'
import type { CheckRecord, CheckStore } from '../store/checks.ts'
import type { Licence } from '../store/licences.ts'
import type { LegacyTexts, Product } from '../store/products.ts'
import { type Candidate, decide, type Verdict } from './decide.ts'
import type { Actor, EventFacts, Events } from './events.ts'
import type { Limits } from './limits.ts'
import type { Products } from './products.ts'
import type { Recognition } from './recognition.ts'
import type { SessionKeys } from './session-keys.ts'

const SEEN_EVERY_MS = 60_000
const PREFIX_SYMBOLS = 5

export type LegacyCheck = {
  readonly sessionId: string
  /** Hex, as posted. */
  readonly payload: string
  readonly licenceKey: string | undefined
  readonly address: string
  readonly supportCode: string
}

export type LegacyVerdict =
  | {
      readonly kind: 'granted'
      readonly licence: Licence
      readonly texts: LegacyTexts
      readonly nowMs: number
    }
  | { readonly kind: 'expired' | 'not_found' | 'session_expired' | 'unreadable' | 'blocked' }

export type Checks = ReturnType<typeof createChecks>

function textsFor(licence: Licence, product: Product): LegacyTexts {
  return {
    sk: licence.sk ?? product.sk,
    sck: licence.sck ?? product.sck,
    maintenance: licence.maintenance ?? product.maintenance,
    status1Text: licence.status1Text ?? product.status1Text,
  }
}

function actorOf({ address }: LegacyCheck): Actor & { address: string } {
  return { name: 'client', address }
}

function factsOf(
  { supportCode }: LegacyCheck,
  product: Product | null,
  licence: Licence | null,
  reason: string,
  deviceId: string | undefined,
): EventFacts {
  return {
    productId: product?.id ?? null,
    licenceId: licence?.id ?? null,
    deviceId: deviceId ?? null,
    supportCode,
    detail: { reason, contract: 'legacy' },
  }
}

export function createChecks(deps: {
  sessionKeys: SessionKeys
  recognition: Recognition
  products: Products
  limits: Limits
  events: Events
  store: CheckStore
  clock: Clock
  singleUse: boolean
}) {
  const { sessionKeys, recognition, products, limits, events, store, clock, singleUse } = deps

  /** The life of a legacy check: the session's row, the payload, the licences, the decision, the record. */
  async function legacy(check: LegacyCheck): Promise<LegacyVerdict> {
    const [product, row] = await Promise.all([products.legacy(), sessionKeys.findLiving(check.sessionId)])
    const isElsewhere = product?.bindAddress === true && row?.clientIp !== check.address
    if (row === null || isElsewhere) return refuse('session_expired', check)
    const opened = await sessionKeys.open(row, check.payload)
    if (opened.kind === 'session_expired') return refuse('session_expired', check)
    if (opened.kind === 'unreadable') {
      events.refuse('payload_unreadable', check.address)
      return opened
    }
    const h = product === null ? null : recognition.deviceHash(product, opened.plaintext.toString('latin1'))
    if (product === null || h === null)
      return notFound(check, product, { kind: 'not_found', reason: 'unknown', licence: null })
    return settle(
      check,
      product,
      h,
      decide(await recognition.candidatesFor(product, h, check.licenceKey), clock()),
    )
  }

  async function settle(
    check: LegacyCheck,
    product: Product,
    h: string,
    verdict: Verdict,
  ): Promise<LegacyVerdict> {
    if (verdict.kind === 'not_found') return notFound(check, product, verdict)
    const { candidate } = verdict
    const { licence, device } = candidate.bound
    if (verdict.kind === 'expired') {
      const facts = factsOf(check, product, licence, 'expired', device?.id)
      await store.record({ event: events.build('licence_check_denied', actorOf(check), facts) })
      return { kind: 'expired' }
    }
    if (candidate.binding === 'none' && (await limits.isBlocked(check.address))) return refuseBlocked(check)
    const outcome = await store.record(recordOf(check, product, h, candidate))
    if (outcome === 'session_over') return refuse('session_expired', check)
    if (outcome === 'device_taken') {
      // Another first check of this licence was committed a moment ago: what it enrolled is there to be read now.
      return settle(
        check,
        product,
        h,
        decide(await recognition.candidatesFor(product, h, check.licenceKey), clock()),
      )
    }
    return { kind: 'granted', licence, texts: textsFor(licence, product), nowMs: clock() }
  }

  function recordOf(
    check: LegacyCheck,
    product: Product,
    h: string,
    { bound, binding }: Candidate,
  ): CheckRecord {
    const { licence, device } = bound
    const nowMs = clock()
    const enrol = binding === 'none' ? recognition.newDevice(licence.id, h, nowMs, nowMs) : undefined
    const isStale = device !== null && (device.lastSeenMs ?? 0) < nowMs - SEEN_EVERY_MS
    const reason = enrol === undefined ? 'known_device' : 'device_enrolled'
    const facts = factsOf(check, product, licence, reason, enrol?.id ?? device?.id)
    return {
      event: events.build('licence_check_allowed', actorOf(check), facts),
      enrol,
      seenDeviceId: isStale ? device.id : undefined,
      endSessionId: singleUse ? check.sessionId : undefined,
    }
  }

  async function notFound(
    check: LegacyCheck,
    product: Product | null,
    { reason, licence }: Extract<Verdict, { kind: 'not_found' }>,
  ): Promise<LegacyVerdict> {
    if (reason === 'unknown' && (await limits.isBlocked(check.address))) return refuseBlocked(check)
    const facts = factsOf(check, product, licence, reason, undefined)
    await store.record({ event: events.build('licence_check_denied', actorOf(check), facts) })
    const prefix = check.licenceKey?.slice(0, PREFIX_SYMBOLS).toUpperCase() ?? null
    if (reason === 'unknown') await limits.countUnknown(actorOf(check), prefix)
    return { kind: 'not_found' }
  }

  function refuse(type: 'session_expired', { address }: LegacyCheck): LegacyVerdict {
    events.refuse(type, address)
    return { kind: type }
  }

  function refuseBlocked({ address }: LegacyCheck): LegacyVerdict {
    events.refuse('excess_rate_limit_exceeded', address)
    return { kind: 'blocked' }
  }

  return { legacy }
}
