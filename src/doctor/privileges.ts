import { type Remedy, sql, sqlName, sqlText } from '../remedy.ts'
import { expectedTables } from '../store/engine/schema.ts'
import { grantPattern, readPrivileges } from '../store/inspection/grants.ts'
import { type Finding, failed, ok, warning } from './finding.ts'
import type { Patient, Room } from './patient.ts'

const FOR_RUNNING = ['SELECT', 'INSERT', 'UPDATE', 'DELETE']
const FOR_MIGRATING = ['CREATE', 'ALTER', 'INDEX']
const FOR_CLEANING = 'EVENT'
const ALL = [...FOR_RUNNING, ...FOR_MIGRATING, FOR_CLEANING]

const idOf = (privilege: string) => `database.privilege.${privilege.toLowerCase()}`

function isMigrated({ schema }: Patient): boolean {
  return schema?.migrations.every(({ state }) => state === 'applied') ?? false
}

function missing(privilege: string, patient: Patient, mend: readonly Remedy[]): Finding {
  const [id, what] = [idOf(privilege), `This login may not ${privilege} in ${patient.databaseName}.`]
  if (FOR_RUNNING.includes(privilege))
    return failed(id, what, 'The server needs it at every request, and answers 503 without it.', mend)
  if (privilege === FOR_CLEANING)
    return warning(
      id,
      `This login may neither make nor see EVENTs in ${patient.databaseName}.`,
      'So the database cannot remove expired session keys by itself: the server does it each minute while it runs.',
      mend,
    )
  if (isMigrated(patient))
    return warning(
      id,
      what,
      'Nothing needs it now, and a login that may do less is safer. "kunci migrate" needs it again after an update.',
      mend,
    )
  return failed(id, what, '"kunci migrate" needs it, and has not made all tables yet.', mend)
}

export const privilegesRoom: Room = {
  ids: () => ALL.map(idOf),
  needs: 'server',
  look: async (db, facts, patient) => {
    const { databaseName } = patient
    const tables = expectedTables('mysql').map(({ name }) => name)
    const privileges = await readPrivileges(db, facts, databaseName)
    const pattern = await grantPattern(db, facts, databaseName, privileges.pattern)
    const account = `${sqlText(facts.account.user)}@${sqlText(facts.account.host)}`
    return ALL.map((privilege) => {
      // An EVENT belongs to a database, and new tables have no grants of their own.
      const ofTables = FOR_RUNNING.includes(privilege) ? tables : []
      if (privileges.has(privilege, ofTables)) return ok(idOf(privilege), `This login may ${privilege}.`)
      const grant = sql(`GRANT ${privilege} ON ${sqlName(pattern)}.* TO ${account};`)
      return missing(privilege, patient, [grant])
    })
  },
}
