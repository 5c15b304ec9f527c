import { statSync } from 'node:fs'
import { SetupError } from '../errors.ts'
import { advice, command, type Remedy, shellWord } from '../remedy.ts'
import { type KeyChecks, readRing, ringFile, ringsInFiles } from '../store/keyring.ts'
import { newestNumber, type RingName } from '../store/ring.ts'
import { readKeyChecks } from '../store/settings.ts'
import { type Finding, failed, notChecked, ok, warning } from './finding.ts'
import type { Patient, Room } from './patient.ts'

const OTHERS = 0o077
const NO_CHECKS: KeyChecks = new Map()
const RESTORE =
  'Put KEYS_DIR back from a backup, or copy it from the node that has it. Never delete it, and make no new keys: what was written with the old ones stays closed for ever.'

type Place = { readonly keysDir: string; readonly rings: readonly RingName[] }

/** With a JWT_SECRET the file of that ring is not looked at. */
export function placeOf({ values }: Patient): Place | null {
  if (values.keysDir === undefined) return null
  return {
    keysDir: values.keysDir,
    rings: ringsInFiles(values),
  }
}

/** `null` where it cannot be seen; Windows has no such bits. */
function openBits(path: string): number | null {
  try {
    const { mode } = statSync(path)
    return process.platform === 'win32' ? 0 : mode & OTHERS
  } catch {
    return null
  }
}

function directoryFinding({ keysDir }: Place): Finding {
  const id = 'keys.directory'
  const bits = openBits(keysDir)
  if (bits === null)
    return warning(
      id,
      `There is no ${keysDir} that this account can see.`,
      'Over an empty database the first start makes it, with new keys. Over one in use it is missing, and nobody is recognised without it.',
      [advice(`If Kunci ran here before, KEYS_DIR is wrong or lost. ${RESTORE}`)],
    )
  if (bits === 0) return ok(id, `${keysDir} is open to its owner alone.`)
  return failed(id, `${keysDir} is open to others.`, 'Who has the keys and the database has everything.', [
    command(`chmod 700 ${shellWord(keysDir)}`),
  ])
}

/** What a start would say of one ring, and what mends it. */
function ringFault(
  keysDir: string,
  name: RingName,
  checks: KeyChecks,
): { what: string; mend: Remedy[] } | null {
  const file = ringFile(keysDir, name)
  if ((openBits(file) ?? 0) !== 0)
    return { what: `${file} can be read by others.`, mend: [command(`chmod 600 ${shellWord(file)}`)] }
  try {
    readRing(keysDir, name, checks)
    return null
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    return { what: error.message.split('\n', 1)[0] ?? '', mend: [advice(RESTORE)] }
  }
}

function ringsFinding(id: string, { keysDir, rings }: Place, checks: KeyChecks, fine: string): Finding {
  const faults = rings.map((name) => ringFault(keysDir, name, checks)).filter((fault) => fault !== null)
  if (faults.length === 0) return ok(id, fine)
  const mend = new Map(faults.flatMap((fault) => fault.mend).map((remedy) => [remedy.text, remedy]))
  return failed(
    id,
    faults.map(({ what }) => what).join(' '),
    'The server does not start with such keys, and never makes new ones over a database in use.',
    [...mend.values()],
  )
}

/** A key that another node has made, and that has not come here yet. */
function behindFinding(id: string, { keysDir, rings }: Place, checks: KeyChecks): Finding | null {
  const missing = rings.flatMap((name) => {
    const met = [...checks.keys()].filter((key) => key.startsWith(`${name}.`))
    const newest = newestNumber(met.map((key) => key.slice(name.length + 1)))
    const held = newestNumber(readRing(keysDir, name, checks)?.keys.keys() ?? [])
    return newest > held ? [`key k${newest} of ${name}`] : []
  })
  if (missing.length === 0) return null
  return warning(
    id,
    `The database has met ${missing.join(', ')}, which ${keysDir} does not hold.`,
    'Once another node goes over to it, what it makes there is refused here.',
    [advice('Copy KEYS_DIR from the node where kunci keys rotate was run.')],
  )
}

export const keyFilesRoom: Room = {
  ids: () => ['keys.directory', 'keys.files'],
  needs: 'nothing',
  look: (patient) => {
    const place = placeOf(patient)
    if (place === null)
      return keyFilesRoom.ids('mysql').map((id) => notChecked(id, 'KEYS_DIR cannot be understood'))
    const there = place.rings.filter((name) => openBits(ringFile(place.keysDir, name)) !== null)
    const fine =
      there.length === 0
        ? 'There are none yet: the first start makes them.'
        : `${there.length} are there, for their owner alone. Back them up, apart from the database.`
    return [directoryFinding(place), ringsFinding('keys.files', place, NO_CHECKS, fine)]
  },
}

export const keyMatchRoom: Room = {
  ids: () => ['keys.match'],
  needs: 'database',
  look: async (db, patient) => {
    const id = 'keys.match'
    const place = placeOf(patient)
    if (place === null) return [notChecked(id, 'KEYS_DIR cannot be understood')]
    const checks = await readKeyChecks(db)
    if (checks.size === 0) return [ok(id, 'No keys were used with this database yet.')]
    const match = ringsFinding(id, place, checks, 'The keys are those that this database was written with.')
    return [match.state === 'ok' ? (behindFinding(id, place, checks) ?? match) : match]
  },
}
