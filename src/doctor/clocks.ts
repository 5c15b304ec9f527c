import { advice, command } from '../remedy.ts'
import type { ServerFacts } from '../store/inspection/server.ts'
import { type Finding, notChecked, ok, warning } from './finding.ts'
import type { Patient, Room } from './patient.ts'

/**
 * Machines that are kept in time differ by some milliseconds, and the reading errs by half a round trip. Two seconds are
 * far above both, and the least that confuses whoever lays a log beside a table.
 */
const DIFFERENCE_MAX_MS = 2000

function differenceFinding(databaseMs: number, machineMs: number): Finding {
  const id = 'clock.difference'
  const aheadMs = machineMs - databaseMs
  if (Math.abs(aheadMs) <= DIFFERENCE_MAX_MS)
    return ok(id, `This machine's clock and the database's differ by ${Math.abs(Math.round(aheadMs))} ms.`)
  return warning(
    id,
    `This machine's clock is ${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} the database's: ` +
      `${new Date(machineMs).toISOString()} here, ${new Date(databaseMs).toISOString()} there.`,
    "Sessions and licences live by the database's clock alone and go on; but lines of the log and rows of the record do not fit together, and certificates are judged by this machine's.",
    [advice('On the machine whose clock is wrong:'), command('timedatectl set-ntp true')],
  )
}

function zonesFinding({ globalTimeZone, systemTimeZone }: ServerFacts): Finding {
  const id = 'clock.zones'
  const here = new Intl.DateTimeFormat().resolvedOptions().timeZone
  const there = globalTimeZone === 'SYSTEM' ? systemTimeZone : globalTimeZone
  if (there === null) return notChecked(id, 'the server does not say in which zone it is')
  return ok(
    id,
    `Kunci asks for UTC on its own connections and depends on no zone. phpMyAdmin shows created_at and expires_at in ` +
      `the zone of the database server, ${there}; columns that end in _ms are UTC. This process is in ${here}; ` +
      'logs and commands tell times in UTC.',
  )
}

function legacyZoneFinding({ values, mistakes, clock }: Patient): Finding {
  const id = 'clock.legacy_zone'
  const { legacyTimeZone } = values
  if (legacyTimeZone === undefined || mistakes.some(({ env }) => env === 'LEGACY_TIME_ZONE'))
    return notChecked(id, 'LEGACY_TIME_ZONE cannot be understood')
  const now = new Intl.DateTimeFormat('sv', {
    timeZone: legacyTimeZone,
    dateStyle: 'short',
    timeStyle: 'medium',
  }).format(clock())
  return ok(id, `The old programs are told expiry dates in ${legacyTimeZone}, where it is now ${now}.`)
}

export const clocksRoom: Room = {
  ids: () => ['clock.difference', 'clock.zones'],
  needs: 'server',
  look: async (db, facts, { clock }) => [
    differenceFinding((db.clock ?? clock)(), clock()),
    zonesFinding(facts),
  ],
}

export const legacyZoneRoom: Room = {
  ids: () => ['clock.legacy_zone'],
  needs: 'nothing',
  look: (patient) => [legacyZoneFinding(patient)],
}
