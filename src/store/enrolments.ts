import { Coalescer } from './engine/coalescer.ts'
import { type Database, paddedList, placeholders, type Row } from './engine/database.ts'
import type { StoredLease } from './leases.ts'
import { LICENCE_SELECTED, type Licence, licenceFromColumns } from './licences.ts'
import { readSeats, type Seat } from './seats.ts'

/** A device in use under a licence, with what it is known by and its newest lease. */
export type EnrolledDevice = {
  readonly id: string
  /** 0 is the binding of the old contract, 1 and up are device slots. */
  readonly slotNo: number
  readonly lastSeenMs: number | null
  /** Component hashes by type, 16 bytes in hex. */
  readonly parts: ReadonlyMap<string, readonly string[]>
  readonly lease: StoredLease | null
}

/** A licence with every device in use under it. */
export type Enrolments = {
  readonly licence: Licence
  readonly devices: readonly EnrolledDevice[]
  /** None where they are not counted. */
  readonly seats: readonly Seat[]
}

export type EnrolmentStore = {
  /** The licence that has this key hash, with its devices. */
  findByKey(keyHash: string): Promise<Enrolments | null>
}

const BATCH_MAX = 64

function leaseFromColumns(row: Row): StoredLease | null {
  if (row.lease === null) return null
  return {
    seq: Number(row.lease_seq),
    basis: String(row.lease_basis),
    lease: String(row.lease),
    issuedAtMs: Number(row.lease_issued_at_ms),
    expiresAtMs: Number(row.lease_expires_at_ms),
  }
}

/** @param text `type hash,type hash…`; `null` for a device that has no components. */
function partsFrom(text: string | null): Map<string, string[]> {
  const parts = new Map<string, string[]>()
  for (const part of text?.split(',') ?? []) {
    const [type = '', h = ''] = part.split(' ')
    const known = parts.get(type)
    if (known === undefined) parts.set(type, [h])
    else known.push(h)
  }
  return parts
}

function deviceFromColumns(row: Row): EnrolledDevice {
  return {
    id: String(row.device_id),
    slotNo: Number(row.slot_no),
    lastSeenMs: row.last_seen_ms as number | null,
    parts: partsFrom(row.parts as string | null),
    lease: leaseFromColumns(row),
  }
}

type Unseated = { licence: Licence; devices: EnrolledDevice[] }

/** @param rows one for each device; a licence without devices has one too. */
function fromRows(rows: readonly Row[]): Map<string, Unseated> {
  const found = new Map<string, Unseated>()
  for (const row of rows) {
    const key = String(row.key_hash)
    const own = found.get(key) ?? { licence: licenceFromColumns(row), devices: [] }
    found.set(key, own)
    if (row.device_id !== null) own.devices.push(deviceFromColumns(row))
  }
  return found
}

/** A read of its own, which only licences whose seats are counted pay for. */
async function seatsCounted(db: Database, found: readonly Unseated[]): Promise<Map<string, Seat[]>> {
  const counted = found.filter(({ licence }) => licence.seats !== null)
  if (counted.length === 0) return new Map()
  return readSeats(
    db,
    counted.map(({ licence }) => licence.id),
  )
}

async function findByKeys(db: Database, hashes: readonly string[]): Promise<(Enrolments | null)[]> {
  const wanted = paddedList(hashes)
  const rows = await db.all(
    // A row for each device and not for each of its components, which would bring the lease along every time.
    `SELECT ${LICENCE_SELECTED}, l.key_hash, d.id AS device_id, d.slot_no, d.last_seen_ms,
            (SELECT GROUP_CONCAT(CONCAT(c.type, ' ', c.h)) FROM kunci_device_components c
             WHERE c.device_id = d.id) AS parts,
            s.seq AS lease_seq, s.basis AS lease_basis, s.lease,
            s.issued_at_ms AS lease_issued_at_ms, s.expires_at_ms AS lease_expires_at_ms
     FROM kunci_licences l
     LEFT JOIN kunci_devices d ON d.licence_id = l.id AND d.slot_no IS NOT NULL
     LEFT JOIN kunci_leases s ON s.device_id = d.id
     WHERE l.key_hash IN (${placeholders(wanted.length)})`,
    wanted,
  )
  const byKey = fromRows(rows)
  const seatsOf = await seatsCounted(db, [...byKey.values()])
  return hashes.map((hash) => {
    const found = byKey.get(hash)
    return found === undefined ? null : { ...found, seats: seatsOf.get(found.licence.id) ?? [] }
  })
}

export function enrolmentStore(db: Database): EnrolmentStore {
  const byKey = new Coalescer<string, Enrolments | null>((hashes) => findByKeys(db, hashes), {
    maxItems: BATCH_MAX,
    lanes: 1,
  })
  return { findByKey: (keyHash) => byKey.submit(keyHash) }
}
