import { Coalescer } from './engine/coalescer.ts'
import {
  type Database,
  insertMany,
  paddedList,
  placeholders,
  type Row,
  type Statement,
} from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'
import type { LegacyTexts } from './products.ts'
import { freeSeats } from './seats.ts'

export type LicenceState = 'active' | 'suspended' | 'revoked'

export type Licence = { readonly [K in keyof LegacyTexts]: string | null } & {
  readonly id: string
  readonly productId: string
  readonly customer: string
  readonly state: LicenceState
  readonly stateReason: string | null
  /** Empty: perpetual. */
  readonly expiresAtMs: number | null
  /** On how many machines it may run at once; empty: that is not counted. */
  readonly seats: number | null
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

/** A licence with the device that the old contract bound to it, if any. */
export type BoundLicence = {
  readonly licence: Licence
  readonly device: BoundDevice | null
  /** Whether a machine is enrolled under it by a sealed suite. Asked by licence key only, as a new machine comes with one. */
  readonly isEnrolled: boolean
}

export type BoundDevice = {
  readonly id: string
  /** Those of its component hashes that were asked for; by licence key all of the old contract's. */
  readonly hashes: readonly string[]
  readonly lastSeenMs: number | null
}

export type KeyHash = { readonly hash: string; readonly pepperId: string }

export type LicenceStore = {
  create(licence: Licence, key: KeyHash, also: readonly Statement[], event: EventRow): Promise<void>
  /**
   * Writes every field that can change, but only over the state the caller saw, and frees the seats of a licence that
   * is not active or has none. @returns whether it was still so.
   */
  update(licence: Licence, seen: Licence, event: EventRow): Promise<boolean>
  /** Gives a licence a key in the place of any other, but only over the state the caller saw. @returns whether it was still so. */
  setKey(licence: Licence, seen: Licence, key: KeyHash, event: EventRow): Promise<boolean>
  hasKey(id: string): Promise<boolean>
  find(id: string): Promise<Licence | null>
  list(filter: {
    productId?: string | undefined
    state?: string | undefined
    limit: number
  }): Promise<Licence[]>
  /** Every licence whose legacy device has one of these component hashes, each licence once. */
  findByDevice(hashes: readonly string[]): Promise<BoundLicence[]>
  findByKey(keyHash: string): Promise<BoundLicence | null>
}

const COLUMNS = [
  'id',
  'product_id',
  'customer',
  'state',
  'state_reason',
  'expires_at_ms',
  'seats',
  'sk',
  'sck',
  'maintenance',
  'status1_text',
  'created_at_ms',
  'updated_at_ms',
]
const SELECTED = COLUMNS.map((column) => `l.${column}`).join(', ')
const BATCH_MAX = 64
/** The components of a legacy device. Their hashes never meet: each is under a label of its own. */
const LEGACY_TYPES = "('volume', 'old_hwid')"

function toColumns(licence: Licence) {
  return [
    licence.id,
    licence.productId,
    licence.customer,
    licence.state,
    licence.stateReason,
    licence.expiresAtMs,
    licence.seats,
    licence.sk,
    licence.sck,
    licence.maintenance,
    licence.status1Text,
    licence.createdAtMs,
    licence.updatedAtMs,
  ]
}

function fromColumns(row: Row): Licence {
  return {
    id: String(row.id),
    productId: String(row.product_id),
    customer: String(row.customer),
    state: row.state as LicenceState,
    stateReason: row.state_reason as string | null,
    expiresAtMs: row.expires_at_ms as number | null,
    seats: row.seats as number | null,
    sk: row.sk as string | null,
    sck: row.sck as string | null,
    maintenance: row.maintenance as string | null,
    status1Text: row.status1_text as string | null,
    createdAtMs: Number(row.created_at_ms),
    updatedAtMs: Number(row.updated_at_ms),
  }
}

/** @param rows of one licence, one for each component of its device. */
function boundFromColumns(rows: readonly [Row, ...Row[]]): BoundLicence {
  const [first] = rows
  const hashes = rows.flatMap(({ h }) => (typeof h === 'string' ? h : []))
  const device =
    first.device_id === null
      ? null
      : { id: String(first.device_id), hashes, lastSeenMs: first.last_seen_ms as number | null }
  return { licence: fromColumns(first), device, isEnrolled: Number(first.is_enrolled ?? 0) === 1 }
}

function groupBy<T>(rows: readonly T[], keyOf: (row: T) => string): Map<string, [T, ...T[]]> {
  const groups = new Map<string, [T, ...T[]]>()
  for (const row of rows) {
    const group = groups.get(keyOf(row))
    if (group === undefined) groups.set(keyOf(row), [row])
    else group.push(row)
  }
  return groups
}

async function findByDevices(
  db: Database,
  machines: readonly (readonly string[])[],
): Promise<BoundLicence[][]> {
  const wanted = paddedList(machines.flat())
  const rows = await db.all(
    `SELECT ${SELECTED}, d.id AS device_id, d.last_seen_ms, c.h FROM kunci_device_components c
     JOIN kunci_devices d ON d.id = c.device_id AND d.slot_no = 0
     JOIN kunci_licences l ON l.id = d.licence_id
     WHERE c.type IN ${LEGACY_TYPES} AND c.h IN (${placeholders(wanted.length)})`,
    wanted,
  )
  const byHash = groupBy(rows, (row) => String(row.h))
  return machines.map((hashes) => {
    const own = hashes.flatMap((h) => byHash.get(h) ?? [])
    return [...groupBy(own, (row) => String(row.id)).values()].map(boundFromColumns)
  })
}

async function findByKeys(db: Database, hashes: readonly string[]): Promise<(BoundLicence | null)[]> {
  const wanted = paddedList(hashes)
  const rows = await db.all(
    `SELECT ${SELECTED}, l.key_hash, d.id AS device_id, d.last_seen_ms, c.h,
            EXISTS (SELECT 1 FROM kunci_devices e WHERE e.licence_id = l.id AND e.slot_no > 0) AS is_enrolled
     FROM kunci_licences l
     LEFT JOIN kunci_devices d ON d.licence_id = l.id AND d.slot_no = 0
     LEFT JOIN kunci_device_components c ON c.device_id = d.id AND c.type IN ${LEGACY_TYPES}
     WHERE l.key_hash IN (${placeholders(wanted.length)})`,
    wanted,
  )
  const byKey = groupBy(rows, (row) => String(row.key_hash))
  return hashes.map((hash) => {
    const own = byKey.get(hash)
    return own === undefined ? null : boundFromColumns(own)
  })
}

export {
  COLUMNS as LICENCE_COLUMNS,
  fromColumns as licenceFromColumns,
  SELECTED as LICENCE_SELECTED,
  toColumns as licenceToColumns,
}

export function licenceStore(db: Database): LicenceStore {
  const limits = { maxItems: BATCH_MAX, lanes: 1 }
  const byDevice = new Coalescer<readonly string[], BoundLicence[]>(
    (machines) => findByDevices(db, machines),
    limits,
  )
  const byKey = new Coalescer<string, BoundLicence | null>((hashes) => findByKeys(db, hashes), limits)
  return {
    create: (licence, key, also, event) => {
      const columns = [...COLUMNS, 'key_hash', 'key_pepper_id']
      const insert = insertMany('kunci_licences', columns, [[...toColumns(licence), key.hash, key.pepperId]])
      return db.batch([insert, ...also, insertEvents([event])])
    },
    update: (licence, seen, event) =>
      db.transaction(async (tx) => {
        const changes = COLUMNS.slice(2)
        const assignments = changes.map((column) => `${column} = ?`).join(', ')
        const changed = await tx.run(
          `UPDATE kunci_licences SET ${assignments} WHERE id = ? AND state = ? AND updated_at_ms = ?`,
          [...toColumns(licence).slice(2), licence.id, seen.state, seen.updatedAtMs],
        )
        if (changed !== 1) return false
        if (licence.state !== 'active' || licence.seats === null) await tx.run(...freeSeats(licence.id))
        await tx.run(...insertEvents([event]))
        return true
      }),
    setKey: (licence, seen, key, event) =>
      db.transaction(async (tx) => {
        const changed = await tx.run(
          `UPDATE kunci_licences SET key_hash = ?, key_pepper_id = ?, updated_at_ms = ?
           WHERE id = ? AND state = ? AND updated_at_ms = ?`,
          [key.hash, key.pepperId, licence.updatedAtMs, seen.id, seen.state, seen.updatedAtMs],
        )
        if (changed === 1) await tx.run(...insertEvents([event]))
        return changed === 1
      }),
    hasKey: async (id) => {
      const rows = await db.all('SELECT 1 FROM kunci_licences WHERE id = ? AND key_hash IS NOT NULL', [id])
      return rows.length > 0
    },
    find: async (id) => {
      const [row] = await db.all(`SELECT ${SELECTED} FROM kunci_licences l WHERE l.id = ?`, [id])
      return row === undefined ? null : fromColumns(row)
    },
    list: async ({ productId, state, limit }) => {
      const conditions = Object.entries({ 'l.product_id = ?': productId, 'l.state = ?': state }).flatMap(
        ([condition, value]) => (value === undefined ? [] : [{ condition, value }]),
      )
      const where =
        conditions.length === 0 ? '' : `WHERE ${conditions.map(({ condition }) => condition).join(' AND ')}`
      const rows = await db.all(
        `SELECT ${SELECTED} FROM kunci_licences l ${where} ORDER BY l.created_at_ms DESC, l.id LIMIT ${Math.floor(limit)}`,
        conditions.map(({ value }) => value),
      )
      return rows.map(fromColumns)
    },
    findByDevice: (hashes) => byDevice.submit(hashes),
    findByKey: (hash) => byKey.submit(hash),
  }
}
