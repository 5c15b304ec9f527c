import type { Account } from '../../store/accounts.ts'
import type { SessionRow } from '../../store/session-rows.ts'
import type { User } from '../../store/users.ts'
import type { EndReason } from '../session-policy.ts'
import { isOperator } from '../sessions.ts'
import type { Owner } from './owners.ts'
import { type UserFinding, userFinding } from './user-findings.ts'
import { keptNumber } from './user-ids.ts'
import type { OldSession } from './user-sessions.ts'
import type { OldUser } from './users.ts'

/** A user who is to come to Kunci under this id. */
export type NewUser = OldUser & { readonly id: number }
/** A session that is to come to its user's history. */
export type NewSession = OldSession & {
  readonly owner: Owner
  readonly userId: number
  readonly sessionId: string
}

const IMPORTED: EndReason = 'imported'

export function importedUser({ row, email, oldId, id, role, isActive }: NewUser): UserFinding {
  const detail = isActive ? role : `${role}, disabled`
  return userFinding('user_imported', row, { email, oldId, userId: id, detail })
}

export function importedSession({ row, oldId, owner, userId, loginAtMs }: NewSession): UserFinding {
  const detail = `signed in ${new Date(loginAtMs).toISOString()}`
  return userFinding('session_imported', row, { email: owner.email, oldId, userId, detail })
}

const COMPARED = { fullName: 'name', role: 'role', isActive: 'active' } as const

/** What there is to say of a user who is in Kunci already. */
export function compare(user: OldUser, there: Account): UserFinding {
  const { row, email, oldId } = user
  const differences = (Object.keys(COMPARED) as (keyof typeof COMPARED)[])
    .filter((fact) => user[fact] !== there[fact])
    .map((fact) => `${COMPARED[fact]}: there ${user[fact]}, here ${there[fact]}`)
  const facts = { email, oldId, userId: there.id }
  if (differences.length === 0) return userFinding('user_known', row, facts)
  return userFinding('user_differs', row, { ...facts, detail: differences.join('; ') })
}

export function userOf(
  { id, email, fullName, role, isActive, passwordHash, createdAtMs }: NewUser,
  nowMs: number,
): User {
  return {
    ...{ id, email, fullName, role, isActive, passwordHash, createdAtMs, updatedAtMs: nowMs },
    ...{ totpSecret: null, totpStep: null, maxSessions: null, atLimit: null },
  }
}

export function sessionRowOf(session: NewSession, id: number, endedBy: string): SessionRow {
  const { userId, sessionId, ipAddress, agent, loginAtMs, lastActivityMs, logoutAtMs, expiresAtMs } = session
  const { userAgent, device } = agent
  return {
    ...{ id, userId, sessionId, ipAddress, userAgent, firstIpAddress: ipAddress, firstUserAgent: userAgent },
    ...{ deviceType: device.type, deviceName: device.name, country: null, isActive: false },
    ...{ lastActivityMs, loginAtMs, logoutAtMs, idleMs: 0, expiresAtMs, yieldByMs: null },
    ...{ endReason: IMPORTED, endedBy },
  }
}

/** Notes what an operator must know of those who come. */
export function notedUsers(users: readonly NewUser[]): UserFinding[] {
  return users.flatMap(({ row, email, oldId, id, role, isActive, passwordHash }) => {
    const facts = { email, oldId, userId: id }
    return [
      ...(passwordHash === null ? [userFinding('user_password_left', row, facts)] : []),
      ...(isOperator(role) ? [userFinding('user_is_operator', row, { ...facts, detail: role })] : []),
      ...(isActive ? [] : [userFinding('user_is_disabled', row, facts)]),
      ...(/^\d+$/.test(oldId) && id !== keptNumber(oldId)
        ? [userFinding('user_id_changed', row, facts)]
        : []),
    ]
  })
}

/** Notes sessions that are not kept for long. */
export function notedSessions(sessions: readonly NewSession[], beforeMs: number): UserFinding[] {
  return sessions
    .filter(({ logoutAtMs }) => logoutAtMs < beforeMs)
    .map(({ row, oldId, owner, userId }) =>
      userFinding('session_is_old', row, { email: owner.email, oldId, userId }),
    )
}
