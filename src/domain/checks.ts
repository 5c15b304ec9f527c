import type { Clock } from '../clock.ts'
import { normaliseLicenceKey } from '../crypto/licence-key.ts'
import type { CheckRecord, CheckStore } from '../store/checks.ts'
import type { Licence } from '../store/licences.ts'
import type { LegacyTexts, Product } from '../store/products.ts'
import { type Candidate, decide, type Verdict } from './decide.ts'
import type { Actor, EventFacts, Events } from './events.ts'
import type { Limits } from './limits.ts'
import type { Products } from './products.ts'
import type { Machine, Recognition } from './recognition.ts'
import type { SessionKeys } from './session-keys.ts'
import { textsFor } from './texts.ts'

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

/** What the guesses of one licence key have in common, however it is typed. */
function prefixOf(licenceKey: string | undefined): string | null {
  return licenceKey === undefined ? null : normaliseLicenceKey(licenceKey).slice(0, PREFIX_SYMBOLS)
}

export type Checks = ReturnType<typeof createChecks>

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
    if (row === null || isElsewhere) return deny(check, product, null, 'session_expired')
    const opened = await sessionKeys.open(row, check.payload)
    if (opened.kind !== 'opened') return deny(check, product, null, opened.kind)
    const hwid = opened.plaintext.toString('latin1')
    const machine = product === null ? null : recognition.machineOf(product, hwid)
    if (product === null || machine === null)
      return notFound(check, product, { kind: 'not_found', reason: 'unknown', licence: null })
    return settle(check, product, machine)
  }

  async function settle(check: LegacyCheck, product: Product, machine: Machine): Promise<LegacyVerdict> {
    const verdict = decide(await recognition.candidatesFor(product, machine, check.licenceKey), clock())
    if (verdict.kind === 'not_found') return notFound(check, product, verdict)
    const { candidate } = verdict
    const { licence, device } = candidate.bound
    if (candidate.binding === 'none' && (await limits.isBlocked(check.address))) return refuseBlocked(check)
    if (verdict.kind === 'expired') return deny(check, product, licence, 'expired', device?.id)
    const outcome = await store.record(recordOf(check, product, machine, candidate))
    if (outcome === 'session_over') return deny(check, product, licence, 'session_expired', device?.id)
    // Another first check of this licence was committed a moment ago: what it enrolled is there to be read now.
    if (outcome === 'device_taken') return settle(check, product, machine)
    return { kind: 'granted', licence, texts: textsFor(licence, product), nowMs: clock() }
  }

  async function deny(
    check: LegacyCheck,
    product: Product | null,
    licence: Licence | null,
    kind: 'expired' | 'session_expired' | 'unreadable',
    deviceId?: string,
  ): Promise<LegacyVerdict> {
    await recordDenial(check, product, licence, kind, deviceId)
    return { kind }
  }

  async function recordDenial(
    check: LegacyCheck,
    product: Product | null,
    licence: Licence | null,
    reason: string,
    deviceId?: string,
  ): Promise<void> {
    const facts = factsOf(check, product, licence, reason, deviceId)
    await store.record({ event: events.build('licence_check_denied', actorOf(check), facts) })
  }

  function recordOf(
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
    const isStale = device !== null && (device.lastSeenMs ?? 0) < nowMs - SEEN_EVERY_MS
    const reason = enrol === undefined && learn === undefined ? 'known_device' : 'device_enrolled'
    const facts = factsOf(check, product, licence, reason, enrol?.id ?? device?.id)
    return {
      event: events.build('licence_check_allowed', actorOf(check), facts),
      enrol,
      learn,
      seenDeviceId: isStale ? device.id : undefined,
      endSessionId: singleUse ? check.sessionId : undefined,
    }
  }

  async function notFound(
    check: LegacyCheck,
    product: Product | null,
    { reason, licence }: Extract<Verdict, { kind: 'not_found' }>,
  ): Promise<LegacyVerdict> {
    // Asked for every cause alike: else a block would tell which guesses exist.
    if (await limits.isBlocked(check.address)) return refuseBlocked(check)
    await recordDenial(check, product, licence, reason)
    if (reason === 'unknown') await limits.countUnknown(actorOf(check), prefixOf(check.licenceKey))
    return { kind: 'not_found' }
  }

  function refuseBlocked({ address }: LegacyCheck): LegacyVerdict {
    events.refuse('excess_rate_limit_exceeded', address)
    return { kind: 'blocked' }
  }

  return { legacy }
}
