import { setting } from '../remedy.ts'
import type { ServerFacts } from '../store/inspection/server.ts'
import { type Finding, notChecked, ok, warning } from './finding.ts'
import type { Patient, Room } from './patient.ts'

const WHERE =
  'Kunci writes its log to stdout, one JSON object a line: under systemd see "journalctl -u kunci", ' +
  'in a container "docker compose logs kunci", and else the terminal or file that its output goes to'

function kunciLog({ values: { logLevel } }: Patient): Finding {
  const id = 'log.kunci'
  if (logLevel === undefined) return notChecked(id, 'LOG_LEVEL cannot be understood')
  if (logLevel !== 'silent') return ok(id, `${WHERE}. LOG_LEVEL is ${logLevel}.`)
  return warning(
    id,
    `LOG_LEVEL is silent: nothing is written. ${WHERE}.`,
    'When something goes wrong, nobody can find out what it was.',
    [setting('LOG_LEVEL=info')],
  )
}

function databaseLog({ errorLog, product }: ServerFacts): Finding {
  const id = 'log.database'
  if (errorLog === null) return notChecked(id, 'the server does not say where its error log is')
  const service = product.toLowerCase()
  const where =
    errorLog === ''
      ? `goes to its stderr: under systemd see "journalctl -u ${service}", in a container "docker compose logs ${service}"`
      : `is ${errorLog} on its machine`
  return ok(id, `The error log of the database server ${where}.`)
}

export const kunciLogRoom: Room = {
  ids: () => ['log.kunci'],
  needs: 'nothing',
  look: (patient) => [kunciLog(patient)],
}

export const databaseLogRoom: Room = {
  ids: () => ['log.database'],
  needs: 'server',
  look: async (_db, facts) => [databaseLog(facts)],
}
