import type { Clock } from '../clock.ts'
import type { CheckStore } from '../store/checks.ts'
import type { Licence } from '../store/licences.ts'
import type { LegacyTexts, Product } from '../store/products.ts'
import { actorOf, type CheckRecords, type LegacyCheck } from './check-records.ts'
import { type Candidate, decide, type Verdict } from './decide.ts'
import type { Events } from './events.ts'
import { guessPrefixOf } from './licence-keys.ts'
import type { Limits } from './limits.ts'
import type { Products } from './products.ts'
import type { Machine, Recognition } from './recognition.ts'
import type { SessionKeys } from './session-keys.ts'
import { textsFor } from './texts.ts'

export type LegacyVerdict =
  | {
      readonly kind: 'granted'
      readonly licence: Licence
      readonly texts: LegacyTexts
      readonly nowMs: number
    }
  | { readonly kind: 'expired' | 'not_found' | 'session_expired' | 'unreadable' | 'blocked' }

export type Checks = ReturnType<typeof createChecks>

export function createChecks(deps: {
  sessionKeys: SessionKeys
  recognition: Recognition
  products: Products
  limits: Limits
  events: Events
  records: CheckRecords
  store: CheckStore
  clock: Clock
}) {
  const { sessionKeys, recognition, products, limits, events, records, store, clock } = deps

  /** The life of a legacy check: the payload, the session's row and the licences, the decision, the record. */
  async function legacy(check: LegacyCheck): Promise<LegacyVerdict> {
    const { session, licenceKey } = check
    const product = await products.legacy()
    const hwid = sessionKeys.open(session, check.payload)
    const machine =
      product === null || hwid === null ? null : recognition.machineOf(product, hwid.toString('latin1'))
    // Both are read at once: whether the session lives decides if the licences count.
    const [row, candidates] = await Promise.all([
      sessionKeys.findLiving(session.sessionId),
      product === null || machine === null ? [] : recognition.candidatesFor(product, machine, licenceKey),
    ])
    const isElsewhere = product?.bindAddress === true && row?.clientIp !== check.address
    if (row === null || isElsewhere) return deny(check, product, null, 'session_expired')
    if (hwid === null || !sessionKeys.isOf(session, row))
      return deny(check, product, null, await sessionKeys.countFailure(row))
    if (product === null || machine === null)
      return notFound(check, product, { kind: 'not_found', reason: 'unknown', licence: null })
    return settle(check, product, machine, candidates)
  }

  async function settle(
    check: LegacyCheck,
    product: Product,
    machine: Machine,
    candidates: readonly Candidate[],
  ): Promise<LegacyVerdict> {
    const verdict = decide(candidates, clock())
    if (verdict.kind === 'not_found') return notFound(check, product, verdict)
    const { candidate } = verdict
    const { licence, device } = candidate.bound
    if (candidate.binding === 'none' && (await limits.isBlocked(check.address))) return refuseBlocked(check)
    if (verdict.kind === 'expired') return deny(check, product, licence, 'expired', device?.id)
    const outcome = await store.record(records.allowed(check, product, machine, candidate))
    if (outcome === 'session_over') return deny(check, product, licence, 'session_expired', device?.id)
    if (outcome === 'recorded')
      return { kind: 'granted', licence, texts: textsFor(licence, product), nowMs: clock() }
    // Another first check of this licence was committed a moment ago: what it enrolled is there to be read now.
    const now = await recognition.candidatesFor(product, machine, check.licenceKey)
    return settle(check, product, machine, now)
  }

  async function deny(
    check: LegacyCheck,
    product: Product | null,
    licence: Licence | null,
    kind: 'expired' | 'session_expired' | 'unreadable',
    deviceId?: string,
  ): Promise<LegacyVerdict> {
    await store.record(records.denied(check, { product, licence, reason: kind, deviceId }))
    return { kind }
  }

  async function notFound(
    check: LegacyCheck,
    product: Product | null,
    { reason, licence }: Extract<Verdict, { kind: 'not_found' }>,
  ): Promise<LegacyVerdict> {
    const { licenceKey } = check
    // Asked for every cause alike: else a block would tell which guesses exist.
    if (await limits.isBlocked(check.address)) return refuseBlocked(check)
    await store.record(records.denied(check, { product, licence, reason, deviceId: undefined }))
    if (reason === 'unknown')
      await limits.countUnknown(actorOf(check), licenceKey === undefined ? null : guessPrefixOf(licenceKey))
    return { kind: 'not_found' }
  }

  function refuseBlocked({ address }: LegacyCheck): LegacyVerdict {
    events.refuse('excess_rate_limit_exceeded', address)
    return { kind: 'blocked' }
  }

  return { legacy }
}
