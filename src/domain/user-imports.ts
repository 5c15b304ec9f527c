import type { Clock } from '../clock.ts'
import type { Random } from '../random.ts'
import type { OldUsers } from '../store/old-users/old-users.ts'
import type { UsersAddress } from '../store/old-users/open.ts'
import type { UserImportStore } from '../store/user-imports.ts'
import type { Actor, Events } from './events.ts'
import { inBatches, type Sorted, writeBatch } from './import/batches.ts'
import type { Owners } from './import/owners.ts'
import type { Tell } from './import/read.ts'
import { type ReadUsers, readUsers } from './import/read-users.ts'
import { USER_FINDINGS, type UserFinding } from './import/user-findings.ts'
import { sessionNumbers } from './import/user-ids.ts'
import {
  importedSession,
  importedUser,
  type NewSession,
  type NewUser,
  notedSessions,
  notedUsers,
  sessionRowOf,
  userOf,
} from './import/user-rows.ts'
import { createUserSorting, named, owned } from './import/user-sorting.ts'

export type UserImportWish = { readonly source: UsersAddress; readonly timeZone: string }

/** What an import would do: everything was read and judged, nothing written. */
export type UserImportPlan = Pick<ReadUsers, 'rowsRead'> & {
  readonly owners: Owners
  readonly users: readonly NewUser[]
  readonly sessions: readonly NewSession[]
  /** What there is to say of all other rows, and beside. */
  readonly findings: readonly UserFinding[]
  readonly notes: readonly string[]
  /** How many sessions the old system would have let in still. */
  readonly openSessions: number
}

export type UserImports = ReturnType<typeof createUserImports>

const DAY_MS = 24 * 60 * 60_000

/** Brings the users of an older system into Kunci, and who was signed in there as history. */
export function createUserImports(deps: {
  store: UserImportStore
  openSource: (address: UsersAddress) => Promise<OldUsers>
  events: Events
  historyDays: number
  clock: Clock
  random: Random
}) {
  const { store, openSource, events, historyDays, clock, random } = deps
  const { userSorter, recogniseOwners, sortSessions } = createUserSorting(store)

  async function readSource(wish: UserImportWish, tell: Tell) {
    const source = await openSource(wish.source)
    try {
      const read = await readUsers(source, wish.timeZone, clock(), tell)
      return { ...read, hasUsers: source.users !== null, notes: source.notes }
    } finally {
      await source.close()
    }
  }

  /**
   * Reads a source and works out what an import would do. Nothing is written.
   * @throws {AppError} `import_source`.
   */
  async function plan(wish: UserImportWish, tell: Tell): Promise<UserImportPlan> {
    const read = await readSource(wish, tell)
    const { owners, rowsRead, notes } = read
    if (!read.hasUsers) await recogniseOwners(read)
    const users = await inBatches(owners.taken(), userSorter(owners))
    const own = owned(read)
    const sessions = await inBatches(own.fresh, sortSessions, (rows, fraction) =>
      tell({ phase: 'comparing', rows, fraction }),
    )
    const noted = [
      ...notedUsers(users.fresh),
      ...notedSessions(sessions.fresh, clock() - historyDays * DAY_MS),
    ]
    return {
      ...{ owners, rowsRead, notes, sessions: sessions.fresh },
      // In the order of the keys that are written, as the sessions are.
      users: users.fresh.toSorted((a, b) => a.id - b.id),
      findings: [read.findings, users.findings, own.findings, sessions.findings, noted].flat(),
      openSessions: read.sessions.filter(({ wasOpen }) => wasOpen).length,
    }
  }

  /** What would become of every row. */
  function foresee({ users, sessions, findings }: UserImportPlan): UserFinding[] {
    return [users.map(importedUser), sessions.map(importedSession), findings].flat()
  }

  /**
   * Does what was planned, each batch in one transaction with its count in the record. Cut off at any moment it goes on
   * when the import is run again.
   * @param outcome takes up what became of every row, batch after batch: where this throws it holds what was done.
   */
  async function apply(
    actor: Actor,
    { owners, users, sessions, findings, rowsRead }: UserImportPlan,
    tell: Tell,
    outcome: UserFinding[],
  ): Promise<void> {
    for (const found of findings) outcome.push(found)
    const leftOut = findings.filter(({ finding }) => USER_FINDINGS[finding][0] === 'out').length
    const detail = { users_read: rowsRead.users, sessions_read: rowsRead.sessions, left_out: leftOut }
    const total = users.length + sessions.length
    const told = (before: number) => (rows: number) =>
      tell({ phase: 'writing', rows: before + rows, fraction: (before + rows) / total })
    const gathered = <T>(sorted: Sorted<T, UserFinding>, imported: (item: T) => UserFinding) => {
      outcome.push(...sorted.fresh.map(imported), ...sorted.findings)
      return sorted
    }

    const usersEvent = events.build('users_imported', actor, { detail })
    const sortUsers = userSorter(owners)
    const writeUsers = (batch: readonly NewUser[]) => {
      const nowMs = clock()
      const rows = batch.map((user) => userOf(user, nowMs))
      return store.write(rows, { ...usersEvent, count: rows.length })
    }
    await inBatches(
      users,
      async (batch) => gathered(await writeBatch(batch, writeUsers, sortUsers), importedUser),
      told(0),
    )

    const sessionsEvent = events.build('user_sessions_imported', actor, { detail })
    const nextNumber = sessionNumbers(random)
    const writeSessions = (batch: readonly NewSession[]) => {
      const rows = batch.map((session) => sessionRowOf(session, nextNumber(), actor.name))
      return store.writeSessions(rows, { ...sessionsEvent, count: rows.length })
    }
    await inBatches(
      sessions,
      async (batch) => gathered(await writeBatch(named(batch), writeSessions, sortSessions), importedSession),
      told(users.length),
    )
  }

  return { plan, foresee, apply }
}
