import { createSecretKey, type KeyObject, randomUUID } from 'node:crypto'
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromB64u, toB64u } from '../crypto/encoding.ts'
import { secretKey32 } from '../crypto/expand.ts'
import { keyCheckValue } from '../crypto/key-check.ts'
import { SetupError } from '../errors.ts'
import type { Random } from '../random.ts'
import { shellWord } from '../remedy.ts'

const KEY_ID = /^[a-z0-9]{1,16}$/
const FIRST_KEY_ID = 'k1'

/** Keys of one purpose by id. `current` makes what is new; the others still open what is old. */
export type Ring = { readonly current: string; readonly keys: ReadonlyMap<string, KeyObject> }

export const RINGS = ['kek', 'hwid-pepper', 'licence-pepper', 'legacy-jwt'] as const
export type RingName = (typeof RINGS)[number]
const RETIRABLE: ReadonlySet<RingName> = new Set(['kek', 'legacy-jwt'])
export type Keyring = Readonly<Record<RingName, Ring>>

/** Check values by `<ring>.<key id>`, as the database holds them. */
export type KeyChecks = ReadonlyMap<string, string>

/** Where a ring lies. */
export function ringFile(directory: string, name: RingName): string {
  return join(directory, `${name}.json`)
}

/** The key that makes what is new. */
export function currentKey(ring: Ring): KeyObject {
  const key = ring.keys.get(ring.current)
  if (key === undefined) throw new Error('a ring holds its current key')
  return key
}

/** Every key of a ring, the current one first. */
export function keysOf(ring: Ring): KeyObject[] {
  return [currentKey(ring), ...[...ring.keys].filter(([id]) => id !== ring.current).map(([, key]) => key)]
}

export function keyChecksOf(keyring: Keyring): Map<string, string> {
  return new Map(
    RINGS.flatMap((name) =>
      [...keyring[name].keys].map(([id, key]): [string, string] => [
        `${name}.${id}`,
        keyCheckValue(key, name, id),
      ]),
    ),
  )
}

function parseRing(file: string, text: string): Ring {
  const broken = (what: string) =>
    new SetupError(`${file}: ${what}. Put the file back from a backup of KEYS_DIR.`)
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    throw broken('this is not JSON')
  }
  const { current, keys } = (content ?? {}) as { current?: unknown; keys?: Record<string, unknown> }
  const entries = Object.entries(keys ?? {}).map(([id, value]): [string, KeyObject] => {
    const bytes = typeof value === 'string' ? fromB64u(value) : null
    if (!KEY_ID.test(id) || bytes === null)
      throw broken(`key "${id}" is not 32 bytes of base64url under a short id`)
    try {
      return [id, secretKey32(bytes)]
    } catch (error) {
      throw broken(`key "${id}": ${(error as Error).message}`)
    }
  })
  const ring = new Map(entries)
  if (typeof current !== 'string' || !ring.has(current)) throw broken('"current" names no key')
  return { current, keys: ring }
}

function readIfThere(file: string): string | null {
  try {
    // Windows has no such bits; there the directory's own access list counts.
    if (process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0)
      throw new SetupError(`${file} can be read by others. Run: chmod 600 ${shellWord(file)}`)
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    if (error instanceof SetupError) throw error
    throw new SetupError(`${file} cannot be read: ${(error as Error).message}`)
  }
}

/** Writes a file whole or not at all, and never over one that another process wrote first. */
function writeOnce(file: string, text: string): void {
  const draft = `${file}.${randomUUID()}`
  try {
    writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true })
    linkSync(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new SetupError(`${file} cannot be written: ${(error as Error).message}`)
  } finally {
    rmSync(draft, { force: true })
  }
}

function makeDirectory(directory: string): void {
  try {
    if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) chmodSync(directory, 0o700)
  } catch (error) {
    throw new SetupError(`The key directory ${directory} cannot be made: ${(error as Error).message}`)
  }
}

/**
 * Every key that the database knows must be the one in the ring. One that was retired may be gone where it is needed no
 * more (session keys and tokens live five minutes), but never all of them; a pepper is needed for ever.
 */
function requireKnownKeys(file: string, name: RingName, ring: Ring, expected: [string, string][]): void {
  const known = expected.map(([key, value]) => ({ id: key.slice(name.length + 1), value }))
  const held = known.filter(({ id }) => ring.keys.has(id))
  const mayRetire = RETIRABLE.has(name) && (held.length > 0 || known.length === 0)
  const missing = mayRetire ? undefined : known.find(({ id }) => !ring.keys.has(id))
  const wrong = held.find(
    ({ id, value }) => keyCheckValue(ring.keys.get(id) as KeyObject, name, id) !== value,
  )
  const culprit = missing ?? wrong
  if (culprit === undefined) return
  throw new SetupError(
    `${file}: key "${culprit.id}" is ${culprit === missing ? 'missing' : 'not the one this database was written with'}.\n` +
      'Copy KEYS_DIR from the node that has it, or restore it from a backup. Nothing was changed.',
  )
}

/**
 * Reads one ring and makes nothing.
 * @returns `null` when its file is not there and the database knows of none.
 * @throws {SetupError} when a key is missing, broken, readable by others, or not the one the database knows.
 */
export function readRing(directory: string, name: RingName, checks: KeyChecks): Ring | null {
  const file = ringFile(directory, name)
  const expected = [...checks].filter(([key]) => key.startsWith(`${name}.`))
  const text = readIfThere(file)
  if (text === null && expected.length > 0)
    throw new SetupError(
      `${file} is missing, and this database was written with it. New keys would make everything in it unreadable, ` +
        'so none were made.\nCopy KEYS_DIR from the node that has it, or restore it from a backup.',
    )
  if (text === null) return null
  const ring = parseRing(file, text)
  requireKnownKeys(file, name, ring, expected)
  return ring
}

function openRing(
  directory: string,
  name: RingName,
  checks: KeyChecks,
  random: Random,
): [Ring, created: boolean] {
  const found = readRing(directory, name, checks)
  if (found !== null) return [found, false]
  const file = ringFile(directory, name)
  makeDirectory(directory)
  writeOnce(
    file,
    `${JSON.stringify({ current: FIRST_KEY_ID, keys: { [FIRST_KEY_ID]: toB64u(random(32)) } })}\n`,
  )
  return [parseRing(file, readIfThere(file) ?? ''), true]
}

/**
 * Opens the key directory, and makes the keys of a database that has none yet (files 0600 in a directory 0700).
 * @param checks the database's check values; a ring that has any is never made anew.
 * @param jwtSecret the operator's own HS256 secret in place of the ring `legacy-jwt`, as UTF-8.
 * @returns the keys, and the files that were made just now.
 * @throws {SetupError} when a key is missing, broken, readable by others, or not the one the database knows.
 */
export function openKeyring(
  directory: string,
  checks: KeyChecks,
  { random, jwtSecret }: { random: Random; jwtSecret: string | undefined },
): { keyring: Keyring; created: string[] } {
  const created: string[] = []
  const open = (name: RingName): Ring => {
    const [ring, isNew] = openRing(directory, name, checks, random)
    if (isNew) created.push(ringFile(directory, name))
    return ring
  }
  const keyring = {
    kek: open('kek'),
    'hwid-pepper': open('hwid-pepper'),
    'licence-pepper': open('licence-pepper'),
    'legacy-jwt':
      jwtSecret === undefined
        ? open('legacy-jwt')
        : { current: 'env', keys: new Map([['env', createSecretKey(Buffer.from(jwtSecret, 'utf8'))]]) },
  }
  return { keyring, created }
}
