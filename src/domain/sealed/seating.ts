import type { AtLimit } from '../../store/accounts.ts'
import type { Seat, SeatChange } from '../../store/seats.ts'

/** How long a holder that is asked to make way may think about it. */
const YIELD_MS = 15_000

export type SeatRules = {
  /** How many the licence has. */
  readonly seats: number
  readonly atLimit: AtLimit
  /** A seat that was not renewed for so long is free. */
  readonly lapseMs: number
  readonly nowMs: number
}

/** A device that wants to run. */
export type Applicant = Pick<Seat, 'licenceId' | 'deviceId' | 'sessionId'> & {
  /** From 1: where it looks for a free seat first, so that devices which come together do not all want the same. */
  readonly preferredNo: number
}

/** `withdrawn`: the licence has fewer seats than it had. */
export type SeatEnd = {
  readonly seat: Seat
  readonly reason: 'kicked' | 'yielded' | 'withdrawn' | 'released'
}

/** What is to be written, and what there is to tell about it. */
type Consequences = { readonly changes: readonly SeatChange[]; readonly ends: readonly SeatEnd[] }

export type Seated = Consequences & { readonly kind: 'seated'; readonly seat: Seat }
export type Full = Consequences & {
  readonly kind: 'full'
  /** When it may be worth asking again: in so many seconds, 1 or more. */
  readonly retryInS: number
  /** Another device has taken the seat of this one. */
  readonly isKicked: boolean
  /** Whom this application has asked to make way. */
  readonly asked: Seat | null
}
export type Seating = Seated | Full

function isRecent({ renewedAtMs }: Seat, { lapseMs, nowMs }: SeatRules): boolean {
  // Either way: after a clock was set back, a time to come would keep a seat for as long as that lasts.
  return Math.abs(nowMs - renewedAtMs) < lapseMs
}

/** When a holder that was asked has to make way, while that is still to come. */
function pendingYield({ yieldByMs }: Seat, { nowMs }: SeatRules): number | null {
  return yieldByMs !== null && yieldByMs > nowMs && yieldByMs <= nowMs + YIELD_MS ? yieldByMs : null
}

function hasYielded({ yieldByMs }: Seat, { nowMs }: SeatRules): boolean {
  return yieldByMs !== null && yieldByMs <= nowMs
}

/** Whether the number is the device's, be the seat lapsed: nobody else can have it. */
function isHeld(seat: Seat, rules: SeatRules): boolean {
  return seat.seatNo !== null && seat.seatNo <= rules.seats && !hasYielded(seat, rules)
}

/** Whether the seat is taken, as others see it. */
export function isLive(seat: Seat, rules: SeatRules): boolean {
  return isHeld(seat, rules) && isRecent(seat, rules)
}

function secondsUntil(ms: number, { nowMs }: SeatRules): number {
  return Math.max(1, Math.ceil((ms - nowMs) / 1000))
}

function secondsToLapse(seat: Seat, rules: SeatRules): number {
  return secondsUntil(Math.min(seat.renewedAtMs, rules.nowMs) + rules.lapseMs, rules)
}

/** What the holder of a seat is told about it. */
export function seatFacts(seat: Seat, rules: SeatRules) {
  const yieldByMs = pendingYield(seat, rules)
  return {
    seats: rules.seats,
    lapses_in_s: secondsToLapse(seat, rules),
    ...(yieldByMs === null ? {} : { yield_by_s: secondsUntil(yieldByMs, rules) }),
  }
}

function renewed(own: Seat, sessionId: string, rules: SeatRules): Seat {
  const { nowMs } = rules
  const takenAtMs = isRecent(own, rules) ? own.takenAtMs : nowMs
  return { ...own, sessionId, takenAtMs, renewedAtMs: nowMs }
}

function freeNumber(taken: readonly Seat[], preferredNo: number, { seats }: SeatRules): number | null {
  const numbers = new Set(taken.map(({ seatNo }) => seatNo))
  for (let i = 0; i < seats; i++) {
    const seatNo = ((preferredNo - 1 + i) % seats) + 1
    if (!numbers.has(seatNo)) return seatNo
  }
  return null
}

/** What becomes of the seat whose number another device takes: its holder is told, if it can still be there. */
function displaced(seat: Seat | undefined, rules: SeatRules): Consequences {
  if (seat === undefined) return { changes: [], ends: [] }
  if (!isRecent(seat, rules)) return { changes: [{ seen: seat, next: null }], ends: [] }
  if (hasYielded(seat, rules))
    return {
      changes: [{ seen: seat, next: { ...seat, seatNo: null } }],
      ends: [{ seat, reason: 'yielded' }],
    }
  return {
    changes: [{ seen: seat, next: { ...seat, seatNo: null, yieldByMs: null } }],
    ends: [{ seat, reason: 'kicked' }],
  }
}

function takeOver(
  before: Seat | undefined,
  own: Seat | null,
  seatNo: number,
  { licenceId, deviceId, sessionId }: Applicant,
  rules: SeatRules,
): Seated {
  const { nowMs } = rules
  const seat: Seat = {
    ...{ licenceId, deviceId, seatNo, sessionId },
    ...{ takenAtMs: nowMs, renewedAtMs: nowMs, yieldByMs: null },
  }
  const { changes, ends } = displaced(before, rules)
  return { kind: 'seated', seat, changes: [...changes, { seen: own, next: seat }], ends }
}

/** A device that has lost its seat is told so once, before it may compete for another. */
function told(own: Seat, retryInS: number): Full {
  const isWithdrawn = own.seatNo !== null
  return {
    ...{ kind: 'full', retryInS, asked: null, isKicked: !isWithdrawn && own.yieldByMs === null },
    changes: [{ seen: own, next: null }],
    ends: isWithdrawn ? [{ seat: own, reason: 'withdrawn' }] : [],
  }
}

/** One holder at a time is asked: whoever comes meanwhile waits with the one who asked. */
function ask(taken: readonly Seat[], oldest: Seat, rules: SeatRules): Full {
  const pending = taken.map((seat) => pendingYield(seat, rules)).filter((ms) => ms !== null)
  const full = { kind: 'full', isKicked: false, asked: null, changes: [], ends: [] } as const
  if (pending.length > 0) return { ...full, retryInS: secondsUntil(Math.min(...pending), rules) }
  const asked = { ...oldest, yieldByMs: rules.nowMs + YIELD_MS }
  return { ...full, asked, retryInS: YIELD_MS / 1000, changes: [{ seen: oldest, next: asked }] }
}

/**
 * Finds a seat for a device: its own again, whatever session it comes in; a free one; or what the product's policy says.
 * @param seats all of the licence.
 */
export function takeSeat(seats: readonly Seat[], applicant: Applicant, rules: SeatRules): Seating {
  const own = seats.find(({ deviceId }) => deviceId === applicant.deviceId) ?? null
  if (own !== null && isHeld(own, rules)) {
    const seat = renewed(own, applicant.sessionId, rules)
    return { kind: 'seated', seat, changes: [{ seen: own, next: seat }], ends: [] }
  }
  const others = seats.filter((seat) => seat !== own)
  const taken = others.filter((seat) => isLive(seat, rules))
  const seatNo = freeNumber(taken, applicant.preferredNo, rules)
  if (seatNo !== null) {
    const before = others.find((seat) => seat.seatNo === seatNo)
    return takeOver(before, own, seatNo, applicant, rules)
  }
  const oldest = taken.reduce((a, b) => (b.renewedAtMs < a.renewedAtMs ? b : a))
  const retryInS = secondsToLapse(oldest, rules)
  if (own !== null && isRecent(own, rules)) return told(own, retryInS)
  if (rules.atLimit === 'kick') return takeOver(oldest, own, oldest.seatNo as number, applicant, rules)
  if (rules.atLimit === 'ask') return ask(taken, oldest, rules)
  return { kind: 'full', retryInS, isKicked: false, asked: null, changes: [], ends: [] }
}

/**
 * Renews the seat of a device that is at work, which may say that it keeps it.
 * @returns `null` when its number is no longer the device's: {@link takeSeat} says whether there is room for it.
 */
export function keepSeat(own: Seat, keeps: boolean, rules: SeatRules): Seating | null {
  if (own.seatNo !== null && hasYielded(own, rules)) {
    const ends = [{ seat: own, reason: 'yielded' }] as const
    const changes = [{ seen: own, next: null }]
    return { kind: 'full', retryInS: 1, isKicked: false, asked: null, changes, ends }
  }
  if (!isHeld(own, rules)) return null
  const seat = renewed(own, own.sessionId, rules)
  const next = keeps ? { ...seat, yieldByMs: null } : seat
  return { kind: 'seated', seat: next, changes: [{ seen: own, next }], ends: [] }
}
