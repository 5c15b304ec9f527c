import { enrolLegacyDevices, type NewDevice } from './devices.ts'
import {
  type Database,
  insertMany,
  paddedList,
  placeholders,
  type Statement,
  unlessThere,
} from './engine/database.ts'
import { countEvent, type EventRow } from './events.ts'
import {
  LICENCE_COLUMNS,
  LICENCE_SELECTED,
  type Licence,
  licenceFromColumns,
  licenceToColumns,
} from './licences.ts'
import { insertSessionKeys, type SessionKeyRow } from './session-keys.ts'

/** A licence without a key, and the device that it is bound to. */
export type ImportedLicence = { readonly licence: Licence; readonly device: NewDevice }

/** A licence that is there, by the component hash or the id that was asked for. */
export type KnownLicence = { readonly by: string; readonly licence: Licence }

export type ImportStore = {
  /** The licences of a product that have such an id, or had a device with such a hash of an old server, released or not. */
  known(productId: string, hashes: readonly string[], ids: readonly string[]): Promise<KnownLicence[]>
  /** Writes all in one transaction and adds to the event's count. @returns `false` when one was there already, and none was written. */
  write(imported: readonly ImportedLicence[], event: EventRow): Promise<boolean>
  knownSessions(sessionIds: readonly string[]): Promise<string[]>
  /** @returns `false` when one was there already, and none was written. */
  writeSessions(rows: readonly SessionKeyRow[]): Promise<boolean>
}

/** Keeps a statement below a megabyte, however long its texts. */
const STATEMENT_ROWS = 64

/** Rows in portions of a statement each. */
export function slices<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / STATEMENT_ROWS)
  return Array.from({ length: count }, (_, i) => items.slice(i * STATEMENT_ROWS, (i + 1) * STATEMENT_ROWS))
}

function insertLicences(imported: readonly ImportedLicence[]): Statement[] {
  return [
    insertMany(
      'kunci_licences',
      LICENCE_COLUMNS,
      imported.map(({ licence }) => licenceToColumns(licence)),
    ),
    ...enrolLegacyDevices(imported.map(({ device }) => device)),
  ]
}

export function importStore(db: Database): ImportStore {
  return {
    known: async (productId, hashes, ids) => {
      // The product is looked at here: asked for it, SQLite would go through all of its licences.
      const [hs, wanted] = [paddedList(hashes), paddedList(ids)]
      const byHash = await db.all(
        `SELECT ${LICENCE_SELECTED}, c.h FROM kunci_device_components c
         JOIN kunci_devices d ON d.id = c.device_id
         JOIN kunci_licences l ON l.id = d.licence_id
         WHERE c.type = 'old_hwid' AND c.h IN (${placeholders(hs.length)})`,
        hs,
      )
      const byId = await db.all(
        `SELECT ${LICENCE_SELECTED} FROM kunci_licences l
         WHERE l.id IN (${placeholders(wanted.length)})`,
        wanted,
      )
      return [
        ...byHash.map((row) => ({ by: String(row.h), licence: licenceFromColumns(row) })),
        ...byId.map((row) => ({ by: String(row.id), licence: licenceFromColumns(row) })),
      ].filter(({ licence }) => licence.productId === productId)
    },
    write: (imported, event) =>
      unlessThere(db.batch([...slices(imported).flatMap(insertLicences), countEvent(db.dialect, event)])),
    knownSessions: async (sessionIds) => {
      const wanted = paddedList(sessionIds)
      const rows = await db.all(
        `SELECT session_id FROM session_keys WHERE session_id IN (${placeholders(wanted.length)})`,
        wanted,
      )
      return rows.map(({ session_id }) => String(session_id))
    },
    writeSessions: (rows) => unlessThere(db.batch(slices(rows).map(insertSessionKeys))),
  }
}
