import { Coalescer } from './engine/coalescer.ts'
import {
  type Database,
  insertMany,
  paddedList,
  placeholders,
  type Row,
  type Session,
  type Statement,
} from './engine/database.ts'

/** A device's place among those that may run at once under a licence. */
export type Seat = {
  readonly licenceId: string
  readonly deviceId: string
  /** From 1; `null` once another device has taken it and this one has not been told. */
  readonly seatNo: number | null
  /** The session that renewed it last. */
  readonly sessionId: string
  readonly takenAtMs: number
  readonly renewedAtMs: number
  /** Asked to make way: free from then on, unless its holder keeps it. */
  readonly yieldByMs: number | null
}

/** A seat as it was seen and as it is to be: `null` where there is none. Both are of one device and licence. */
export type SeatChange =
  | { readonly seen: Seat; readonly next: Seat | null }
  | { readonly seen: null; readonly next: Seat }

/** A seat with what its licence says. */
export type HeldSeat = Seat & {
  readonly productId: string
  /** How many the licence has; `null`: they are not counted any more. */
  readonly seats: number | null
}

export type SeatStore = {
  /** Every seat of a licence, by number; those without one first. */
  ofLicence(licenceId: string): Promise<Seat[]>
  /** The seats that a session was the last to renew. */
  ofSession(sessionId: string): Promise<HeldSeat[]>
}

const COLUMNS = [
  'licence_id',
  'device_id',
  'seat_no',
  'session_id',
  'taken_at_ms',
  'renewed_at_ms',
  'yield_by_ms',
]
const SELECTED = COLUMNS.map((column) => `s.${column}`).join(', ')
const BATCH_MAX = 64
/** Only over what was seen. Numbers begin with 1 and times are later than 1970: 0 stands for nothing. */
const AS_SEEN = `licence_id = ? AND device_id = ? AND COALESCE(seat_no, 0) = ? AND session_id = ?
     AND renewed_at_ms = ? AND COALESCE(yield_by_ms, 0) = ?`

function fromColumns(row: Row): Seat {
  return {
    licenceId: String(row.licence_id),
    deviceId: String(row.device_id),
    seatNo: row.seat_no as number | null,
    sessionId: String(row.session_id),
    takenAtMs: Number(row.taken_at_ms),
    renewedAtMs: Number(row.renewed_at_ms),
    yieldByMs: row.yield_by_ms as number | null,
  }
}

function insertSeat(seat: Seat): Statement {
  const { licenceId, deviceId, seatNo, sessionId, takenAtMs, renewedAtMs, yieldByMs } = seat
  const row = [licenceId, deviceId, seatNo, sessionId, takenAtMs, renewedAtMs, yieldByMs]
  return insertMany('kunci_seats', COLUMNS, [row])
}

function updateSeat(seen: Seat, next: Seat): Statement {
  const { seatNo, sessionId, takenAtMs, renewedAtMs, yieldByMs } = next
  return [
    `UPDATE kunci_seats SET seat_no = ?, session_id = ?, taken_at_ms = ?, renewed_at_ms = ?, yield_by_ms = ?
     WHERE ${AS_SEEN}`,
    [seatNo, sessionId, takenAtMs, renewedAtMs, yieldByMs, ...asSeen(seen)],
  ]
}

function asSeen({ licenceId, deviceId, seatNo, sessionId, renewedAtMs, yieldByMs }: Seat) {
  return [licenceId, deviceId, seatNo ?? 0, sessionId, renewedAtMs, yieldByMs ?? 0]
}

/**
 * @returns `false` when the seat is not as it was seen any more.
 * @throws {DuplicateKeyError} when another device took the number first, or this one another seat.
 */
export async function changeSeat(tx: Session, { seen, next }: SeatChange): Promise<boolean> {
  if (seen === null) return (await tx.run(...insertSeat(next))) === 1
  const statement: Statement =
    next === null ? [`DELETE FROM kunci_seats WHERE ${AS_SEEN}`, asSeen(seen)] : updateSeat(seen, next)
  return (await tx.run(...statement)) === 1
}

/** Frees the seats of a licence, or of one device of it. */
export function freeSeats(licenceId: string, deviceId?: string): Statement {
  if (deviceId === undefined) return ['DELETE FROM kunci_seats WHERE licence_id = ?', [licenceId]]
  return ['DELETE FROM kunci_seats WHERE licence_id = ? AND device_id = ?', [licenceId, deviceId]]
}

/** The seats of some licences, by licence. */
export async function readSeats(
  db: Pick<Database, 'all'>,
  licenceIds: readonly string[],
): Promise<Map<string, Seat[]>> {
  const wanted = paddedList(licenceIds)
  const rows = await db.all(
    `SELECT ${SELECTED} FROM kunci_seats s WHERE s.licence_id IN (${placeholders(wanted.length)})
     ORDER BY s.seat_no`,
    wanted,
  )
  return Map.groupBy(rows.map(fromColumns), ({ licenceId }) => licenceId)
}

async function findBySessions(db: Database, sessionIds: readonly string[]): Promise<HeldSeat[][]> {
  const wanted = paddedList(sessionIds)
  const rows = await db.all(
    `SELECT ${SELECTED}, l.product_id, l.seats FROM kunci_seats s
     JOIN kunci_licences l ON l.id = s.licence_id
     WHERE s.session_id IN (${placeholders(wanted.length)})`,
    wanted,
  )
  const held = rows.map((row) => ({
    ...fromColumns(row),
    productId: String(row.product_id),
    seats: row.seats as number | null,
  }))
  return sessionIds.map((id) => held.filter(({ sessionId }) => sessionId === id))
}

export function seatStore(db: Database): SeatStore {
  const bySession = new Coalescer<string, HeldSeat[]>((ids) => findBySessions(db, ids), {
    maxItems: BATCH_MAX,
    lanes: 1,
  })
  return {
    ofLicence: async (licenceId) => (await readSeats(db, [licenceId])).get(licenceId) ?? [],
    ofSession: (sessionId) => bySession.submit(sessionId),
  }
}
