import { AppError } from '../../errors.ts'
import type { UserImportStore } from '../../store/user-imports.ts'
import { inBatches, type Sorted } from './batches.ts'
import type { Owner, Owners } from './owners.ts'
import type { ReadUsers } from './read-users.ts'
import { type UserFinding, userFinding } from './user-findings.ts'
import { candidateIds, derivedUserIds, importedSessionId } from './user-ids.ts'
import { compare, type NewSession, type NewUser } from './user-rows.ts'
import type { OldSession } from './user-sessions.ts'
import type { OldUser } from './users.ts'

/** Settles which id a user gets. */
function idFor(oldId: string, isTaken: (id: number) => boolean): number {
  const id = candidateIds(oldId).find((candidate) => !isTaken(candidate))
  if (id === undefined)
    throw new AppError('internal', { detail: `Every id that the user ${oldId} could get is taken.` })
  return id
}

/** Names sessions anew: the id of their user may have been settled anew. */
export function named(sessions: readonly (OldSession & { readonly owner: Owner })[]): NewSession[] {
  return sessions.flatMap((session) => {
    const { id: userId } = session.owner
    return userId === null
      ? []
      : [{ ...session, userId, sessionId: importedSessionId(userId, session.oldId) }]
  })
}

/** Those that have an owner, each once, in the order of the keys that are written. */
export function owned({ owners, sessions }: ReadUsers): Sorted<NewSession, UserFinding> {
  const findings: UserFinding[] = []
  const bySessionId = new Map<string, NewSession>()
  for (const session of sessions) {
    const { row, oldId, oldUserId } = session
    const owner = owners.ownerOf(oldUserId)
    const [own] = owner === undefined ? [] : named([{ ...session, owner }])
    const rival = own && bySessionId.get(own.sessionId)
    if (own === undefined)
      findings.push(userFinding('session_of_nobody', row, { oldId, detail: `of the user ${oldUserId}` }))
    else if (rival !== undefined)
      findings.push(userFinding('session_duplicate', row, { oldId, detail: `row ${rival.row} is taken` }))
    else bySessionId.set(own.sessionId, own)
  }
  return { fresh: [...bySessionId.values()].sort((a, b) => (a.sessionId < b.sessionId ? -1 : 1)), findings }
}

/** Tells what Kunci does not have yet from the rest. */
export function createUserSorting(store: UserImportStore) {
  function userSorter(owners: Owners) {
    const given = new Map<number, string>()
    return async (batch: readonly OldUser[]): Promise<Sorted<NewUser, UserFinding>> => {
      const ids = batch.flatMap(({ oldId }) => candidateIds(oldId))
      const there = await store.known(
        batch.map(({ email }) => email),
        ids,
      )
      const [byEmail, byId] = [
        new Map(there.map((one) => [one.email, one])),
        new Set(there.map(({ id }) => id)),
      ]
      const fresh: NewUser[] = []
      const findings: UserFinding[] = []
      for (const user of batch) {
        const known = byEmail.get(user.email)
        const isTaken = (id: number) => byId.has(id) || (given.get(id) ?? user.email) !== user.email
        const id = known?.id ?? idFor(user.oldId, isTaken)
        given.set(id, user.email)
        owners.settle(user.email, id)
        if (known === undefined) fresh.push({ ...user, id })
        else findings.push(compare(user, known))
      }
      return { fresh, findings }
    }
  }

  /** Looks up whose sessions there are where the source tells of no users: those whom an earlier import brought. */
  async function recogniseOwners({ owners, sessions }: ReadUsers): Promise<void> {
    const oldIds = [...new Set(sessions.map(({ oldUserId }) => oldUserId))]
    await inBatches(oldIds, async (batch) => {
      const ids = new Map(
        batch.flatMap((oldId) =>
          derivedUserIds(oldId)
            .slice(0, 1)
            .map((id) => [id, oldId]),
        ),
      )
      for (const { id, email } of await store.known([], [...ids.keys()]))
        owners.recognise(ids.get(id) ?? '', { email, id })
      return { fresh: [], findings: [] }
    })
  }

  async function sortSessions(batch: readonly NewSession[]): Promise<Sorted<NewSession, UserFinding>> {
    const known = await store.knownSessions(batch.map(({ sessionId }) => sessionId))
    const findings = batch.flatMap(({ row, oldId, owner, userId, sessionId, loginAtMs }) => {
      const there = known.get(sessionId)
      if (there === undefined) return []
      const facts = { email: owner.email, oldId, userId }
      const detail = `there ${new Date(loginAtMs).toISOString()}, here ${new Date(there).toISOString()}`
      if (there === loginAtMs) return [userFinding('session_known', row, facts)]
      return [userFinding('session_differs', row, { ...facts, detail })]
    })
    return { fresh: batch.filter(({ sessionId }) => !known.has(sessionId)), findings }
  }

  return { userSorter, recogniseOwners, sortSessions }
}
