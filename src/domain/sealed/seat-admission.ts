import type { EventRow } from '../../store/events.ts'
import type { Product } from '../../store/products.ts'
import type { Seat } from '../../store/seats.ts'
import type { CheckData } from '../../wire/sealed.ts'
import type { EventFacts, EventType } from '../events.ts'
import type { SeatTerms } from '../seats.ts'
import type { Verdict } from './decide.ts'
import type { Answer, Caller, Effects, Outcome } from './outcomes.ts'
import { type Full, type SeatEnd, seatFacts, takeSeat } from './seating.ts'
import { type Language, textOf } from './texts.ts'

export type SeatFacts = ReturnType<typeof seatFacts>

/** A machine that may run if there is a seat for it. */
type Candidate = {
  readonly caller: Caller
  readonly data: Pick<CheckData, 'lang'>
  readonly product: Product
  readonly verdict: Extract<Verdict, { kind: 'known' | 'enrol' }>
  readonly deviceId: string
  /** All seats of the licence. */
  readonly seats: readonly Seat[]
}

/** Whether a machine runs beside the others. `seat`: `null` where that is not counted. */
export type Placed = { readonly kind: 'placed'; readonly seat: SeatFacts | null; readonly effects: Effects }

/** What a device is told that has no seat. */
export function seatLimit(
  { supportCode }: Pick<Caller, 'supportCode'>,
  lang: Language | undefined,
  seats: number,
  { retryInS, isKicked }: Full,
): Answer {
  const data = {
    ...{ valid: false, support_code: supportCode, message: textOf('seat_limit', lang) },
    ...{ seats, retry_in: retryInS, ...(isKicked ? { kicked: true } : {}) },
  }
  return { status: 403, code: 'seat_limit', data }
}

/** What the record says of a seat that has ended. */
export function endFacts({ seat, reason }: SeatEnd): EventFacts {
  const { licenceId, deviceId, seatNo } = seat
  return { licenceId, deviceId, detail: { reason, seat_no: seatNo } }
}

/** A seat for a machine that may run, where the licence counts them; or what it is told that finds none. */
export function placeOf(
  { caller, data, product, verdict, deviceId, seats }: Candidate,
  terms: SeatTerms,
  eventOf: (type: EventType, facts: EventFacts) => EventRow,
): Placed | Outcome {
  const { licence } = verdict
  if (licence.seats === null) return { kind: 'placed', seat: null, effects: { events: [] } }
  const rules = terms(licence.seats, product.atSeatLimit)
  const { slotNo: preferredNo } = verdict.kind === 'known' ? verdict.device : verdict
  const applicant = { licenceId: licence.id, deviceId, sessionId: caller.sessionId, preferredNo }
  const seating = takeSeat(seats, applicant, rules)
  const { changes } = seating
  const ended = seating.ends.map((end) => eventOf('seat_ended', endFacts(end)))
  if (seating.kind === 'seated') {
    const seat = seatFacts(seating.seat, rules)
    return { kind: 'placed', seat, effects: { events: ended, seats: changes } }
  }
  const denied = eventOf('licence_check_denied', {
    licenceId: licence.id,
    deviceId: verdict.kind === 'known' ? deviceId : null,
    detail: { reason: 'seat_limit', kicked: seating.isKicked, asked: seating.asked?.deviceId ?? null },
  })
  const answer = seatLimit(caller, data.lang, rules.seats, seating)
  return { kind: 'answered', answer, effects: { events: [...ended, denied], seats: changes } }
}
