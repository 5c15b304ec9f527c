import type { Clock } from '../clock.ts'
import type { AtLimit } from '../store/accounts.ts'
import type { Seat, SeatStore } from '../store/seats.ts'
import type { Licences } from './licences.ts'
import { isLive, type SeatRules } from './sealed/seating.ts'

/** How often a device may miss to be heard before its seat is free. */
const MISSED_MAX = 2

export type SeatTerms = ReturnType<typeof createSeatTerms>

/** The rules of seats at this moment. @param checkAgainAfterS seconds from one check of a device to the next. */
export function createSeatTerms({ clock, checkAgainAfterS }: { clock: Clock; checkAgainAfterS: number }) {
  const lapseMs = MISSED_MAX * checkAgainAfterS * 1000
  return (seats: number, atLimit: AtLimit): SeatRules => ({ seats, atLimit, lapseMs, nowMs: clock() })
}

/** A seat that is taken. */
export type TakenSeat = Seat & { readonly seatNo: number; readonly lapsesAtMs: number }

export type Seats = ReturnType<typeof createSeats>

export function createSeats(deps: { store: SeatStore; licences: Licences; terms: SeatTerms }) {
  const { store, licences, terms } = deps

  /**
   * Who holds the seats of a licence, by number; nobody where they are not counted.
   * @throws {AppError} `licence_not_found`.
   */
  async function taken(licenceId: string): Promise<TakenSeat[]> {
    const { seats } = await licences.find(licenceId)
    if (seats === null) return []
    // No policy is asked for: a seat is taken under each of them alike.
    const rules = terms(seats, 'refuse')
    const all = await store.ofLicence(licenceId)
    return all.flatMap((seat) => {
      const { seatNo, renewedAtMs } = seat
      if (seatNo === null || !isLive(seat, rules)) return []
      return [{ ...seat, seatNo, lapsesAtMs: renewedAtMs + rules.lapseMs }]
    })
  }

  return { taken }
}
