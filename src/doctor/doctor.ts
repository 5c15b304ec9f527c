import { type Clock, systemClock } from '../clock.ts'
import { readSettings } from '../config.ts'
import { StoreError } from '../errors.ts'
import { type SchemaStatus, schemaStatus } from '../store/engine/migrations.ts'
import { certificateRoom } from './certificate.ts'
import { backlogRoom, cleanupEventRoom, schedulerRoom } from './cleanup.ts'
import { clocksRoom, legacyZoneRoom } from './clocks.ts'
import { type Connection, connect, databaseNameIn, notConnected } from './connection.ts'
import { diskRoom } from './disk.ts'
import { type Finding, notChecked } from './finding.ts'
import { keyAgesRoom } from './key-ages.ts'
import { keyFilesRoom, keyMatchRoom } from './keys.ts'
import { databaseLogRoom, kunciLogRoom } from './logs.ts'
import type { Patient, Room } from './patient.ts'
import { privilegesRoom } from './privileges.ts'
import { serverRoom } from './server.ts'
import { legacyProductRoom, settingsRoom } from './settings.ts'
import { tablesRoom } from './tables.ts'

const BEFORE_THE_DATABASE = [settingsRoom]
const AFTER_THE_DATABASE = [
  legacyProductRoom,
  serverRoom,
  privilegesRoom,
  tablesRoom,
  schedulerRoom,
  cleanupEventRoom,
  backlogRoom,
  clocksRoom,
  legacyZoneRoom,
  keyFilesRoom,
  keyMatchRoom,
  keyAgesRoom,
  diskRoom,
  kunciLogRoom,
  databaseLogRoom,
  certificateRoom,
]

/** Each room for itself: what one stumbles over hides nothing of the others. */
async function visit(room: Room, patient: Patient, connection: Connection): Promise<Finding[]> {
  const shut = (because: string) => room.ids(patient.dialect).map((id) => notChecked(id, because))
  const { db, facts, hasDatabase, noServer, noDatabase } = connection
  if (room.needs === 'server' && patient.dialect === 'sqlite') return []
  try {
    if (room.needs === 'nothing') return room.look(patient)
    if (room.needs === 'server')
      return db === null || facts === null ? shut(noServer) : await room.look(db, facts, patient)
    return db === null || !hasDatabase ? shut(noDatabase) : await room.look(db, patient, facts)
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    return shut(`the database answered: ${error.message}`)
  }
}

async function schemaOf({ db, hasDatabase }: Connection): Promise<SchemaStatus | null> {
  if (db === null || !hasDatabase) return null
  return schemaStatus(db, db.dialect).catch(() => null)
}

/**
 * Looks at everything that Kunci needs, and changes nothing: no file, no table, no key is made.
 * @returns what was found, in the order of `CHECKS`.
 */
export async function examine(
  env: Readonly<Record<string, string | undefined>>,
  clock: Clock = systemClock,
): Promise<Finding[]> {
  const { values, mistakes } = readSettings(env)
  const { databaseUrl, dataDir } = values
  const isUrlWrong = mistakes.some((mistake) => mistake.env === 'DATABASE_URL')
  const connection = isUrlWrong
    ? notConnected('DATABASE_URL cannot be understood')
    : await connect(databaseUrl, dataDir)
  try {
    const patient: Patient = {
      ...{ values, mistakes, clock, schema: await schemaOf(connection) },
      dialect: isUrlWrong || databaseUrl !== undefined ? 'mysql' : 'sqlite',
      databaseName: databaseUrl === undefined ? '' : databaseNameIn(databaseUrl),
    }
    const findings: Finding[] = []
    for (const room of BEFORE_THE_DATABASE) findings.push(...(await visit(room, patient, connection)))
    findings.push(...connection.findings)
    for (const room of AFTER_THE_DATABASE) findings.push(...(await visit(room, patient, connection)))
    return findings
  } finally {
    await connection.close()
  }
}
