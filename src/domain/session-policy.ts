import type { SessionPolicy } from '../store/accounts.ts'
import { isLive, type SessionRow } from '../store/session-rows.ts'
import type { House, TakeOver } from '../store/sign-ins.ts'

/** Why a session ended, as its row and its event say. */
export type EndReason =
  | 'logout'
  | 'forced'
  | 'kicked'
  | 'taken_over'
  | 'yielded'
  | 'expired'
  | 'idle'
  | 'user_disabled'
  | 'role_changed'
  | 'password_changed'
  | 'imported'

export type Ending = { readonly session: SessionRow; readonly reason: EndReason }

/** What a sign-in that met others may do. `over` are sessions that had ended by themselves: now it is written down. */
export type SignInVerdict = { readonly over: readonly Ending[] } & (
  | { readonly kind: 'open'; readonly ends: readonly Ending[]; readonly uses: boolean }
  /** The house is full; `live` are those who are in. */
  | { readonly kind: 'full'; readonly live: readonly SessionRow[] }
  /** Those of `asks` are asked, and the answer is there at `untilMs` at the latest. */
  | { readonly kind: 'ask'; readonly asks: readonly SessionRow[]; readonly untilMs: number }
  | { readonly kind: 'waiting'; readonly untilMs: number }
  | { readonly kind: 'kept' | 'void' }
)

/** Where any number is allowed: each sign-in reads all the others, and whatever ends them all does so in one transaction. */
export const SESSIONS_MAX = 1000

/** How long the holder of a session has to save his work, and to say no. */
export const YIELD_MS = 15_000

/** Why a session is over that nobody ended: what came first. */
export function overReason({ yieldByMs, expiresAtMs, lastActivityMs, idleMs }: SessionRow): EndReason {
  const unusedMs = lastActivityMs + idleMs
  if (yieldByMs !== null && yieldByMs <= Math.min(expiresAtMs, unusedMs)) return 'yielded'
  return expiresAtMs <= unusedMs ? 'expired' : 'idle'
}

function leastUsedFirst(sessions: readonly SessionRow[]): SessionRow[] {
  return [...sessions].sort((a, b) => a.lastActivityMs - b.lastActivityMs || a.id - b.id)
}

/** Those that have to go so that one more has room; the chosen one first. */
function inTheWay(live: readonly SessionRow[], maxSessions: number, chosen: string | null): SessionRow[] {
  const [picked, others] = [
    live.filter(({ sessionId }) => sessionId === chosen),
    live.filter(({ sessionId }) => sessionId !== chosen),
  ]
  return [...picked, ...leastUsedFirst(others)].slice(0, Math.max(0, live.length + 1 - maxSessions))
}

function judgeTakeOver(takeOver: TakeOver | null, nowMs: number): 'void' | 'kept' | null {
  if (takeOver === null || takeOver.usedAtMs !== null || takeOver.expiresAtMs <= nowMs) return 'void'
  return takeOver.refusedAtMs === null ? null : 'kept'
}

function ask(asks: readonly SessionRow[], nowMs: number): Extract<SignInVerdict, { kind: 'ask' }> {
  const fresh = asks.filter(({ yieldByMs }) => yieldByMs === null)
  const pending = asks.flatMap(({ yieldByMs }) => yieldByMs ?? [])
  const untilMs = Math.max(...pending, ...(fresh.length > 0 ? [nowMs + YIELD_MS] : []))
  return { kind: 'ask', asks: fresh, untilMs, over: [] }
}

/**
 * Decides what one more sign-in of a user does.
 * @param house those who are in as him, and the take-over that this sign-in came back with, if it did.
 * @param comesBack whether it came back with one.
 * @param chosen the session it wants the place of, if it says so.
 */
export function decideSignIn(
  house: House,
  { maxSessions, atLimit }: SessionPolicy,
  { comesBack, chosen, nowMs }: { comesBack: boolean; chosen: string | null; nowMs: number },
): SignInVerdict {
  const live = house.sessions.filter((session) => isLive(session, nowMs))
  const over = house.sessions
    .filter((session) => !isLive(session, nowMs))
    .map((session) => ({ session, reason: overReason(session) }))
  const refusal = comesBack ? judgeTakeOver(house.takeOver, nowMs) : null
  if (refusal !== null) return { kind: refusal, over }
  const blocking = inTheWay(live, maxSessions ?? SESSIONS_MAX, chosen)
  const open = (reason: EndReason): SignInVerdict => ({
    ...{ kind: 'open', uses: comesBack, over },
    ends: blocking.map((session) => ({ session, reason })),
  })
  if (blocking.length === 0 || maxSessions === null || atLimit === 'kick') return open('kicked')
  if (house.takeOver?.kind === 'refuse') return open('taken_over')
  if (atLimit === 'refuse') return { kind: 'full', live, over }
  const asked = ask(blocking, nowMs)
  // Whoever was asked on its behalf has not answered yet.
  if (comesBack && asked.asks.length === 0) return { kind: 'waiting', untilMs: asked.untilMs, over }
  return { ...asked, over }
}
