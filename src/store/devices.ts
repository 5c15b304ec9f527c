import {
  type Database,
  insertMany,
  paddedList,
  placeholders,
  type Row,
  type Session,
  type Statement,
} from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'
import { freeSeats } from './seats.ts'

export type Device = {
  readonly id: string
  readonly licenceId: string
  /** `null` once released; 0 is the binding of the old contract, which takes no device slot. */
  readonly slotNo: number | null
  readonly createdAtMs: number
  readonly lastSeenMs: number | null
  readonly releasedAtMs: number | null
}

export type NewComponent = {
  readonly deviceId: string
  readonly type: string
  /** 16 bytes in hex. */
  readonly h: string
  readonly pepperId: string
  readonly firstSeenMs: number
}

export type NewDevice = {
  readonly id: string
  readonly licenceId: string
  readonly component: NewComponent
  readonly createdAtMs: number
  readonly lastSeenMs: number | null
}

/** A machine that takes a device slot. */
export type NewEnrolment = {
  readonly id: string
  readonly licenceId: string
  /** 1 and up. */
  readonly slotNo: number
  readonly components: readonly NewComponent[]
  readonly createdAtMs: number
}

export type DeviceStore = {
  list(filter: { licenceId?: string | undefined; limit: number }): Promise<Device[]>
  /** Releases a device, and frees its seat. @returns `false` when it was released already. */
  release(device: Device, nowMs: number, event: EventRow): Promise<boolean>
}

const LEGACY_SLOT = 0

/** Fails with a duplicate key for a component that its device has already. */
export function insertComponents(components: readonly NewComponent[]): Statement {
  return insertMany(
    'kunci_device_components',
    ['device_id', 'type', 'h', 'pepper_id', 'first_seen_ms'],
    components.map(({ deviceId, type, h, pepperId, firstSeenMs }) => [
      deviceId,
      type,
      h,
      pepperId,
      firstSeenMs,
    ]),
  )
}

/** The statements that bind devices in the old contract's slot; a second one of a licence fails with a duplicate key. */
export function enrolLegacyDevices(devices: readonly NewDevice[]): Statement[] {
  return [
    insertMany(
      'kunci_devices',
      ['id', 'licence_id', 'slot_no', 'created_at_ms', 'last_seen_ms'],
      devices.map(({ id, licenceId, createdAtMs, lastSeenMs }) => [
        id,
        licenceId,
        LEGACY_SLOT,
        createdAtMs,
        lastSeenMs,
      ]),
    ),
    insertComponents(devices.map(({ component }) => component)),
  ]
}

/** @throws {DuplicateKeyError} when the slot was taken meanwhile. */
export async function enrolDevice(tx: Session, device: NewEnrolment): Promise<void> {
  const { id, licenceId, slotNo, components, createdAtMs } = device
  const columns = ['id', 'licence_id', 'slot_no', 'created_at_ms', 'last_seen_ms']
  await tx.run(...insertMany('kunci_devices', columns, [[id, licenceId, slotNo, createdAtMs, createdAtMs]]))
  await tx.run(...insertComponents(components))
}

/** Takes a device out of its slot; no row matches when it is out already. */
export function releaseDevice(id: string, nowMs: number): Statement {
  return [
    'UPDATE kunci_devices SET slot_no = NULL, released_at_ms = ? WHERE id = ? AND slot_no IS NOT NULL',
    [nowMs, id],
  ]
}

/** Notes that devices were seen, all as of the latest sighting among them. */
export function seenTogether(seen: readonly { readonly id: string; readonly atMs: number }[]): Statement {
  // In one order, so that two batches that share devices do not wait for each other in a circle.
  const ids = paddedList(seen.map(({ id }) => id).sort())
  const atMs = Math.max(...seen.map((sighting) => sighting.atMs))
  return [
    `UPDATE kunci_devices SET last_seen_ms = ? WHERE id IN (${placeholders(ids.length)})`,
    [atMs, ...ids],
  ]
}

function fromColumns(row: Row): Device {
  return {
    id: String(row.id),
    licenceId: String(row.licence_id),
    slotNo: row.slot_no as number | null,
    createdAtMs: Number(row.created_at_ms),
    lastSeenMs: row.last_seen_ms as number | null,
    releasedAtMs: row.released_at_ms as number | null,
  }
}

export function deviceStore(db: Database): DeviceStore {
  return {
    list: async ({ licenceId, limit }) => {
      const rows = await db.all(
        `SELECT id, licence_id, slot_no, created_at_ms, last_seen_ms, released_at_ms FROM kunci_devices
         ${licenceId === undefined ? '' : 'WHERE licence_id = ?'}
         ORDER BY created_at_ms DESC, id LIMIT ${Math.floor(limit)}`,
        licenceId === undefined ? [] : [licenceId],
      )
      return rows.map(fromColumns)
    },
    release: (device, nowMs, event) =>
      db.transaction(async (tx) => {
        const changed = await tx.run(...releaseDevice(device.id, nowMs))
        if (changed !== 1) return false
        await tx.run(...freeSeats(device.licenceId, device.id))
        await tx.run(...insertEvents([event]))
        return true
      }),
  }
}
