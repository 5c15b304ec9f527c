/**
 * Who an older system knew and who was signed in there, row by row as it stands there, whatever it called its columns.
 * What opened a session, its token, is never read.
 */
import type { Names, OldTable } from '../old-server/old-table.ts'

/** What is read of a user: our word, and what older systems call it, of which the first that is there counts. */
export const USER_COLUMNS = {
  id: ['id'],
  email: ['email'],
  full_name: ['full_name', 'name'],
  role: ['role', 'roles'],
  is_active: ['is_active', 'active'],
  password: ['password', 'password_hash', 'encrypted_password'],
  created_at: ['created_at'],
  deleted_at: ['deleted_at'],
} as const
export type UserColumn = keyof typeof USER_COLUMNS

/** What is read of a session, in the same way. */
export const SESSION_COLUMNS = {
  id: ['id'],
  user_id: ['user_id'],
  login_at: ['login_at', 'created_at'],
  last_activity: ['last_activity', 'last_used_at'],
  logout_at: ['logout_at'],
  expires_at: ['expires_at'],
  is_active: ['is_active'],
  ip_address: ['ip_address', 'ip'],
  user_agent: ['user_agent', 'device_info'],
  device_type: ['device_type'],
} as const
export type SessionColumn = keyof typeof SESSION_COLUMNS

/** What holds a time, of users and of sessions. */
export const TIME_COLUMNS: ReadonlySet<string> = new Set<UserColumn | SessionColumn>([
  ...(['created_at', 'deleted_at', 'login_at', 'last_activity', 'logout_at', 'expires_at'] as const),
])

const REQUIRED: ReadonlySet<string> = new Set(['id', 'email', 'user_id', 'login_at'])

export type Wanted<C extends string> = Readonly<Record<C, readonly string[]>>

/** `lastUsedAt` and `last_used_at` are one name. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll('_', '')
}

/** Finds our columns among those of a table. @returns also what is missing, each as the names that it may have. */
export function findColumns<C extends string>(
  wanted: Wanted<C>,
  there: readonly string[],
): { names: Names<C>; missing: readonly string[] } {
  const known = new Map(there.toReversed().map((name) => [plain(name), name]))
  const entries = (Object.entries(wanted) as [C, readonly string[]][]).map(([column, words]) => {
    const word = words.find((name) => known.has(plain(name)))
    return { column, words, name: word === undefined ? null : (known.get(plain(word)) ?? null) }
  })
  return {
    names: Object.fromEntries(entries.map(({ column, name }) => [column, name])) as Names<C>,
    missing: entries
      .filter(({ column, name }) => name === null && REQUIRED.has(column))
      .map(({ words }) => words.join(' or ')),
  }
}

/** What a column of a source may be called to be shown: anything else may be a cell of somebody's. */
const COLUMN_NAME = /^[a-z_][a-z0-9_]{0,62}$/i

/** Says what is read of a table, and what is not. */
export function readingNote<C extends string>(
  table: string,
  names: Names<C>,
  there: readonly string[],
): string {
  const read = Object.values<string | null>(names).filter((name) => name !== null)
  const rest = there.filter((name) => !read.includes(name) && COLUMN_NAME.test(name))
  return `Of ${table} are read ${read.join(', ')}${rest.length === 0 ? '' : `; not ${rest.join(', ')}`}.`
}

export type NamedTable<C extends string> = OldTable<C> & { readonly names: Names<C> }

export type OldUsers = {
  /** The tables are read one after the other, users first, each once. `null`: there is none; a note says so. */
  readonly users: NamedTable<UserColumn> | null
  readonly sessions: NamedTable<SessionColumn> | null
  /** What an operator should know about the way it is read. */
  readonly notes: readonly string[]
  close(): Promise<void>
}
