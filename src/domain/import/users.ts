import { ROLES, type Role } from '../../store/accounts.ts'
import type { Names, OldRow } from '../../store/old-server/old-table.ts'
import type { NamedTable, UserColumn } from '../../store/old-users/old-users.ts'
import { normalEmail } from '../emails.ts'
import { tidied } from '../texts.ts'
import type { ReadTime } from './dates.ts'
import { type UserFinding, type UserFindingName, userFinding } from './user-findings.ts'

/** A row that can become a user. */
export type OldUser = {
  readonly row: number
  readonly oldId: string
  readonly email: string
  readonly fullName: string
  readonly role: Role
  readonly isActive: boolean
  /** Argon2id in PHC form; `null`: the old hash is of another kind and of no use. */
  readonly passwordHash: string | null
  readonly createdAtMs: number
}

export type UserRules = Pick<NamedTable<UserColumn>, 'names' | 'times'> & {
  readonly readTime: ReadTime
  readonly nowMs: number
}

type Cells = Readonly<Record<UserColumn, string | null>>
/** What is taken of a row, and what there is to say of it. */
type Taken<T> = { readonly value: T; readonly note?: readonly [UserFindingName, string] | undefined }

const NAME_MAX = 255
/** Numbers, UUIDs and the like. */
const OLD_ID = /^[\x21-\x7e]{1,64}$/
/** What is between the names of several roles, also where they are JSON or an array of PostgreSQL. */
const BETWEEN_ROLES = /[,;|[\]{}"']+/
const ROLE_NAMES: ReadonlyMap<string, Role> = new Map([
  ...ROLES.map((role) => [role, role] as const),
  // What Supabase calls everybody who may sign in.
  ['authenticated', 'user'],
])
const YES = new Set(['1', 't', 'true'])
const NO = new Set(['0', 'f', 'false'])
/** The string format of the Argon2 reference; some writers put its parameters in another order. */
const ARGON2ID =
  /^\$argon2id\$v=19\$((?:[mtp]=\d{1,9},){2}[mtp]=\d{1,9})\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}$/
const HASH_MAX = 255
/** A hash that costs more to check would let a single sign-in hold up all others. */
const COST_MAX = { m: 262_144, t: 16, p: 16 }

/** The id of an old row, of a user or a session; `null` for what is none. */
export function oldIdOf(text: string | null): string | null {
  const id = text?.trim() ?? ''
  return OLD_ID.test(id) ? id : null
}

function nameOf(written: string | null, email: string): Taken<string> {
  const text = written?.trim() ?? ''
  const value = tidied(text, NAME_MAX)
  if (value === '') return { value: email, note: ['user_name_changed', 'there is none; it is the email'] }
  if (value === text) return { value }
  return { value, note: ['user_name_changed', `cut to ${NAME_MAX} characters of one line`] }
}

/** Of several roles the highest. */
function roleOf(written: string | null): Taken<Role> {
  const words = (written ?? '').split(BETWEEN_ROLES).flatMap((word) => word.trim() || [])
  const roles = words.map((word) => ROLE_NAMES.get(word.toLowerCase().replaceAll(/[\s_-]/g, '')))
  const value = ROLES.findLast((role) => roles.includes(role)) ?? 'user'
  if (words.length === 0 || roles.includes(value)) return { value }
  return { value, note: ['user_role_unknown', tidied(words.join(', '), 64)] }
}

/** Whoever was deleted, or of whom it is not clear, may not sign in. */
function activeOf(
  { is_active: written, deleted_at: deleted }: Cells,
  names: Names<UserColumn>,
): Taken<boolean> {
  const text = (written ?? '').trim().toLowerCase()
  if (names.is_active === null || YES.has(text)) return { value: (deleted ?? '') === '' }
  if (NO.has(text)) return { value: false }
  return { value: false, note: ['user_active_unclear', `${names.is_active} is "${tidied(text, 40)}"`] }
}

/** An Argon2id hash that can be checked at a bearable cost, or `null`. */
function passwordOf(written: string | null): string | null {
  const [phc, costs] = ARGON2ID.exec(written ?? '') ?? []
  if (phc === undefined || costs === undefined || phc.length > HASH_MAX) return null
  const given = new Map(costs.split(',').map((pair) => [pair.slice(0, 1), Number(pair.slice(2))]))
  const isBearable = Object.entries(COST_MAX).every(([name, max]) => (given.get(name) ?? max + 1) <= max)
  return isBearable ? phc : null
}

function createdOf({ created_at: written }: Cells, { times, readTime, nowMs }: UserRules): Taken<number> {
  const time = readTime(written, times.created_at ?? 'local')
  if ('ms' in time && time.ms > 0 && time.ms <= nowMs) return { value: time.ms }
  if ('fault' in time && time.fault === 'missing') return { value: nowMs }
  return { value: nowMs, note: ['user_created_unfit', `"${tidied(written ?? '', 40)}"`] }
}

/**
 * Judges one row of users by itself.
 * @returns the user, or `null` for a row that is left out, and what there is to say; nothing of a password.
 */
export function judgeUser(
  old: OldRow<UserColumn>,
  rules: UserRules,
): { user: OldUser | null; findings: UserFinding[] } {
  const { row } = old
  const out = (name: UserFindingName, facts: Partial<UserFinding>) => ({
    user: null,
    findings: [userFinding(name, row, facts)],
  })
  if ('fault' in old) return out('user_unreadable', { detail: old.detail })
  const { cells } = old
  const [oldId, written] = [oldIdOf(cells.id), tidied(cells.email ?? '', 64)]
  if (oldId === null) return out('user_id_unfit', { email: written })
  const email = normalEmail(cells.email ?? '')
  if (email === null) return out('user_email_unfit', { oldId, detail: `"${written}"` })
  const [name, role] = [nameOf(cells.full_name, email), roleOf(cells.role)]
  const [active, created] = [activeOf(cells, rules.names), createdOf(cells, rules)]
  const passwordHash = passwordOf(cells.password)
  const notes = [
    ...[name, role, active, created].flatMap(({ note }) => (note === undefined ? [] : [note])),
    ...(old.mayBeCut === true ? [['user_may_be_cut', null] as const] : []),
  ]
  return {
    user: {
      ...{ row, oldId, email, fullName: name.value, role: role.value, isActive: active.value },
      ...{ passwordHash, createdAtMs: created.value },
    },
    findings: notes.map(([finding, detail]) => userFinding(finding, row, { email, oldId, detail })),
  }
}
