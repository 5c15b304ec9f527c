import { type Database, insertMany, type Row, type Statement, upsert, type Value } from './engine/database.ts'

export type EventRow = {
  /** Begins with its time, so that ids sort as events happened. */
  readonly id: string
  readonly atMs: number
  readonly type: string
  readonly actor: string
  readonly address: string | null
  readonly productId: string | null
  readonly licenceId: string | null
  readonly deviceId: string | null
  readonly supportCode: string | null
  /**
   * How often it happened: more than 1 only for refusals, which are counted by cause, address and minute, and for an
   * import, which counts licences.
   */
  readonly count: number
  /** What else is worth knowing; never a secret. */
  readonly detail: Readonly<Record<string, string | number | boolean | null>>
}

export type EventFilter = {
  readonly type?: string | undefined
  readonly supportCode?: string | undefined
  readonly licenceId?: string | undefined
  /** Only events whose id is at or after this one. */
  readonly fromId?: string | undefined
  readonly limit: number
}

export type EventStore = {
  /** The newest events that fit, oldest first. */
  list(filter: EventFilter): Promise<EventRow[]>
  /** Adds counted refusals to their rows. */
  addRefusals(events: readonly EventRow[]): Promise<void>
}

const COLUMNS = [
  'id',
  'at_ms',
  'type',
  'actor',
  'address',
  'product_id',
  'licence_id',
  'device_id',
  'support_code',
  'count',
  'detail',
] as const

function toColumns(event: EventRow): Record<(typeof COLUMNS)[number], Value> {
  return {
    id: event.id,
    at_ms: event.atMs,
    type: event.type,
    actor: event.actor,
    address: event.address,
    product_id: event.productId,
    licence_id: event.licenceId,
    device_id: event.deviceId,
    support_code: event.supportCode,
    count: event.count,
    detail: JSON.stringify(event.detail),
  }
}

function textOrNull(value: Value | undefined): string | null {
  return value === null || value === undefined ? null : String(value)
}

function fromColumns(row: Row): EventRow {
  return {
    id: String(row.id),
    atMs: Number(row.at_ms),
    type: String(row.type),
    actor: String(row.actor),
    address: textOrNull(row.address),
    productId: textOrNull(row.product_id),
    licenceId: textOrNull(row.licence_id),
    deviceId: textOrNull(row.device_id),
    supportCode: textOrNull(row.support_code),
    count: Number(row.count),
    detail: JSON.parse(String(row.detail)),
  }
}

/** The statement that writes events, to go into the transaction of what they record. */
export function insertEvents(events: readonly EventRow[]): Statement {
  return insertMany(
    'kunci_events',
    COLUMNS,
    events.map((event) => Object.values(toColumns(event))),
  )
}

/** Writes an event, or adds its count to the row that has its id already. */
export function countEvent(dialect: Database['dialect'], event: EventRow): Statement {
  return upsert(dialect, 'kunci_events', toColumns(event), { key: 'id', add: ['count'] })
}

export function eventStore(db: Database): EventStore {
  return {
    list: async ({ type, supportCode, licenceId, fromId, limit }) => {
      const conditions = Object.entries({
        'type = ?': type,
        'support_code = ?': supportCode,
        'licence_id = ?': licenceId,
        'id >= ?': fromId,
      }).flatMap(([condition, value]) => (value === undefined ? [] : [{ condition, value }]))
      const where =
        conditions.length === 0 ? '' : `WHERE ${conditions.map(({ condition }) => condition).join(' AND ')}`
      const rows = await db.all(
        `SELECT ${COLUMNS.join(', ')} FROM kunci_events ${where} ORDER BY id DESC LIMIT ${Math.floor(limit)}`,
        conditions.map(({ value }) => value),
      )
      return rows.map(fromColumns).reverse()
    },
    addRefusals: (events) => db.batch(events.map((event) => countEvent(db.dialect, event))),
  }
}
