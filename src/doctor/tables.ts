import { advice, command, type Remedy, sql } from '../remedy.ts'
import type { Database } from '../store/engine/database.ts'
import { type SchemaStatus, schemaStatus } from '../store/engine/migrations.ts'
import { expectedTables } from '../store/engine/schema.ts'
import { type Flaw, tableFlaws } from '../store/inspection/tables.ts'
import { type Finding, failed, notChecked, ok, warning } from './finding.ts'
import type { Room } from './patient.ts'

function migrationsFinding({ migrations }: SchemaStatus): Finding {
  const id = 'migrations'
  const behind = migrations.filter(({ state }) => state !== 'applied')
  if (behind.length === 0) return ok(id, `All ${migrations.length} migrations are applied.`)
  const what = behind.map(({ name, state }) => `${name} is ${state}`).join(', ')
  if (behind.some(({ state }) => state === 'unknown' || state === 'changed'))
    return failed(
      id,
      `${what}.`,
      'Another version of Kunci migrated this database: this one does not start.',
      [advice('Run that version, or restore the backup that fits this one.')],
    )
  return failed(
    id,
    `${what}.`,
    'On MySQL and MariaDB the server does not start before; on SQLite its start does it.',
    [command('kunci migrate')],
  )
}

/** One statement each, and each once: what a session is told once holds for all that follows. */
function mendingOf(flaws: readonly Flaw[]): Remedy[] {
  const remedies = flaws.flatMap(({ remedy }) =>
    remedy.kind === 'sql' ? remedy.text.split('\n').map(sql) : [remedy],
  )
  return [...new Map(remedies.map((remedy) => [remedy.text, remedy])).values()]
}

function tableFinding(table: string, flaws: readonly Flaw[]): Finding {
  const id = `table.${table}`
  if (flaws.length === 0) return ok(id, 'Columns, keys and indexes are there.')
  const what = `${flaws.map((flaw) => flaw.what).join('. ')}.`
  const mend = mendingOf(flaws)
  if (flaws.some(({ isGrave }) => isGrave))
    return failed(id, what, 'Kunci cannot keep or find its rows as it must.', mend)
  return warning(id, what, 'Kunci works all the same, but slower or with fewer characters.', mend)
}

/** What is missing stops a start, so it is grave; the flaws are what a start does not look at. */
function findingsFor(
  dialect: Database['dialect'],
  { migrations, damage }: SchemaStatus,
  flaws: readonly Flaw[],
): Finding[] {
  return expectedTables(dialect).map(({ name, migration }) => {
    const state = migrations.find((candidate) => candidate.name === migration)?.state
    if (state !== 'applied') return notChecked(`table.${name}`, `its migration is ${state}`)
    const missing = damage.filter(({ table }) => table === name).map((each) => ({ ...each, isGrave: true }))
    return tableFinding(name, [...missing, ...flaws.filter(({ table }) => table === name)])
  })
}

export const tablesRoom: Room = {
  ids: (dialect) => ['migrations', ...expectedTables(dialect).map(({ name }) => `table.${name}`)],
  needs: 'database',
  look: async (db, { dialect }) => {
    const status = await schemaStatus(db, dialect)
    return [migrationsFinding(status), ...findingsFor(dialect, status, await tableFlaws(db, dialect))]
  },
}
