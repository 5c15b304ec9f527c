import { type Database, DuplicateKeyError, insertMany, type Session } from './engine/database.ts'
import {
  endSessions,
  insertSessions,
  openSessionsOf,
  type SessionEnd,
  type SessionRow,
} from './session-rows.ts'
import { insertStreamed, type StreamedEvent } from './stream.ts'
import type { User } from './users.ts'

const TRIES_MAX = 5

/** What a sign-in that met a full house may come back with. */
export type TakeOver = {
  readonly tokenHash: string
  readonly userId: number
  readonly kind: 'refuse' | 'ask'
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly usedAtMs: number | null
  readonly refusedAtMs: number | null
}

/** Those who are signed in as one user, as the sign-in finds them whose turn it is. */
export type House = { readonly sessions: readonly SessionRow[]; readonly takeOver: TakeOver | null }

/** What a sign-in does. */
export type Move = {
  readonly atMs: number
  readonly opens: SessionRow | null
  readonly ends: readonly SessionEnd[]
  readonly asks: readonly { readonly sessionId: string; readonly yieldByMs: number }[]
  readonly leaves: TakeOver | null
  /** Uses up the take-over that it came with. */
  readonly uses: boolean
  readonly told: readonly StreamedEvent[]
}

export type SignInStore = {
  /**
   * Lets the sign-ins of one user take turns: what `decide` makes of those who are signed in is committed before the next
   * one looks. @returns `null` when the user was changed since he was read, so that what he proved may not count any more.
   */
  signIn<M extends Move>(
    user: Pick<User, 'id' | 'updatedAtMs'>,
    takeOverHash: string | null,
    decide: (house: House) => M,
  ): Promise<M | null>
  /** Lets a session that was asked to make way stay, and refuses those who wait. @returns `false` when none was asked. */
  keep(
    session: Pick<SessionRow, 'sessionId' | 'userId'>,
    nowMs: number,
    told: StreamedEvent,
  ): Promise<boolean>
  /** Whose take-over this is, used up or not. */
  ownerOf(tokenHash: string): Promise<number | null>
  /** Removes what ended before a time, or was made after one: nobody can come back with it any more, or shall. */
  removeTakeOvers(beforeMs: number, laterMs: number): Promise<number>
}

const TAKE_OVER_COLUMNS = {
  tokenHash: 'token_hash',
  userId: 'user_id',
  kind: 'kind',
  createdAtMs: 'created_at_ms',
  expiresAtMs: 'expires_at_ms',
  usedAtMs: 'used_at_ms',
  refusedAtMs: 'refused_at_ms',
} as const satisfies Record<keyof TakeOver, string>

async function takeOverOf(tx: Session, userId: number, hash: string | null): Promise<TakeOver | null> {
  if (hash === null) return null
  const columns = Object.values(TAKE_OVER_COLUMNS).join(', ')
  const sql = `SELECT ${columns} FROM kunci_take_overs WHERE token_hash = ? AND user_id = ?`
  const [row] = await tx.all(sql, [hash, userId])
  if (row === undefined) return null
  const values = Object.entries(TAKE_OVER_COLUMNS).map(([name, column]) => [name, row[column]])
  return Object.fromEntries(values) as TakeOver
}

async function makeMove(tx: Session, move: Move, takeOverHash: string | null): Promise<void> {
  const { atMs, opens, ends, asks, leaves, uses, told } = move
  await endSessions(tx, ends)
  for (const { sessionId, yieldByMs } of asks)
    await tx.run('UPDATE user_sessions SET yield_by = ? WHERE session_id = ? AND is_active = 1', [
      yieldByMs,
      sessionId,
    ])
  if (uses)
    await tx.run('UPDATE kunci_take_overs SET used_at_ms = ? WHERE token_hash = ?', [atMs, takeOverHash])
  if (leaves !== null) {
    const names = Object.keys(TAKE_OVER_COLUMNS) as (keyof TakeOver)[]
    const columns = Object.values(TAKE_OVER_COLUMNS)
    await tx.run(...insertMany('kunci_take_overs', columns, [names.map((name) => leaves[name])]))
  }
  if (opens !== null) await tx.run(...insertSessions([opens]))
  for (const statement of insertStreamed(told)) await tx.run(...statement)
}

async function keepSession(
  tx: Session,
  { sessionId, userId }: Pick<SessionRow, 'sessionId' | 'userId'>,
  nowMs: number,
  told: StreamedEvent,
): Promise<boolean> {
  const kept = await tx.run(
    `UPDATE user_sessions SET yield_by = NULL, updated_at = ?
     WHERE session_id = ? AND is_active = 1 AND yield_by > ?`,
    [nowMs, sessionId, nowMs],
  )
  if (kept !== 1) return false
  // Whoever asked is refused: what else was asked of this user is asked no more.
  await tx.run(
    `UPDATE user_sessions SET yield_by = NULL, updated_at = ?
     WHERE user_id = ? AND is_active = 1 AND yield_by > ?`,
    [nowMs, userId, nowMs],
  )
  await tx.run(
    `UPDATE kunci_take_overs SET refused_at_ms = ?
     WHERE user_id = ? AND kind = 'ask' AND used_at_ms IS NULL AND refused_at_ms IS NULL`,
    [nowMs, userId],
  )
  for (const statement of insertStreamed([told])) await tx.run(...statement)
  return true
}

/** Numbers of sessions are random in part: one that is taken already is drawn again. */
async function drawnAgain<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof DuplicateKeyError) || tries === TRIES_MAX) throw error
    }
  }
}

export function signInStore(db: Database): SignInStore {
  return {
    signIn: ({ id: userId, updatedAtMs }, takeOverHash, decide) => {
      const takeTurn = async (tx: Session) => {
        // Written first: a read would let two of them look before either has moved, and a lock holds on one node alone.
        const turn =
          'UPDATE kunci_users SET logins = logins + 1 WHERE id = ? AND is_active = 1 AND updated_at_ms = ?'
        if ((await tx.run(turn, [userId, updatedAtMs])) !== 1) return null
        const sessions = await openSessionsOf(tx, userId)
        const move = decide({ sessions, takeOver: await takeOverOf(tx, userId, takeOverHash) })
        await makeMove(tx, move, takeOverHash)
        return move
      }
      return drawnAgain(() => db.transaction(takeTurn))
    },
    keep: (session, nowMs, told) => db.transaction((tx) => keepSession(tx, session, nowMs, told)),
    ownerOf: async (tokenHash) => {
      const sql = 'SELECT user_id FROM kunci_take_overs WHERE token_hash = ?'
      const [row] = await db.all<{ user_id: number }>(sql, [tokenHash])
      return row?.user_id ?? null
    },
    removeTakeOvers: (beforeMs, laterMs) =>
      db.run('DELETE FROM kunci_take_overs WHERE expires_at_ms < ? OR created_at_ms > ?', [
        beforeMs,
        laterMs,
      ]),
  }
}
