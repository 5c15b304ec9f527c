import type { Clock } from '../clock.ts'
import { command } from '../remedy.ts'
import { readRing } from '../store/keyring.ts'
import { type Ring, type RingName, settled } from '../store/ring.ts'
import { type Finding, notChecked, ok, warning } from './finding.ts'
import { placeOf } from './keys.ts'
import type { Room } from './patient.ts'

const DAY_MS = 86_400_000
const YEAR_DAYS = 365
/** Time for clients with the next key among their pins to reach everybody. */
const PINNING_DAYS = 90

/** After how many days another key should take over. A pepper is changed on suspicion alone. */
const DAYS: Partial<Record<RingName, number>> = {
  kek: 30,
  jwt: 90,
  lease: YEAR_DAYS,
  'kex-s1': YEAR_DAYS,
  'kex-s2': YEAR_DAYS,
  'kex-s3': YEAR_DAYS,
}

/** Of the key that is to make what is new: where one waits already, nothing is left to be done. */
function ageDays({ current, next, madeMs }: Ring, clock: Clock): number {
  const made = madeMs.get(next?.id ?? current)
  return made === undefined ? 0 : Math.floor((clock() - made) / DAY_MS)
}

/** `null` where the file has a finding of its own. */
function ringIn(keysDir: string, name: RingName, clock: Clock): Ring | null {
  try {
    const ring = readRing(keysDir, name, new Map())
    return ring === null ? null : settled(ring, clock)
  } catch {
    return null
  }
}

function rotation(name: RingName, clock: Clock): string {
  const isPinned = DAYS[name] === YEAR_DAYS
  const at = new Date(clock() + PINNING_DAYS * DAY_MS).toISOString().slice(0, 10)
  return `kunci keys rotate ${name}${isPinned ? ` --at ${at}` : ''}`
}

export const keyAgesRoom: Room = {
  ids: () => ['keys.age'],
  needs: 'nothing',
  look: (patient): Finding[] => {
    const id = 'keys.age'
    const { clock } = patient
    const place = placeOf(patient)
    if (place === null) return [notChecked(id, 'KEYS_DIR cannot be understood')]
    const old = place.rings.flatMap((name) => {
      const ring = ringIn(place.keysDir, name, clock)
      const days = ring === null ? 0 : ageDays(ring, clock)
      return days > (DAYS[name] ?? Number.POSITIVE_INFINITY) ? [{ name, days }] : []
    })
    if (old.length === 0) return [ok(id, 'No key is due to be rotated.')]
    return [
      warning(
        id,
        `Due to be rotated: ${old.map(({ name, days }) => `${name}, ${days} days old`).join('; ')}.`,
        'The longer a key is in use, the more is lost with it should it leak. Of keys that clients pin the next one must reach them before it takes over.',
        old.map(({ name }) => command(rotation(name, clock))),
      ),
    ]
  },
}
