import type { Account, AtLimit } from './accounts.ts'
import {
  type Database,
  insertMany,
  type Row,
  type Session,
  type Statement,
  unlessThere,
  upsert,
  type Value,
} from './engine/database.ts'
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

/** What goes with a change of a user, in the same transaction. */
export type UserStep = {
  /** The user as he was read, where what he proved then has to count still: nothing happens if he was changed since. */
  readonly since?: Pick<User, 'updatedAtMs'>
  /** Such of his sessions as end. What he could come back with to a full house ends with them. */
  readonly endsOf?: (sessions: readonly SessionRow[]) => readonly SessionEnd[]
  /** Hashes of the recovery codes that take the place of those that were. */
  readonly recoveryCodes?: readonly string[]
}

/** What the first superadmin is made with, once and before its time: SHA-256 in hex. */
export type SetupCode = { readonly hash: string; readonly atMs: number }

const SETUP_CODE = 'setup-code'

export type UserStore = {
  /** @returns `false` when somebody has this email already. */
  create(user: User, event: EventRow): Promise<boolean>
  /** Creates the first superadmin and uses up the set-up code. @returns `false` when the code is not the one that waits. */
  createFirst(user: User, event: EventRow, code: SetupCode): Promise<boolean>
  /** Whether this is the set-up code that waits, and in time. */
  isSetupCode(code: SetupCode): Promise<boolean>
  /** Puts a set-up code in the place of the one before. */
  setSetupCode(code: SetupCode): Promise<void>
  find(id: number): Promise<User | null>
  findByEmail(email: string): Promise<User | null>
  list(): Promise<User[]>
  /** Whether there is a superadmin who may sign in. */
  hasSuperadmin(): Promise<boolean>
  /** Takes the code of a time step, unless one of it or of a later one was taken. */
  takeTotpStep(id: number, step: number): Promise<boolean>
  /** Uses up a recovery code. @returns `false` when there is none like it. */
  useRecoveryCode(id: number, codeHash: string, atMs: number, event: EventRow): Promise<boolean>
  /** Puts a hash of the same password in the place of another, unless that has changed. */
  replaceHash(id: number, before: string, after: string): Promise<void>
  /** @returns the sessions that ended, or `null` when there is no such user, or none as `step.since` has him. */
  change(
    id: number,
    change: UserChange,
    atMs: number,
    event: EventRow,
    step?: UserStep,
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

function stored(value: Value | boolean): Value {
  return typeof value === 'boolean' ? Number(value) : value
}

function toColumns(change: UserChange): Row {
  const values = Object.entries(change).map(([name, value]) => [
    COLUMNS[name as keyof UserChange],
    stored(value),
  ])
  return Object.fromEntries(values)
}

/** Inserts users, be they new or of an older system. */
export function insertUsers(users: readonly User[]): Statement {
  const names = Object.keys(COLUMNS) as (keyof User)[]
  const rows = users.map((user) => [...names.map((name) => stored(user[name])), 0])
  return insertMany('kunci_users', [...Object.values(COLUMNS), 'logins'], rows)
}

function insertRecoveryCodes(id: number, codeHashes: readonly string[]): Statement[] {
  if (codeHashes.length === 0) return []
  const rows = codeHashes.map((hash) => [id, hash])
  return [insertMany('kunci_recovery_codes', ['user_id', 'code_hash'], rows)]
}

async function changeUser(
  tx: Session,
  id: number,
  columns: Row,
  atMs: number,
  { since, endsOf, recoveryCodes }: UserStep,
): Promise<string[] | null> {
  const assignments = Object.keys(columns).map((column) => `${column} = ?`)
  // Later each time, whatever the clock says: it tells whether he was changed since he was read.
  const later = 'updated_at_ms = CASE WHEN updated_at_ms < ? THEN ? ELSE updated_at_ms + 1 END'
  const guard = since === undefined ? '' : ' AND updated_at_ms = ?'
  const sql = `UPDATE kunci_users SET ${[...assignments, later].join(', ')} WHERE id = ?${guard}`
  const params = [
    ...Object.values(columns),
    atMs,
    atMs,
    id,
    ...(since === undefined ? [] : [since.updatedAtMs]),
  ]
  // First, as a sign-in does: it then waits for us, or we find its session.
  if ((await tx.run(sql, params)) !== 1) return null
  if (recoveryCodes !== undefined) {
    await tx.run('DELETE FROM kunci_recovery_codes WHERE user_id = ?', [id])
    for (const statement of insertRecoveryCodes(id, recoveryCodes)) await tx.run(...statement)
  }
  if (endsOf === undefined) return []
  await tx.run('DELETE FROM kunci_take_overs WHERE user_id = ?', [id])
  return endSessions(tx, endsOf(await openSessionsOf(tx, id)))
}

export function userStore(db: Database): UserStore {
  const select = `SELECT ${Object.values(COLUMNS).join(', ')} FROM kunci_users`

  async function findBy(condition: string, value: string | number): Promise<User | null> {
    const [row] = await db.all(`${select} WHERE ${condition}`, [value])
    return row === undefined ? null : fromColumns(row)
  }

  return {
    create: (user, event) => unlessThere(db.batch([insertUsers([user]), insertEvents([event])])),
    createFirst: (user, event, { hash, atMs }) =>
      db.transaction(async (tx) => {
        // Used up with the same stroke: of two who come with one code the second finds none.
        const sql = 'DELETE FROM kunci_settings WHERE name = ? AND value = ? AND updated_at_ms > ?'
        if ((await tx.run(sql, [SETUP_CODE, hash, atMs])) !== 1) return false
        const [known] = await tx.all("SELECT id FROM kunci_users WHERE role = 'superadmin' AND is_active = 1")
        if (known !== undefined) return false
        await tx.run(...insertUsers([user]))
        await tx.run(...insertEvents([event]))
        return true
      }),
    isSetupCode: async ({ hash, atMs }) => {
      const sql = 'SELECT name FROM kunci_settings WHERE name = ? AND value = ? AND updated_at_ms > ?'
      return (await db.all(sql, [SETUP_CODE, hash, atMs])).length === 1
    },
    setSetupCode: ({ hash, atMs }) => {
      const row = { name: SETUP_CODE, value: hash, updated_at_ms: atMs }
      const rule = { key: 'name', set: ['value', 'updated_at_ms'] }
      return db.run(...upsert(db.dialect, 'kunci_settings', row, rule)).then(() => undefined)
    },
    find: (id) => findBy('id = ?', id),
    findByEmail: (email) => findBy('email = ?', email),
    list: async () => (await db.all(`${select} ORDER BY email`)).map(fromColumns),
    hasSuperadmin: async () => (await findBy('is_active = 1 AND role = ?', 'superadmin')) !== null,
    takeTotpStep: async (id, step) => {
      const sql = 'UPDATE kunci_users SET totp_step = ? WHERE id = ? AND (totp_step IS NULL OR totp_step < ?)'
      return (await db.run(sql, [step, id, step])) === 1
    },
    useRecoveryCode: (id, codeHash, atMs, event) =>
      db.transaction(async (tx) => {
        const sql = `UPDATE kunci_recovery_codes SET used_at_ms = ?
          WHERE user_id = ? AND code_hash = ? AND used_at_ms IS NULL`
        const isUsed = (await tx.run(sql, [atMs, id, codeHash])) === 1
        if (isUsed) await tx.run(...insertEvents([event]))
        return isUsed
      }),
    replaceHash: async (id, before, after) => {
      const sql = 'UPDATE kunci_users SET password_hash = ? WHERE id = ? AND password_hash = ?'
      await db.run(sql, [after, id, before])
    },
    change: (id, change, atMs, event, step = {}) =>
      db.transaction(async (tx) => {
        const ended = await changeUser(tx, id, toColumns(change), atMs, step)
        if (ended !== null) await tx.run(...insertEvents([event]))
        return ended
      }),
  }
}
