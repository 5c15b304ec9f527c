import type { Clock } from '../clock.ts'
import { formatLicenceKey } from '../crypto/licence-key.ts'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'
import { enrolLegacyDevices } from '../store/devices.ts'
import type { Licence, LicenceState, LicenceStore } from '../store/licences.ts'
import type { LegacyTexts } from '../store/products.ts'
import type { Actor, Events, EventType } from './events.ts'
import { newId } from './ids.ts'
import { changedMeanwhile, newLicenceKey, refuseRevoked } from './licence-keys.ts'
import type { Products } from './products.ts'
import type { Recognition } from './recognition.ts'
import { requireTexts } from './texts.ts'

export type LicenceTexts = { readonly [K in keyof LegacyTexts]?: string | null }

export type NewLicence = LicenceTexts & {
  readonly productCode: string
  readonly customer: string
  /** `null`: perpetual. */
  readonly expiresAtMs: number | null
  /** On how many machines it may run at once. Left out: that is not counted. */
  readonly seats?: number | null | undefined
  /** The machine to bind at once, as the old program names it. */
  readonly hwid?: string | undefined
}

export type LicenceChanges = LicenceTexts & {
  readonly customer?: string
  /** `null`: that is not counted any more. */
  readonly seats?: number | null
}

/** Each seat may be a device to look at in every check. */
export const SEATS_MAX = 1000

/** @throws {AppError} `invalid_argument`. */
function requireSeats(seats: number | null | undefined): void {
  if (seats === null || seats === undefined) return
  if (Number.isInteger(seats) && seats >= 1 && seats <= SEATS_MAX) return
  throw new AppError('invalid_argument', { detail: `a licence has 1 to ${SEATS_MAX} seats, not ${seats}` })
}

export type Licences = ReturnType<typeof createLicences>

export function createLicences(deps: {
  store: LicenceStore
  products: Products
  events: Events
  recognition: Recognition
  clock: Clock
  random: Random
}) {
  const { store, products, events, recognition, clock, random } = deps

  /**
   * Creates a licence, and binds its first machine where one is named.
   * @returns the licence and its key, which is kept nowhere and cannot be shown again.
   * @throws {AppError} `product_not_found`, or `invalid_argument` for a text that cannot be kept, an HWID without a
   *   letter or digit, or a number of seats that no licence has.
   */
  async function create(actor: Actor, wish: NewLicence): Promise<{ licence: Licence; key: string }> {
    const product = await products.find(wish.productCode)
    requireTexts(wish)
    requireSeats(wish.seats)
    const machine = wish.hwid === undefined ? undefined : recognition.machineOf(product, wish.hwid)
    if (machine === null)
      throw new AppError('invalid_argument', { detail: 'the HWID has no letter or digit in it' })
    const nowMs = clock()
    const licence: Licence = {
      ...{
        id: newId('lic', random),
        productId: product.id,
        customer: wish.customer,
        expiresAtMs: wish.expiresAtMs,
        seats: wish.seats ?? null,
      },
      ...{ state: 'active', stateReason: null, createdAtMs: nowMs, updatedAtMs: nowMs },
      ...{ sk: wish.sk ?? null, sck: wish.sck ?? null },
      ...{ maintenance: wish.maintenance ?? null, status1Text: wish.status1Text ?? null },
    }
    const key = newLicenceKey(random)
    const device = machine === undefined ? undefined : recognition.newDevice(licence.id, machine, nowMs, null)
    await store.create(
      licence,
      recognition.keyHash(key),
      device === undefined ? [] : enrolLegacyDevices([device]),
      events.build('licence_created', actor, {
        productId: product.id,
        licenceId: licence.id,
        deviceId: device?.id ?? null,
      }),
    )
    return { licence, key: formatLicenceKey(key) }
  }

  /** @throws {AppError} `licence_not_found`. */
  async function find(id: string): Promise<Licence> {
    const licence = await store.find(id)
    if (licence === null) throw new AppError('licence_not_found', { detail: `no licence has the id "${id}"` })
    return licence
  }

  async function change(
    actor: Actor,
    type: EventType,
    seen: Licence,
    changes: Partial<Licence>,
  ): Promise<Licence> {
    // Later than what was seen even within one millisecond, as the guard compares it.
    const licence = { ...seen, ...changes, updatedAtMs: Math.max(clock(), seen.updatedAtMs + 1) }
    const { expiresAtMs, seats } = licence
    const detail = { reason: changes.stateReason ?? null, expires_at_ms: expiresAtMs, seats }
    const facts = { productId: licence.productId, licenceId: licence.id, detail }
    if (await store.update(licence, seen, events.build(type, actor, facts))) return licence
    throw changedMeanwhile(seen.id)
  }

  async function changeState(
    actor: Actor,
    id: string,
    move: { type: EventType; from: readonly LicenceState[]; to: LicenceState; reason: string | null },
  ): Promise<Licence> {
    requireTexts({ reason: move.reason })
    const seen = await find(id)
    if (!move.from.includes(seen.state))
      throw new AppError('licence_state', {
        detail: `${id} is ${seen.state}; only ${move.from.join(' or ')} can become ${move.to}`,
      })
    return change(actor, move.type, seen, { state: move.to, stateReason: move.reason })
  }

  return {
    create,
    find,
    list: (filter: Parameters<LicenceStore['list']>[0]) => store.list(filter),
    suspend: (actor: Actor, id: string, reason: string | null) =>
      changeState(actor, id, { type: 'licence_suspended', from: ['active'], to: 'suspended', reason }),
    resume: (actor: Actor, id: string) =>
      changeState(actor, id, { type: 'licence_resumed', from: ['suspended'], to: 'active', reason: null }),
    revoke: (actor: Actor, id: string, reason: string | null) =>
      changeState(actor, id, {
        type: 'licence_revoked',
        from: ['active', 'suspended'],
        to: 'revoked',
        reason,
      }),
    renew: async (actor: Actor, id: string, expiresAtMs: number | null) => {
      const seen = await find(id)
      refuseRevoked(seen)
      return change(actor, 'licence_renewed', seen, { expiresAtMs })
    },
    update: async (actor: Actor, id: string, changes: LicenceChanges) => {
      requireTexts(changes)
      requireSeats(changes.seats)
      return change(actor, 'licence_updated', await find(id), changes)
    },
  }
}
