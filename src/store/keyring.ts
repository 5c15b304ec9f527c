import { createSecretKey, type KeyObject, randomUUID } from 'node:crypto'
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import { keyCheckValue } from '../crypto/key-check.ts'
import { SetupError } from '../errors.ts'
import { fileState } from '../file-state.ts'
import type { Random } from '../random.ts'
import { shellWord } from '../remedy.ts'
import {
  newSecret,
  parseRing,
  RINGS,
  type Ring,
  type RingName,
  ringOfOne,
  ringText,
  settled,
} from './ring.ts'

const FIRST_KEY_ID = 'k1'
/** What a lost pepper hashed is found by nobody again. */
export const NEVER_RETIRED: ReadonlySet<RingName> = new Set(['hwid-pepper', 'licence-pepper'])

/**
 * The keys in force. A ring changes while the process runs, when its next key is current and when its file was read
 * anew: whoever uses one reads it here at each use, once, and keeps no copy.
 */
export type Keyring = { readonly [K in Exclude<RingName, 'kex-s3'>]: Ring } & {
  /** There where S3 is switched on. */
  readonly 'kex-s3'?: Ring
}

/** Check values by `<ring>.<key id>`, as the database holds them. */
export type KeyChecks = ReadonlyMap<string, string>

/** Where a ring lies. */
export function ringFile(directory: string, name: RingName): string {
  return join(directory, `${name}.json`)
}

/** The settings that say which rings there are. */
type RingSettings = {
  /** The operator's own HS256 secret in place of the ring `legacy-jwt`, as UTF-8. */
  readonly jwtSecret?: string | undefined
  /** Whether suite S3 is switched on: it alone needs `kex-s3`. */
  readonly sealedS3?: boolean | undefined
}

/** The rings that are read from files. */
export function ringsInFiles({ jwtSecret, sealedS3 = false }: RingSettings): RingName[] {
  const isElsewhere = (name: RingName) =>
    (name === 'legacy-jwt' && jwtSecret !== undefined) || (name === 'kex-s3' && !sealedS3)
  return RINGS.filter((name) => !isElsewhere(name))
}

/** The check values of the keys of one ring. */
export function ringChecksOf(name: RingName, { keys }: Ring): [string, string][] {
  return [...keys].map(([id, key]) => [`${name}.${id}`, keyCheckValue(key, name, id)])
}

export function keyChecksOf(keyring: Keyring): Map<string, string> {
  return new Map(Object.entries(keyring).flatMap(([name, ring]) => ringChecksOf(name as RingName, ring)))
}

function parseFile(file: string, name: RingName, text: string): Ring {
  try {
    return parseRing(name, text)
  } catch (error) {
    throw new SetupError(`${file}: ${(error as Error).message}. Put the file back from a backup of KEYS_DIR.`)
  }
}

/**
 * Reads a file with secrets in it.
 * @returns `null` when it is not there.
 * @throws {SetupError} when others can read it too, or it cannot be read.
 */
export function readPrivate(file: string): string | null {
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
  const mayRetire = !NEVER_RETIRED.has(name) && (held.length > 0 || known.length === 0)
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
  const text = readPrivate(file)
  if (text === null && expected.length > 0)
    throw new SetupError(
      `${file} is missing, and this database was written with it. New keys would make everything in it unreadable, ` +
        'so none were made.\nCopy KEYS_DIR from the node that has it, or restore it from a backup.',
    )
  if (text === null) return null
  const ring = parseFile(file, name, text)
  requireKnownKeys(file, name, ring, expected)
  return ring
}

type Ports = { readonly random: Random; readonly clock: Clock }

function openRing(
  directory: string,
  name: RingName,
  checks: KeyChecks,
  { random, clock }: Ports,
): [Ring, created: boolean] {
  const found = readRing(directory, name, checks)
  if (found !== null) return [found, false]
  const file = ringFile(directory, name)
  makeDirectory(directory)
  const first = ringOfOne(FIRST_KEY_ID, newSecret(name, random))
  writeOnce(file, ringText({ ...first, madeMs: new Map([[FIRST_KEY_ID, clock()]]) }))
  return [parseFile(file, name, readPrivate(file) ?? ''), true]
}

/** A ring of the keyring that lies in a file. */
export class FiledRing {
  readonly name: RingName
  readonly file: string
  readonly #clock: Clock
  #ring: Ring
  #state: string

  /** @param state that of the file, taken before it was read. */
  constructor(file: string, name: RingName, ring: Ring, state: string, clock: Clock) {
    this.file = file
    this.name = name
    this.#clock = clock
    this.#ring = ring
    this.#state = state
  }

  /** The ring in force: the same object until it changes. */
  get ring(): Ring {
    this.#ring = settled(this.#ring, this.#clock)
    return this.#ring
  }

  /** The state of the file where it is not the one that was read. */
  changed(): string | undefined {
    const state = fileState(this.file)
    return state === this.#state ? undefined : state
  }

  replace(ring: Ring, state: string): void {
    this.#ring = ring
    this.#state = state
  }
}

/**
 * Opens the key directory, and makes the keys of a database that has none yet (files 0600 in a directory 0700).
 * @param checks the database's check values; a ring that has any is never made anew.
 * @returns the keys, the rings that lie in files, and the files that were made just now.
 * @throws {SetupError} when a key is missing, broken, readable by others, or not the one the database knows.
 */
export function openKeyring(
  settings: RingSettings & { readonly keysDir: string },
  checks: KeyChecks,
  ports: Ports,
): { keyring: Keyring; filed: readonly FiledRing[]; created: string[] } {
  const { keysDir, jwtSecret } = settings
  const created: string[] = []
  const filed = ringsInFiles(settings).map((name) => {
    const file = ringFile(keysDir, name)
    const state = fileState(file)
    const [ring, isNew] = openRing(keysDir, name, checks, ports)
    if (isNew) created.push(file)
    return new FiledRing(file, name, ring, isNew ? fileState(file) : state, ports.clock)
  })
  const keyring = {}
  for (const each of filed)
    Object.defineProperty(keyring, each.name, { enumerable: true, get: () => each.ring })
  if (jwtSecret !== undefined)
    Object.assign(keyring, {
      'legacy-jwt': ringOfOne('env', createSecretKey(Buffer.from(jwtSecret, 'utf8'))),
    })
  return { keyring: keyring as Keyring, filed, created }
}
