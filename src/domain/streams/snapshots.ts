import type { Clock } from '../../clock.ts'
import type { OwnedSession } from '../../store/sessions.ts'
import type { StreamStore } from '../../store/stream.ts'
import { isOperator, type Sessions, sessionView } from '../sessions.ts'
import type { StreamMessage } from './messages.ts'

/** How things are: to a user his live sessions, to operators the thousand that were used last and how many there are. */
export function createSnapshots(deps: { store: StreamStore; sessions: Sessions; clock: Clock }) {
  const { store, sessions, clock } = deps

  async function ofAll() {
    const [live, online] = await Promise.all([sessions.listLive(), sessions.countLive()])
    return { sessions: live.map(sessionView), online }
  }

  async function ofUser(userId: number) {
    return { sessions: (await sessions.liveOf(userId)).map(sessionView) }
  }

  /** @throws {StoreError} */
  async function take({ user, userId, sessionId }: OwnedSession): Promise<StreamMessage> {
    // Read first: what happens while the rest is read is told again, and not left out.
    const { head } = await store.state()
    const state = await (isOperator(user.role) ? ofAll() : ofUser(userId))
    const at = new Date(clock()).toISOString()
    return { id: head, event: 'snapshot', data: { type: 'snapshot', at, userId, sessionId, ...state } }
  }

  return { take }
}
