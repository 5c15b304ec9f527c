import type { Clock } from '../../clock.ts'
import type { OwnedSession } from '../../store/sessions.ts'
import type { StreamTicketStore } from '../../store/stream-tickets.ts'
import { overReason } from '../session-policy.ts'
import { isSignedIn, type Sessions } from '../sessions.ts'
import { messageOf, type StreamMessage } from './messages.ts'
import type { Stream } from './stream.ts'
import type { Tail } from './tail.ts'

/**
 * Ends streams that nobody wrote an event about: their sessions ran out, somebody changed their users past us, or their
 * readers are back elsewhere.
 */
export function createLookout(deps: {
  tail: Tail
  sessions: Pick<Sessions, 'find'>
  tickets: Pick<StreamTicketStore, 'usesOf'>
  clock: Clock
}) {
  const { tail, sessions, tickets, clock } = deps

  function endOf(session: OwnedSession, position: number): StreamMessage {
    const { sessionId, userId, endReason, endedBy, user } = session
    const nowMs = clock()
    const silentReason = user.isActive ? overReason(session) : 'user_disabled'
    const detail = { reason: endReason ?? silentReason, ended_by: endedBy ?? 'server' }
    return messageOf({ type: 'session_ended', atMs: nowMs, userId, sessionId, detail, position })
  }

  /** @throws {StoreError} */
  async function lookAfter(stream: Stream): Promise<void> {
    const { session, ticket } = stream.wish
    const [found, uses] = await Promise.all([
      sessions.find(session.sessionId),
      ticket === null ? undefined : tickets.usesOf(ticket.hash),
    ])
    const isOver = found === null || !isSignedIn(found, clock())
    // An event on its way says better how it ended.
    if (isOver) await tail.look()
    if (!stream.isCaughtUp || stream.isOver) return
    stream.moveOn(tail.position())
    if (isOver) stream.give([endOf(found ?? session, stream.position)])
    else if (uses !== ticket?.uses || found.user.role !== session.user.role) stream.finish()
    else stream.beat()
  }

  return { lookAfter }
}
