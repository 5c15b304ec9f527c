import type { Clock } from '../../clock.ts'
import type { HeldSeat, SeatStore } from '../../store/seats.ts'
import { isNoData, isPingData, type PingData } from '../../wire/sealed.ts'
import type { EventFacts, Events, EventType } from '../events.ts'
import type { SeatTerms } from '../seats.ts'
import { type Answer, answered, type Caller, type Outcome, refused } from './outcomes.ts'
import { endFacts, seatLimit } from './seat-admission.ts'
import { keepSeat, type SeatEnd, type Seating, type SeatRules, seatFacts, takeSeat } from './seating.ts'

type Said = Readonly<Record<string, unknown>>

/** A seat of the session, and what becomes of it. */
type Fate = { readonly held: HeldSeat; readonly rules: SeatRules; readonly seating: Seating }

export type Presence = ReturnType<typeof createPresence>

/** Who is still at work: what `ping` and `session.close` mean for the seats of their session. */
export function createPresence(deps: { store: SeatStore; terms: SeatTerms; events: Events; clock: Clock }) {
  const { store, terms, events, clock } = deps

  function eventOf(
    { address, suite, supportCode }: Caller,
    type: EventType,
    { productId }: HeldSeat,
    facts: EventFacts,
  ) {
    const detail = { contract: suite, ...facts.detail }
    return events.build(type, { name: 'client', address }, { productId, supportCode, ...facts, detail })
  }

  async function fateOf(held: HeldSeat, seats: number, keeps: boolean): Promise<Fate> {
    // Who is at work kicks nobody and asks nobody: that is for those who begin.
    const rules = terms(seats, 'refuse')
    const kept = keepSeat(held, keeps, rules)
    if (kept !== null) return { held, rules, seating: kept }
    const all = await store.ofLicence(held.licenceId)
    return { held, rules, seating: takeSeat(all, { ...held, preferredNo: 1 }, rules) }
  }

  function eventsOf(caller: Caller, { held, seating }: Fate, keeps: boolean) {
    const { licenceId, deviceId } = held
    const ended = seating.ends.map((end) => eventOf(caller, 'seat_ended', held, endFacts(end)))
    if (seating.kind === 'full') {
      const detail = { op: 'ping', reason: 'seat_limit', kicked: seating.isKicked }
      return [...ended, eventOf(caller, 'licence_check_denied', held, { licenceId, deviceId, detail })]
    }
    if (!keeps || held.yieldByMs === null) return ended
    return [...ended, eventOf(caller, 'seat_kept', held, { licenceId, deviceId })]
  }

  /** What one seat of several has lost, or is asked for, comes first. */
  function answerTo(caller: Caller, { lang }: PingData, fates: readonly Fate[]): Answer {
    for (const { rules, seating } of fates)
      if (seating.kind === 'full') return seatLimit(caller, lang, rules.seats, seating)
    const facts = fates.flatMap(({ rules, seating }) =>
      seating.kind === 'seated' ? seatFacts(seating.seat, rules) : [],
    )
    const seat = facts.find((fact) => 'yield_by_s' in fact) ?? facts[0]
    return { status: 200, code: 'ok', data: seat === undefined ? {} : { seat } }
  }

  async function ping(caller: Caller, data: Said): Promise<Outcome> {
    if (!isPingData(data)) return refused(400, 'bad_data')
    const keeps = data.keep === true
    const held = await store.ofSession(caller.sessionId)
    const fates = await Promise.all(
      held.flatMap((seat) => (seat.seats === null ? [] : fateOf(seat, seat.seats, keeps))),
    )
    if (fates.length === 0) return answered({}, { events: [] })
    const happened = fates.flatMap((fate) => eventsOf(caller, fate, keeps))
    const seats = fates.flatMap(({ seating }) => seating.changes)
    return { kind: 'answered', answer: answerTo(caller, data, fates), effects: { events: happened, seats } }
  }

  async function close(caller: Caller, data: Said): Promise<Outcome> {
    if (!isNoData(data)) return refused(400, 'bad_data')
    const held = await store.ofSession(caller.sessionId)
    const ended = held.flatMap((seat): { seat: HeldSeat; reason: SeatEnd['reason'] }[] => {
      if (seat.seatNo === null) return []
      return [{ seat, reason: seat.yieldByMs === null ? 'released' : 'yielded' }]
    })
    return answered(
      {},
      {
        events: ended.map((end) => eventOf(caller, 'seat_ended', end.seat, endFacts(end))),
        seats: held.map((seen) => ({ seen, next: null })),
        closeAtMs: clock(),
      },
    )
  }

  return { ping, close }
}
