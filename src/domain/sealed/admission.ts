import type { Clock } from '../../clock.ts'
import { parseLicenceKey } from '../../crypto/licence-key.ts'
import type { Random } from '../../random.ts'
import type { EnrolmentStore, Enrolments } from '../../store/enrolments.ts'
import type { StoredLease } from '../../store/leases.ts'
import type { Licence } from '../../store/licences.ts'
import type { Product } from '../../store/products.ts'
import { type CheckData, isCheckData } from '../../wire/sealed.ts'
import { isSeenAnew } from '../devices.ts'
import type { EventFacts, Events, EventType } from '../events.ts'
import { newId } from '../ids.ts'
import { guessPrefixOf } from '../licence-keys.ts'
import type { Limits } from '../limits.ts'
import type { Products } from '../products.ts'
import type { Recognition } from '../recognition.ts'
import type { SeatTerms } from '../seats.ts'
import { decide, isEnrolled, type Verdict } from './decide.ts'
import type { Machines, SeenMachine } from './machines.ts'
import { type Caller, type Effects, type Outcome, refused, slowDown } from './outcomes.ts'
import { placeOf, type SeatFacts } from './seat-admission.ts'
import { textOf } from './texts.ts'

const FINGERPRINT_SHOWN = 16

/** A machine that asks to run a tool under a licence. */
type Inquiry = {
  readonly op: string
  readonly caller: Caller
  readonly data: CheckData
  readonly machine: SeenMachine
  /** `null`: no product has the code of the tool. */
  readonly product: Product | null
}

/** A machine that may run. */
export type Admitted = {
  readonly kind: 'admitted'
  readonly data: CheckData
  readonly machine: SeenMachine
  readonly product: Product
  readonly licence: Licence
  readonly deviceId: string
  /** The device's newest lease. */
  readonly lease: StoredLease | null
  /** What it is told of its seat; `null` where seats are not counted. */
  readonly seat: SeatFacts | null
  /** What being seen brings about: enrolment, for a machine that is new, and a seat. */
  readonly effects: Effects
  readonly isNew: boolean
  /** An event about this inquiry. */
  readonly eventOf: (type: EventType, detail: EventFacts['detail']) => ReturnType<Events['build']>
}

type Denial = Exclude<Verdict, { kind: 'known' | 'enrol' }>
type Admission = Exclude<Verdict, Denial>

/** Judges who may run: what licence.check and lease.issue have in common. */
export function createAdmission(deps: {
  store: EnrolmentStore
  products: Products
  recognition: Recognition
  machines: Machines
  seatTerms: SeatTerms
  limits: Limits
  events: Events
  clock: Clock
  random: Random
}) {
  const { store, products, recognition, machines, seatTerms, limits, events, clock, random } = deps

  async function inquire(op: string, caller: Caller, data: unknown): Promise<Inquiry | null> {
    const machine = isCheckData(data) ? machines.seen(data.tool, data.hwid) : null
    if (!isCheckData(data) || machine === null) return null
    return { op, caller, data, machine, product: await products.ofTool(data.tool) }
  }

  async function enrolmentsOf(licenceKey: string): Promise<Enrolments | null> {
    const key = parseLicenceKey(licenceKey)
    if (key === null) return null
    const found = await Promise.all(recognition.keyHashesOf(key).map((hash) => store.findByKey(hash)))
    return found.find((enrolments) => enrolments !== null) ?? null
  }

  /**
   * Whoever guesses too much waits, also where he has hit: else a block would tell which guesses exist. A machine that is
   * enrolled never does.
   */
  async function blocked(
    { caller: { address }, machine }: Inquiry,
    found: Enrolments | null,
  ): Promise<Outcome | null> {
    if (isEnrolled(found, machine.parts)) return null
    const blockedMs = await limits.blockedForMs(address)
    if (blockedMs === 0) return null
    events.refuse('excess_rate_limit_exceeded', address)
    return slowDown(Math.ceil(blockedMs / 1000))
  }

  function eventOf({ op, caller, machine, product }: Inquiry, type: EventType, facts: EventFacts) {
    const fingerprint = machine.fingerprint.slice(0, FINGERPRINT_SHOWN)
    const detail = { contract: caller.suite, op, fingerprint, ...facts.detail }
    const known = { productId: product?.id ?? null, supportCode: caller.supportCode }
    return events.build(type, { name: 'client', address: caller.address }, { ...known, ...facts, detail })
  }

  function deny(inquiry: Inquiry, verdict: Denial): Outcome {
    const { caller, data } = inquiry
    const { kind: code, licence } = verdict
    const reason = code === 'licence_invalid' ? verdict.reason : code
    const said = { valid: false, support_code: caller.supportCode, message: textOf(code, data.lang) }
    const event = eventOf(inquiry, 'licence_check_denied', {
      licenceId: licence?.id ?? null,
      detail: { reason },
    })
    const denial = {
      kind: 'answered',
      answer: { status: 403, code, data: said },
      effects: { events: [event] },
    } as const
    if (reason !== 'unknown') return denial
    const prefix = guessPrefixOf(data.licence)
    const actor = { name: 'client', address: caller.address }
    return { ...denial, onceRecorded: () => limits.countUnknown(actor, prefix) }
  }

  /** A binding of the old contract makes way for a machine that is enrolled. */
  function ending(inquiry: Inquiry, { endsDeviceId: id, licence }: Admission): Effects {
    if (id === null) return { events: [] }
    const event = eventOf(inquiry, 'device_binding_ended', { licenceId: licence.id, deviceId: id })
    return { events: [event], release: { id, atMs: clock() } }
  }

  /** What it brings about that this machine is seen now. */
  function sighting(inquiry: Inquiry, verdict: Admission): Pick<Admitted, 'deviceId' | 'lease' | 'effects'> {
    const nowMs = clock()
    const ended = ending(inquiry, verdict)
    if (verdict.kind === 'known') {
      const { id, lastSeenMs, lease } = verdict.device
      return {
        deviceId: id,
        lease,
        effects: { ...ended, seenDevice: isSeenAnew(lastSeenMs, nowMs) ? { id, atMs: nowMs } : undefined },
      }
    }
    const { licence, slotNo } = verdict
    const id = newId('dev', random)
    const components = machines.componentsOf(id, inquiry.data.tool, inquiry.machine, nowMs)
    const enrol = { id, licenceId: licence.id, slotNo, components, createdAtMs: nowMs }
    return { deviceId: id, lease: null, effects: { ...ended, enrol } }
  }

  /** @param data what the client sent, unchecked. */
  return async (op: string, caller: Caller, data: unknown): Promise<Admitted | Outcome> => {
    const inquiry = await inquire(op, caller, data)
    if (inquiry === null) return refused(400, 'bad_data')
    const { product, machine } = inquiry
    if (product?.bindAddress === true && caller.address !== caller.sessionAddress)
      return { kind: 'foreign_address' }
    const found = await enrolmentsOf(inquiry.data.licence)
    const wait = await blocked(inquiry, found)
    if (wait !== null) return wait
    const verdict = decide(found, product?.id ?? null, machine.parts, clock())
    if (product === null || (verdict.kind !== 'known' && verdict.kind !== 'enrol'))
      return deny(inquiry, verdict as Denial)
    const { effects, ...seen } = sighting(inquiry, verdict)
    const candidate = { ...inquiry, product, verdict, deviceId: seen.deviceId, seats: found?.seats ?? [] }
    const place = placeOf(candidate, seatTerms, (type, about) => eventOf(inquiry, type, about))
    if (place.kind !== 'placed') return place
    const facts = { licenceId: verdict.licence.id, deviceId: seen.deviceId }
    return {
      ...{ kind: 'admitted', data: inquiry.data, machine, product, licence: verdict.licence, ...seen },
      ...{ seat: place.seat, isNew: verdict.kind === 'enrol' },
      effects: { ...effects, ...place.effects, events: [...effects.events, ...place.effects.events] },
      eventOf: (type, detail = {}) => eventOf(inquiry, type, { ...facts, detail }),
    }
  }
}

export type Judge = ReturnType<typeof createAdmission>
