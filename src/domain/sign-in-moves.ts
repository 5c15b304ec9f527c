import { hash } from 'node:crypto'
import type { Random } from '../random.ts'
import type { SessionRow } from '../store/session-rows.ts'
import type { Move, TakeOver } from '../store/sign-ins.ts'
import type { User } from '../store/users.ts'
import type { Actor, Events } from './events.ts'
import { newNumericId } from './ids.ts'
import type { Ending, SignInVerdict } from './session-policy.ts'
import { isOperator, type Sessions, userActor } from './sessions.ts'
import type { Device } from './user-agents.ts'

const SESSION_ID_BYTES = 16
const TOKEN_BYTES = 32
/** How long somebody may come back to a full house. */
export const TAKE_OVER_S = 120
const USER_AGENT_MAX = 512

/** Where somebody signs in from. */
export type Client = {
  readonly address: string
  readonly userAgent: string
  readonly device: Device
  readonly country: string | null
}

/** How long sessions last: seconds without a request, and seconds at all. */
export type SessionTerms = { readonly idleS: number; readonly maxS: number }

/** What a sign-in does, why, and the token that it may come back with. */
export type Admission = Move & { readonly verdict: SignInVerdict; readonly token: string }

export function takeOverHash(token: string): string {
  return hash('sha256', token)
}

export type SignInMoves = ReturnType<typeof createSignInMoves>

/** Makes of a verdict what is written: sessions, their ends, and what is told of both. */
export function createSignInMoves(deps: {
  sessions: Pick<Sessions, 'endOf'>
  events: Events
  terms: { readonly user: SessionTerms; readonly operator: SessionTerms }
  random: Random
}) {
  const { sessions, events, terms, random } = deps

  function newSession(
    user: User,
    { address, userAgent, device, country }: Client,
    nowMs: number,
  ): SessionRow {
    const { idleS, maxS } = isOperator(user.role) ? terms.operator : terms.user
    const agent = userAgent.slice(0, USER_AGENT_MAX)
    return {
      ...{
        id: newNumericId(nowMs, random),
        userId: user.id,
        sessionId: random(SESSION_ID_BYTES).toString('hex'),
      },
      ...{ ipAddress: address, firstIpAddress: address, userAgent: agent, firstUserAgent: agent },
      ...{ deviceType: device.type, deviceName: device.name, country, isActive: true },
      ...{ lastActivityMs: nowMs, loginAtMs: nowMs, logoutAtMs: null, idleMs: idleS * 1000 },
      ...{ expiresAtMs: nowMs + maxS * 1000, yieldByMs: null, endReason: null, endedBy: null },
    }
  }

  function takeOverOf(user: User, kind: TakeOver['kind'], token: string, nowMs: number): TakeOver {
    return {
      ...{ tokenHash: takeOverHash(token), userId: user.id, kind, createdAtMs: nowMs },
      ...{ expiresAtMs: nowMs + TAKE_OVER_S * 1000, usedAtMs: null, refusedAtMs: null },
    }
  }

  /** What a verdict writes. @param back the token that this sign-in came back with, if it did. */
  function moveOf(
    verdict: SignInVerdict,
    user: User,
    client: Client,
    back: string | null,
    nowMs: number,
  ): Admission {
    const actor = userActor(user, client.address)
    const endsOf = (endings: readonly Ending[], by: Actor) =>
      endings.map(({ session, reason }) => sessions.endOf(session, reason, by))
    const token = back ?? random(TOKEN_BYTES).toString('base64url')
    const bare = {
      ...{ atMs: nowMs, verdict, token, opens: null, asks: [], leaves: null, uses: false, told: [] },
      ends: endsOf(verdict.over, { name: 'server' }),
    }
    if (verdict.kind === 'open') {
      const opens = newSession(user, client, nowMs)
      const { deviceName, deviceType, country, sessionId } = opens
      const detail = { device_name: deviceName, device_type: deviceType, country }
      const told = [events.tell('session_created', actor, { userId: user.id, sessionId }, detail)]
      return {
        ...bare,
        ends: [...bare.ends, ...endsOf(verdict.ends, actor)],
        opens,
        uses: verdict.uses,
        told,
      }
    }
    if (verdict.kind === 'full')
      return { ...bare, leaves: back === null ? takeOverOf(user, 'refuse', token, nowMs) : null }
    if (verdict.kind !== 'ask') return bare
    const { asks, untilMs } = verdict
    const detail = {
      device_name: client.device.name,
      country: client.country,
      yield_by: new Date(untilMs).toISOString(),
    }
    return {
      ...bare,
      asks: asks.map(({ sessionId }) => ({ sessionId, yieldByMs: untilMs })),
      leaves: back === null ? takeOverOf(user, 'ask', token, nowMs) : null,
      told: asks.map(({ sessionId }) =>
        events.tell('session_asked', actor, { userId: user.id, sessionId }, detail),
      ),
    }
  }

  return moveOf
}
