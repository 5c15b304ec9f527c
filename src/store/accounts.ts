import type { Row } from './engine/database.ts'

export const ROLES = ['user', 'admin', 'superadmin'] as const
export type Role = (typeof ROLES)[number]

/** What becomes of one more where a limit is reached: of a sign-in among sessions, of a machine among seats. */
export const AT_LIMIT = ['kick', 'refuse', 'ask'] as const
export type AtLimit = (typeof AT_LIMIT)[number]

/** Who somebody is. */
export type Account = {
  readonly id: number
  /** As it is compared: NFKC, lower case. */
  readonly email: string
  readonly fullName: string
  readonly role: Role
  readonly isActive: boolean
}

/** How many sessions somebody may have at once (`null`: any number), and what becomes of one more. */
export type SessionPolicy = { readonly maxSessions: number | null; readonly atLimit: AtLimit }

/** The columns of an {@link Account} beside its id, for statements that join them to a `user_id`. */
export function accountColumns(table: string): string {
  return ['email', 'full_name', 'role', 'is_active']
    .map((column) => `${table}.${column} AS user_${column}`)
    .join(', ')
}

export function accountFrom(row: Row): Account {
  return {
    id: Number(row.user_id),
    email: String(row.user_email),
    fullName: String(row.user_full_name),
    role: row.user_role as Role,
    isActive: row.user_is_active === 1,
  }
}
