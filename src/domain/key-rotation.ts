import type { Clock } from '../clock.ts'
import { AppError, SetupError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { FoundRing, KeyFileStore } from '../store/key-files.ts'
import { NEVER_RETIRED } from '../store/keyring.ts'
import { newestNumber, newSecret, RINGS, type Ring, type RingName, settled, stateOf } from '../store/ring.ts'
import type { Actor, Events } from './events.ts'

const OVERLAP_MIN_MS = 600_000
/** What the longest-lived thing under a key outlives a session key by, rows and tokens and their clock tolerance. */
const OVERLAP_BEYOND_SESSIONS_MS = 300_000

/** What is lost with a retired key, where time alone does not heal it. */
const LOST_WITH: Partial<Record<RingName, string>> = {
  lease: 'clients that take their keys from pins or key sets of later refuse the leases that it signed',
  'kex-s1': 'clients that have pinned it alone can reach the server no more',
  'kex-s2': 'clients that have pinned it alone can reach the server no more',
  'kex-s3': 'clients that have pinned it alone can reach the server no more',
}

const iso = (ms: number) => new Date(ms).toISOString()

function conflict(detail: string): AppError {
  return new AppError('key_state', { detail })
}

/** @throws {SetupError} where another node is ahead: two keys of one id would shut one of the nodes out. */
function nextId(name: RingName, { ring, metIds }: FoundRing): string {
  const [held, met] = [newestNumber(ring.keys.keys()), newestNumber(metIds)]
  if (met > held)
    throw new SetupError(
      `The database has met key k${met} of ${name}, which this KEYS_DIR does not hold.\n` +
        'Copy KEYS_DIR from the node where it was made, and rotate there.',
    )
  return `k${held + 1}`
}

/** When it was retired stays on record. */
function without(ring: Ring, id: string): Ring {
  const [keys, madeMs] = [new Map(ring.keys), new Map(ring.madeMs)]
  keys.delete(id)
  madeMs.delete(id)
  return { ...ring, keys, madeMs }
}

/** A key that was added, and when it is or was current. */
export type RotatedKey = { readonly ring: RingName; readonly id: string; readonly fromMs: number }

/** Changes rings in their files. Servers take a changed file over within five seconds. */
export function createKeyRotation(deps: {
  files: KeyFileStore
  /** Those that lie in files. */
  rings: readonly RingName[]
  sessionKeyTtlS: number
  events: Events
  clock: Clock
  random: Random
}) {
  const { files, rings, sessionKeyTtlS, events, clock, random } = deps
  const overlapMs = Math.max(OVERLAP_MIN_MS, sessionKeyTtlS * 1000 + OVERLAP_BEYOND_SESSIONS_MS)

  function requireRing(text: string): RingName {
    const name = RINGS.find((ring) => ring === text)
    if (name === undefined)
      throw new AppError('invalid_argument', {
        detail: `there is no ring "${text}"; there are: ${rings.join(', ')}`,
      })
    if (!rings.includes(name))
      throw conflict(
        `${name} has no file here: ${name === 'legacy-jwt' ? 'JWT_SECRET is set' : 'SEALED_S3 is off'}`,
      )
    return name
  }

  /**
   * Adds a key that takes over at that time, or at once if it is past; the others stay.
   * @param wishedMs should leave every process time to read the file. Epoch milliseconds.
   * @throws {AppError} `key_state` while another key waits to take over.
   */
  async function rotate(actor: Actor, ringName: string, wishedMs: number): Promise<RotatedKey> {
    const name = requireRing(ringName)
    const { id, fromMs } = await files.change(name, (found) => {
      const nowMs = clock()
      const ring = settled(found.ring, clock)
      if (ring.next !== null)
        throw conflict(
          `${name} has a next key already: ${ring.next.id}, current from ${iso(ring.next.fromMs)}`,
        )
      const id = nextId(name, found)
      const fromMs = Math.max(wishedMs, nowMs)
      const grown: Ring = {
        ...{ ...ring, next: { id, fromMs } },
        keys: new Map([...ring.keys, [id, newSecret(name, random)]]),
        madeMs: new Map([...ring.madeMs, [id, nowMs]]),
      }
      const event = events.build('key_rotated', actor, { detail: { ring: name, id, from: iso(fromMs) } })
      return { ring: settled(grown, clock), event, id, fromMs }
    })
    return { ring: name, id, fromMs }
  }

  /** @throws {AppError} `key_state` for a key that is still needed. */
  function requireSpare(name: RingName, id: string, { ring, writtenMs }: FoundRing): void {
    const state = stateOf(ring, id)
    if (state !== 'retired') throw conflict(`${id} is the ${state} key of ${name}`)
    if (NEVER_RETIRED.has(name))
      throw conflict('a pepper is needed for ever: what it hashed is found by no other')
    const spareMs = (ring.retiredMs.get(id) ?? writtenMs) + overlapMs
    if (LOST_WITH[name] === undefined && spareMs > clock())
      throw conflict(`${name} ${id} is still needed, by sessions that began under it, until ${iso(spareMs)}`)
  }

  /**
   * Takes a key out of its ring for good.
   * @param confirmed that what is lost with it may be lost.
   * @throws {AppError} `key_not_found`; `key_state` for a key that is still needed; `invalid_argument` for one that must
   *   be confirmed.
   */
  async function retire(actor: Actor, ringName: string, id: string, confirmed: boolean): Promise<RingName> {
    const name = requireRing(ringName)
    await files.change(name, (found) => {
      const ring = settled(found.ring, clock)
      if (!ring.keys.has(id)) throw new AppError('key_not_found', { detail: `${name} holds no key "${id}"` })
      requireSpare(name, id, { ...found, ring })
      if (!confirmed && LOST_WITH[name] !== undefined)
        throw new AppError('invalid_argument', { detail: `without --yes it stays: ${LOST_WITH[name]}` })
      const event = events.build('key_retired', actor, { detail: { ring: name, id } })
      return { ring: without(ring, id), event }
    })
    return name
  }

  return { rotate, retire }
}
