/**
 * The form of a key file:
 *
 *     {"current":"k1","keys":{"k1":"<32 bytes in base64url>","k2":"…"},"next":{"id":"k2","from":"<time>"},
 *      "made":{"k1":"<time>"},"retired":{"k0":"<time>"}}
 *
 * Times are ISO 8601 in UTC. All but `current` and `keys` may be left out.
 */
import { createECDH, type KeyObject } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { fromB64u, toB64u } from '../crypto/encoding.ts'
import { secretKey32 } from '../crypto/expand.ts'
import { memoised } from '../memo.ts'

const KEY_ID = /^[a-z0-9]{1,16}$/
const NUMBERED = /^k([1-9]\d{0,8})$/
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{3})?Z$/

export const RINGS = [
  'kek',
  'hwid-pepper',
  'licence-pepper',
  'legacy-jwt',
  'jwt',
  'lease',
  'kex-s1',
  'kex-s2',
  'kex-s3',
] as const
export type RingName = (typeof RINGS)[number]

/** Rings whose keys are private scalars of P-256: not every 32 bytes are one. */
const P256_RINGS: ReadonlySet<RingName> = new Set(['lease', 'kex-s2'])

/** Keys of one purpose by id. `current` makes what is new; the others still open what is old. */
export type Ring = {
  readonly current: string
  readonly keys: ReadonlyMap<string, KeyObject>
  /** The key that is current from then on. */
  readonly next: { readonly id: string; readonly fromMs: number } | null
  /** When a key was made, of keys that say so. */
  readonly madeMs: ReadonlyMap<string, number>
  /** When a key ceased to be current, of keys that say so; also of some that are gone. */
  readonly retiredMs: ReadonlyMap<string, number>
}

/** A ring of one key that lies in no file. */
export function ringOfOne(id: string, key: KeyObject): Ring {
  return { current: id, keys: new Map([[id, key]]), next: null, madeMs: new Map(), retiredMs: new Map() }
}

/** The key that a ring holds under an id it names. */
export function keyOf(ring: Ring, id: string): KeyObject {
  const key = ring.keys.get(id)
  if (key === undefined) throw new Error('a ring holds the keys it names')
  return key
}

/** The key that makes what is new. */
export function currentKey(ring: Ring): KeyObject {
  return keyOf(ring, ring.current)
}

/** The ids of a ring: of the current key, of the next one, then of those that were current before. */
export function idsOf({ current, next, keys }: Ring): string[] {
  return [...new Set([current, ...(next === null ? [] : [next.id]), ...keys.keys()])]
}

export type KeyState = 'current' | 'next' | 'retired'

/** @param id one that the ring names. */
export function stateOf({ current, next }: Ring, id: string): KeyState {
  if (id === current) return 'current'
  return id === next?.id ? 'next' : 'retired'
}

/** The greatest n of ids such as `k<n>`, as rotation names keys; 0 where there is none. */
export function newestNumber(ids: Iterable<string>): number {
  return Math.max(0, ...[...ids].map((id) => Number(NUMBERED.exec(id)?.[1] ?? 0)))
}

/** Every key of a ring, in the order of {@link idsOf}: worked out once, as each check asks for several. */
export const keysOf = memoised((ring: Ring): readonly KeyObject[] => idsOf(ring).map((id) => keyOf(ring, id)))

/** The ring as it is now: the same object until its next key is current. */
export function settled(ring: Ring, clock: Clock): Ring {
  const { current, next, retiredMs } = ring
  if (next === null || next.fromMs > clock()) return ring
  return { ...ring, current: next.id, next: null, retiredMs: new Map([...retiredMs, [current, next.fromMs]]) }
}

/** @throws {RangeError} unless these 32 bytes can be a key of this ring. */
function secretFor(name: RingName, bytes: Uint8Array): KeyObject {
  const key = secretKey32(bytes)
  if (P256_RINGS.has(name) && !isP256Scalar(bytes))
    throw new RangeError('a private key of P-256 is a number from 1 to n - 1')
  return key
}

function isP256Scalar(bytes: Uint8Array): boolean {
  try {
    createECDH('prime256v1').setPrivateKey(bytes)
    return true
  } catch {
    return false
  }
}

/** A new key for a ring. @param random draws 32 bytes, anew where they cannot be such a key. */
export function newSecret(name: RingName, random: (length: number) => Buffer): KeyObject {
  for (;;) {
    const bytes = random(32)
    try {
      return secretFor(name, bytes)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
    } finally {
      bytes.fill(0)
    }
  }
}

/** The times by key id that a member of the file holds. */
function timesIn(member: string, value: unknown): Map<string, number> {
  const times = Object.entries((value ?? {}) as object).map(([id, text]): [string, number] => {
    const ms = typeof text === 'string' && TIME.test(text) ? Date.parse(text) : Number.NaN
    if (Number.isNaN(ms)) throw new RangeError(`"${member}" holds something that is no time`)
    return [id, ms]
  })
  return new Map(times)
}

function keysIn(name: RingName, value: unknown): Map<string, KeyObject> {
  const keys = Object.entries((value ?? {}) as object).map(([id, text]): [string, KeyObject] => {
    const bytes = typeof text === 'string' ? fromB64u(text) : null
    if (!KEY_ID.test(id) || bytes === null)
      throw new RangeError(`key "${id}" is not 32 bytes of base64url under a short id`)
    try {
      return [id, secretFor(name, bytes)]
    } catch (error) {
      throw new RangeError(`key "${id}": ${(error as Error).message}`)
    }
  })
  return new Map(keys)
}

function nextIn(value: unknown, { current, keys }: Pick<Ring, 'current' | 'keys'>): Ring['next'] {
  if (value === undefined) return null
  const { id, from } = (value ?? {}) as { id?: unknown; from?: unknown }
  if (typeof id !== 'string' || !keys.has(id) || id === current)
    throw new RangeError('"next" names no key that waits')
  return { id, fromMs: timesIn('next', { from }).get('from') ?? 0 }
}

/**
 * Reads the text of a key file.
 * @throws {RangeError} that says what is wrong with it, and repeats nothing secret.
 */
export function parseRing(name: RingName, text: string): Ring {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    throw new RangeError('this is not JSON')
  }
  const { current, keys: texts, next, made, retired } = (content ?? {}) as Record<string, unknown>
  const keys = keysIn(name, texts)
  if (typeof current !== 'string' || !keys.has(current)) throw new RangeError('"current" names no key')
  return {
    ...{ current, keys, next: nextIn(next, { current, keys }) },
    ...{ madeMs: timesIn('made', made), retiredMs: timesIn('retired', retired) },
  }
}

/** The text of a key file, secrets and all. */
export function ringText({ current, keys, next, madeMs, retiredMs }: Ring): string {
  const iso = (ms: number) => new Date(ms).toISOString()
  const times = (byId: ReadonlyMap<string, number>) =>
    Object.fromEntries([...byId].map(([id, ms]) => [id, iso(ms)]))
  const content = {
    current,
    keys: Object.fromEntries([...keys].map(([id, key]) => [id, toB64u(key.export())])),
    ...(next === null ? {} : { next: { id: next.id, from: iso(next.fromMs) } }),
    made: times(madeMs),
    ...(retiredMs.size === 0 ? {} : { retired: times(retiredMs) }),
  }
  return `${JSON.stringify(content)}\n`
}
