import type { Account, AtLimit } from './accounts.ts'
import { type Database, DuplicateKeyError, insertMany, type Row, type Session } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'
import { endSessions, openSessionsOf, type SessionEnd, type SessionRow } from './session-rows.ts'

export type User = Account & {
  /** Argon2id in PHC form. */
  readonly passwordHash: string | null
  readonly totpSecret: string | null
  /** The last time step whose code was taken (RFC 6238, section 5.2). */
  readonly totpStep: number | null
  /** What was said of this user alone. */
  readonly maxSessions: number | null
  readonly atLimit: AtLimit | null
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

/** What may change of a user. */
export type UserChange = Partial<
  Pick<
    User,
    'fullName' | 'role' | 'isActive' | 'passwordHash' | 'totpSecret' | 'totpStep' | 'maxSessions' | 'atLimit'
  >
>

export type UserStore = {
  /** @returns `false` when somebody has this email already. */
  create(user: User, event: EventRow): Promise<boolean>
  find(id: number): Promise<User | null>
  findByEmail(email: string): Promise<User | null>
  list(): Promise<User[]>
  /** Whether there is a superadmin who may sign in. */
  hasSuperadmin(): Promise<boolean>
  /**
   * Changes a user, and ends such of his sessions as `endsOf` names, in one transaction.
   * @returns the sessions that ended, or `null` when there is no such user.
   */
  change(
    id: number,
    change: UserChange,
    atMs: number,
    event: EventRow,
    endsOf?: (sessions: readonly SessionRow[]) => readonly SessionEnd[],
  ): Promise<string[] | null>
}

const COLUMNS = {
  id: 'id',
  email: 'email',
  fullName: 'full_name',
  role: 'role',
  isActive: 'is_active',
  passwordHash: 'password_hash',
  totpSecret: 'totp_secret',
  totpStep: 'totp_step',
  maxSessions: 'max_sessions',
  atLimit: 'at_limit',
  createdAtMs: 'created_at_ms',
  updatedAtMs: 'updated_at_ms',
} as const satisfies Record<keyof User, string>

function fromColumns(row: Row): User {
  const values = Object.entries(COLUMNS).map(([name, column]) => [name, row[column] ?? null])
  return { ...Object.fromEntries(values), isActive: row.is_active === 1 } as User
}

function toColumns(change: UserChange): Row {
  const values = Object.entries(change).map(([name, value]) => [
    COLUMNS[name as keyof UserChange],
    typeof value === 'boolean' ? Number(value) : value,
  ])
  return Object.fromEntries(values)
}

async function changeUser(
  tx: Session,
  id: number,
  columns: Row,
  endsOf: (sessions: readonly SessionRow[]) => readonly SessionEnd[],
): Promise<string[] | null> {
  const assignments = Object.keys(columns).map((column) => `${column} = ?`)
  const sql = `UPDATE kunci_users SET ${assignments.join(', ')} WHERE id = ?`
  // First, as a sign-in does: it then waits for us, or we find its session.
  if ((await tx.run(sql, [...Object.values(columns), id])) !== 1) return null
  return endSessions(tx, endsOf(await openSessionsOf(tx, id)))
}

export function userStore(db: Database): UserStore {
  const select = `SELECT ${Object.values(COLUMNS).join(', ')} FROM kunci_users`

  async function findBy(condition: string, value: string | number): Promise<User | null> {
    const [row] = await db.all(`${select} WHERE ${condition}`, [value])
    return row === undefined ? null : fromColumns(row)
  }

  return {
    create: async (user, event) => {
      const row: Row = { ...toColumns(user), logins: 0 }
      try {
        await db.batch([
          insertMany('kunci_users', Object.keys(row), [Object.values(row)]),
          insertEvents([event]),
        ])
        return true
      } catch (error) {
        if (error instanceof DuplicateKeyError) return false
        throw error
      }
    },
    find: (id) => findBy('id = ?', id),
    findByEmail: (email) => findBy('email = ?', email),
    list: async () => (await db.all(`${select} ORDER BY email`)).map(fromColumns),
    hasSuperadmin: async () => (await findBy('is_active = 1 AND role = ?', 'superadmin')) !== null,
    change: (id, change, atMs, event, endsOf = () => []) =>
      db.transaction(async (tx) => {
        const ended = await changeUser(tx, id, { ...toColumns(change), updated_at_ms: atMs }, endsOf)
        if (ended !== null) await tx.run(...insertEvents([event]))
        return ended
      }),
  }
}
