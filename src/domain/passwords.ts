import { availableParallelism } from 'node:os'
import { hash, verify } from '@node-rs/argon2'
import pLimit from 'p-limit'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'

const PASSWORD_MAX_BYTES = 1024
/** What is left of a password without the words that everybody can guess about its owner. */
const OWN_CHARACTERS_MIN = 6
const CONTEXT_WORD_MIN = 4
const REPEATED_UNIT_MAX = 4
/** Beyond so many in the queue the last would wait longer than people do. */
const WAITING_MAX = 50
const SALT_BYTES = 16
/** The library's number for Argon2id: its enum exists for the compiler alone. */
const ARGON2ID = 2
const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=\d+\$/

/** What Argon2id (RFC 9106) costs: memory in KiB, passes over it, lanes. */
export type PasswordCost = { readonly memoryKib: number; readonly passes: number; readonly lanes: number }

/** Words about the owner of a password that are no secret. */
export type PasswordContext = { readonly email: string; readonly fullName: string }

let commonest: Promise<ReadonlySet<string>> | undefined

/** Read when first needed: most runs of the command line never are. */
function commonPasswords(): Promise<ReadonlySet<string>> {
  commonest ??= import('@zxcvbn-ts/language-common').then(
    ({ dictionary }) => new Set(Object.values(dictionary).flatMap((words) => [...words])),
  )
  return commonest
}

/** The bytes that are hashed: normalised, so that it does not matter which keyboard composed an accent. */
function normalised(password: string): string {
  return password.normalize('NFKC')
}

function repeatedUnit(text: string): string | null {
  for (let length = 1; length <= text.length / 2; length++)
    if (text === text.slice(0, length).repeat(text.length / length)) return text.slice(0, length)
  return null
}

function withoutContext(text: string, { email, fullName }: PasswordContext): string {
  const names = normalised(fullName).toLowerCase().split(/\s+/)
  const words = [email, ...email.split(/[@.]/), ...names, 'kunci']
    .filter((word) => word.length >= CONTEXT_WORD_MIN)
    .sort((a, b) => b.length - a.length)
  return words.reduce((rest, word) => rest.replaceAll(word, ''), text)
}

export type Passwords = ReturnType<typeof createPasswords>

/** Passwords by the rules of NIST SP 800-63B-4, section 3.1.1, hashed with Argon2id (RFC 9106). */
export function createPasswords(deps: { cost: PasswordCost; minLength: number; random: Random }) {
  const { cost, minLength, random } = deps
  const inTurn = pLimit(availableParallelism())
  const options = {
    algorithm: ARGON2ID,
    memoryCost: cost.memoryKib,
    timeCost: cost.passes,
    parallelism: cost.lanes,
  }
  let decoy: Promise<string> | undefined

  /** @throws {AppError} `server_busy` when too many wait already: each costs memory and time that others need. */
  async function queued<T>(work: () => Promise<T>): Promise<T> {
    if (inTurn.pendingCount >= WAITING_MAX) throw new AppError('server_busy')
    return inTurn(work)
  }

  const digest = (password: string) => hash(normalised(password), { ...options, salt: random(SALT_BYTES) })

  /** Nobody's, to be compared with where there is none; made again where that failed, as memory may be short. */
  function decoyHash(): Promise<string> {
    decoy ??= digest(random(SALT_BYTES).toString('hex')).catch((error) => {
      decoy = undefined
      throw error
    })
    return decoy
  }

  /**
   * Refuses what is too short, too long, or among the first that anybody would try: no rule asks for kinds of characters.
   * @throws {AppError} `password_too_short`, `password_too_long` or `password_too_common`.
   */
  async function requireGood(password: string, context: PasswordContext): Promise<void> {
    const text = normalised(password)
    if (Buffer.byteLength(text) > PASSWORD_MAX_BYTES) throw new AppError('password_too_long')
    if ([...text].length < minLength)
      throw new AppError('password_too_short', { detail: `at least ${minLength}` })
    const lower = text.toLowerCase()
    const known = await commonPasswords()
    const unit = repeatedUnit(lower)
    const isCommon =
      known.has(lower) ||
      (unit !== null && (unit.length <= REPEATED_UNIT_MAX || known.has(unit))) ||
      withoutContext(lower, context).length < OWN_CHARACTERS_MIN
    if (isCommon) throw new AppError('password_too_common')
  }

  /**
   * Takes as long for somebody who has no password, or is nobody, as for anybody else.
   * @param phc Argon2id in PHC form, or `null`.
   */
  async function isRight(password: string, phc: string | null): Promise<boolean> {
    const stored = phc ?? (await decoyHash())
    const text = normalised(password)
    if (Buffer.byteLength(text) > PASSWORD_MAX_BYTES) return false
    const matches = await queued(() => verify(stored, text).catch(() => false))
    return matches && phc !== null
  }

  /** Whether a hash was made with less work than is asked for now: lanes only share out the passes over the memory. */
  function isOutdated(phc: string): boolean {
    const [, memoryKib, passes] = (PHC.exec(phc) ?? []).map(Number)
    if (memoryKib === undefined || passes === undefined) return true
    return memoryKib * passes < cost.memoryKib * cost.passes
  }

  return { requireGood, isRight, isOutdated, hash: (password: string) => queued(() => digest(password)) }
}
