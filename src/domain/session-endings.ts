import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { Role } from '../store/accounts.ts'
import type { OwnedSession, SessionStore } from '../store/sessions.ts'
import type { SignInStore } from '../store/sign-ins.ts'
import type { Actor, Events } from './events.ts'
import type { OwnedRow, Sessions } from './sessions.ts'

export type SessionEndings = ReturnType<typeof createSessionEndings>

/** What people may do to sessions: to their own, and operators to others'. */
export function createSessionEndings(deps: {
  store: SessionStore
  signIns: SignInStore
  sessions: Sessions
  events: Events
  clock: Clock
}) {
  const { store, signIns, sessions, events, clock } = deps
  const { find, end, endAllOf, changing } = sessions

  /**
   * Ends somebody's session as an operator may.
   * @throws {AppError} `session_not_found` when there is none that lives, `not_permitted` for a superadmin's where the
   *   operator is none.
   */
  async function force(
    by: { readonly role: Role; readonly actor: Actor },
    sessionId: string,
  ): Promise<OwnedSession> {
    const session = await find(sessionId)
    if (session === null || !session.isActive) throw new AppError('session_not_found')
    if (session.user.role === 'superadmin' && by.role !== 'superadmin') throw new AppError('not_permitted')
    const [ended] = await end([session], 'forced', by.actor)
    if (ended === undefined) throw new AppError('session_not_found')
    return (await find(sessionId)) ?? session
  }

  /** @throws {AppError} `session_not_found` also for a session that is somebody else's. */
  async function endOwn(userId: number, sessionId: string, actor: Actor): Promise<void> {
    const session = await find(sessionId)
    if (session === null || !session.isActive || session.userId !== userId)
      throw new AppError('session_not_found')
    await end([session], 'logout', actor)
  }

  /** Ends all sessions of a user but the one that is named. @returns how many ended. */
  async function endOthers(userId: number, except: string | null, actor: Actor): Promise<number> {
    return (await endAllOf(userId, except, 'logout', actor)).length
  }

  /** Answers for a session that was asked to make way. @throws {AppError} `session_state` where it was not. */
  async function answer(session: OwnedRow, keeps: boolean, actor: Actor): Promise<void> {
    const { userId, sessionId } = session
    const asked = await store.find(sessionId)
    if (asked?.yieldByMs === null || asked === null) throw new AppError('session_state')
    if (!keeps) return void (await end([session], 'yielded', actor))
    const told = events.tell('session_kept', actor, { userId, sessionId })
    const kept = await changing(userId, () => signIns.keep(session, clock(), told))
    if (!kept) throw new AppError('session_state')
  }

  return { force, endOwn, endOthers, answer }
}
