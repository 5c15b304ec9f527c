import type { Clock } from '../clock.ts'
import type { Account, Role } from '../store/accounts.ts'
import { isLive, type SessionEnd, type SessionRow } from '../store/session-rows.ts'
import type { OwnedSession, SessionStore } from '../store/sessions.ts'
import type { Actor, Events } from './events.ts'
import { SessionActivity } from './session-activity.ts'
import { type NamedSession, SessionCache } from './session-cache.ts'
import type { EndReason } from './session-policy.ts'

/** A session, and with whose it is. */
export type TrackedSession = SessionRow
export type SignedIn = OwnedSession

/** What is needed to end a session. */
export type OwnedRow = Pick<SessionRow, 'sessionId' | 'userId'>

export const LIST_MAX = 1000

/** How a signed-in user is named in the record. */
export function userActor({ id }: Pick<Account, 'id'>, address?: string): Actor {
  return { name: `user:${id}`, address }
}

export function isOperator(role: Role): boolean {
  return role !== 'user'
}

/** Whether a session lets its user through at this time. */
export function isSignedIn(session: SignedIn, nowMs: number): boolean {
  return session.user.isActive && isLive(session, nowMs)
}

/** A session as it is told: the members of older trackers, and what we know besides. */
export function sessionView(session: OwnedSession) {
  const { user } = session
  const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())
  return {
    id: session.id,
    userId: session.userId,
    sessionId: session.sessionId,
    ipAddress: session.ipAddress,
    userAgent: session.userAgent,
    deviceType: session.deviceType,
    isActive: session.isActive,
    lastActivity: iso(session.lastActivityMs),
    loginAt: iso(session.loginAtMs),
    logoutAt: iso(session.logoutAtMs),
    deviceName: session.deviceName,
    country: session.country,
    firstIpAddress: session.firstIpAddress,
    firstUserAgent: session.firstUserAgent,
    expiresAt: iso(session.expiresAtMs),
    endReason: session.endReason,
    endedBy: session.endedBy,
    user: { id: user.id, email: user.email, fullName: user.fullName },
  }
}

export type Sessions = ReturnType<typeof createSessions>

/** Who is signed in: from his first request to his last, and the end of it. */
export function createSessions(deps: {
  store: SessionStore
  events: Events
  clock: Clock
  /** Called after each commit that streams have something of. */
  onTold: () => void
  onError: (error: unknown) => void
}) {
  const { store, events, clock, onTold, onError } = deps
  const cache = new SessionCache(store)
  const activity = new SessionActivity(store, { clock, onError })
  /** What is over by the clock is marked as over wherever it is shown: its row may not say so yet. */
  const asOfNow = (session: OwnedSession): OwnedSession => ({
    ...session,
    isActive: isLive(session, clock()),
  })

  /** The end of a session, ready to be written. */
  function endOf({ sessionId, userId }: OwnedRow, reason: EndReason, actor: Actor): SessionEnd {
    const told = events.tell('session_ended', actor, { userId, sessionId }, { reason, ended_by: actor.name })
    return { sessionId, atMs: told.event.atMs, reason, by: actor.name, told }
  }

  /** Runs what may end sessions of a user: from its commit on none of them is let through in this process. */
  async function changing<T>(userId: number, work: () => Promise<T>): Promise<T> {
    const result = await cache.changing([userId], work)
    onTold()
    return result
  }

  const ifSignedIn = (session: OwnedSession | null) =>
    session !== null && isSignedIn(session, clock()) ? session : null

  /**
   * The live session that a genuine token names, or `null`; at once where its row was read within the last second.
   * @throws {StoreError} when nothing is known for sure.
   */
  function signedIn(named: NamedSession): OwnedSession | null | Promise<OwnedSession | null> {
    const known = cache.known(named)
    return known === undefined ? cache.find(named).then(ifSignedIn) : ifSignedIn(known)
  }

  /** The session as it is now, live or not, or `null`. */
  async function find(sessionId: string): Promise<OwnedSession | null> {
    const session = await store.find(sessionId)
    return session === null ? null : asOfNow(session)
  }

  /** Writes ends down, all or none. @returns the sessions that this call ended: none of those that were over already. */
  async function write(ends: readonly SessionEnd[]): Promise<string[]> {
    if (ends.length === 0) return []
    const users = new Set(ends.map(({ told }) => told.userId))
    const ended = await cache.changing(users, () => store.end(ends))
    if (ended.length > 0) onTold()
    return ended
  }

  /** Ends sessions. @returns those that this call ended. */
  function end(sessions: readonly OwnedRow[], reason: EndReason, actor: Actor): Promise<string[]> {
    return write(sessions.map((session) => endOf(session, reason, actor)))
  }

  /** Where a user is signed in now, the newest first. */
  const liveOf = (userId: number) => store.listLiveOf(userId, clock(), LIST_MAX)

  /** Ends all sessions of a user but the one that is named. @returns those that this call ended. */
  async function endAllOf(userId: number, except: string | null, reason: EndReason, actor: Actor) {
    for (const ended: string[] = []; ; ) {
      const some = await liveOf(userId)
      const others = some.filter(({ sessionId }) => sessionId !== except)
      ended.push(...(await end(others, reason, actor)))
      if (some.length < LIST_MAX) return ended
    }
  }

  return {
    ...{ changing, signedIn, endOf, write, find, end, endAllOf, liveOf },
    touch: activity.touch.bind(activity),
    /** Those who are signed in now, the latest active first. */
    listLive: (limit = LIST_MAX) => store.listLive(clock(), limit),
    countLive: () => store.countLive(clock()),
    /** All of one user's, over or not, the newest first. */
    listOf: async (userId: number) => (await store.listOf(userId, LIST_MAX)).map(asOfNow),
    flush: () => activity.flush(),
    close: () => activity.close(),
  }
}
