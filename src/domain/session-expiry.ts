import type { Clock } from '../clock.ts'
import type { SessionEnd } from '../store/session-rows.ts'
import type { OwnedSession, SessionStore } from '../store/sessions.ts'
import type { SignInStore } from '../store/sign-ins.ts'
import { overReason } from './session-policy.ts'
import type { Sessions } from './sessions.ts'

const OVERDUE_BATCH = 500
const HISTORY_BATCH = 5000
/** Later than now by more than clocks of one installation differ, and than any time to answer: the clock was put back. */
const AHEAD_MS = 60_000
const DAY_MS = 24 * 60 * 60_000
const SERVER = { name: 'server' }

export type SessionExpiry = ReturnType<typeof createSessionExpiry>

/** What becomes of sessions that nobody ends. They are worth nothing from their time on; here that is written down. */
export function createSessionExpiry(deps: {
  store: SessionStore
  signIns: SignInStore
  sessions: Sessions
  historyDays: number
  clock: Clock
  onError: (error: unknown) => void
}) {
  const { store, signIns, sessions, historyDays, clock, onError } = deps

  function endOf(session: OwnedSession): SessionEnd {
    const reason = overReason(session)
    const end = sessions.endOf(session, reason, SERVER)
    // Another process may have noted a use of it since it was read.
    return reason === 'idle' ? { ...end, unlessUsedAfterMs: session.lastActivityMs } : end
  }

  /**
   * Writes down the end of what has ended by itself. What began by a clock that was put back begins now, or it would be
   * worth something for as long again as the clock was ahead.
   * @returns how many there were.
   */
  async function endOverdue(): Promise<number> {
    // What was used in time is not over, though its row does not say so yet.
    await sessions.flush()
    await store.bringBack(clock(), clock() + AHEAD_MS)
    for (let total = 0; ; ) {
      const overdue = await store.listOverdue(clock(), OVERDUE_BATCH)
      total += (await sessions.write(overdue.map(endOf))).length
      if (overdue.length < OVERDUE_BATCH) return total
    }
  }

  /** Removes sessions that ended longer ago than history is kept, and take-overs that are over or of a clock that was ahead. */
  async function removeHistory(): Promise<number> {
    for (let total = 0; ; ) {
      const removed = await store.removeEnded(clock() - historyDays * DAY_MS, HISTORY_BATCH)
      total += removed
      if (removed < HISTORY_BATCH) {
        await signIns.removeTakeOvers(clock(), clock() + AHEAD_MS)
        return total
      }
    }
  }

  /** Sees to it that what is over at a time near by is written down then, and not with the next round. */
  function endOverdueAt(ms: number): void {
    setTimeout(() => void endOverdue().catch(onError), Math.max(0, ms - clock())).unref()
  }

  return { endOverdue, endOverdueAt, removeHistory, countOverdue: () => store.countOverdue(clock()) }
}
