import { isIP } from 'node:net'
import type { OldRow, TimeKind } from '../../store/old-server/old-table.ts'
import type { SessionColumn } from '../../store/old-users/old-users.ts'
import { tidied } from '../texts.ts'
import { type Device, deviceOf } from '../user-agents.ts'
import type { ReadTime } from './dates.ts'
import { type UserFinding, userFinding } from './user-findings.ts'
import { oldIdOf } from './users.ts'

/** A row that can become a session of the past. Its token was not read. */
export type OldSession = {
  readonly row: number
  readonly oldId: string
  readonly oldUserId: string
  readonly loginAtMs: number
  readonly lastActivityMs: number
  readonly logoutAtMs: number
  readonly expiresAtMs: number
  /** Empty: the old system knew none. */
  readonly ipAddress: string
  readonly agent: Agent
  /** Whether the old system would have let it in still. */
  readonly wasOpen: boolean
}

/** What a client said of itself, as it is kept, and what that tells. */
export type Agent = { readonly userAgent: string; readonly device: Device }

export type SessionRules = {
  readonly times: { readonly [K in SessionColumn]?: TimeKind }
  readonly readTime: ReadTime
  readonly readAgent: ReturnType<typeof agentReader>
  readonly nowMs: number
}

type Cells = Readonly<Record<SessionColumn, string | null>>

const USER_AGENT_MAX = 512
const ADDRESS_MAX = 45
const REMEMBERED_MAX = 10_000
/** By how much the clock of the old system may be ahead. */
const AHEAD_MAX_MS = 60_000
const ENDED = new Set(['0', 'f', 'false'])

/** Reads user agents, each once: many sessions have the same, and keep it together. */
export function agentReader(): (userAgent: string | null, type: string | null) => Agent {
  const remembered = new Map<string, Agent>()
  return (written, type) => {
    const key = `${type ?? ''}\n${written ?? ''}`
    const known = remembered.get(key)
    if (known !== undefined) return known
    const userAgent = tidied(written ?? '', USER_AGENT_MAX)
    const agent = { userAgent, device: deviceOf(userAgent, type === null ? {} : { type }) }
    if (remembered.size >= REMEMBERED_MAX) remembered.clear()
    remembered.set(key, agent)
    return agent
  }
}

/** The times of a session's life, or what is wrong with one of them. Where the last ones are missing the first stand in. */
function timesOf(cells: Cells, { times, readTime, nowMs }: SessionRules) {
  const read = (column: SessionColumn, missing?: number) => {
    const time = readTime(cells[column], times[column] ?? 'local')
    if ('fault' in time) return time.fault === 'missing' && missing !== undefined ? missing : time.fault
    return time.ms <= nowMs + AHEAD_MAX_MS && time.ms > 0 ? time.ms : 'ahead or before 1970'
  }
  const loginAtMs = read('login_at')
  if (typeof loginAtMs === 'string') return { column: 'login_at', fault: loginAtMs } as const
  const lastActivityMs = read('last_activity', loginAtMs)
  if (typeof lastActivityMs === 'string') return { column: 'last_activity', fault: lastActivityMs } as const
  const logoutAtMs = read('logout_at', lastActivityMs)
  if (typeof logoutAtMs === 'string') return { column: 'logout_at', fault: logoutAtMs } as const
  const expires = readTime(cells.expires_at, times.expires_at ?? 'local')
  return { loginAtMs, lastActivityMs, logoutAtMs, expiresAtMs: 'ms' in expires ? expires.ms : null }
}

function addressOf(written: string | null): { ipAddress: string; isUnfit: boolean } {
  const ipAddress = written?.trim() ?? ''
  const isFit = ipAddress === '' || (isIP(ipAddress) !== 0 && ipAddress.length <= ADDRESS_MAX)
  return { ipAddress: isFit ? ipAddress : '', isUnfit: !isFit }
}

/**
 * Judges one row of sessions by itself.
 * @returns the session, or `null` for a row that is left out, and what there is to say.
 */
export function judgeSession(
  old: OldRow<SessionColumn>,
  rules: SessionRules,
): { session: OldSession | null; findings: UserFinding[] } {
  const { row } = old
  if ('fault' in old)
    return { session: null, findings: [userFinding('session_unreadable', row, { detail: old.detail })] }
  const { cells } = old
  const [oldId, oldUserId] = [oldIdOf(cells.id), oldIdOf(cells.user_id)]
  const out = (detail: string) => ({
    session: null,
    findings: [userFinding('session_unfit', row, { oldId, detail })],
  })
  if (oldId === null) return out('no id')
  if (oldUserId === null) return out('no id of a user')
  const times = timesOf(cells, rules)
  if ('column' in times)
    return out(`${times.column} "${tidied(cells[times.column] ?? '', 40)}" is ${times.fault}`)
  const { ipAddress, isUnfit } = addressOf(cells.ip_address)
  const isOver = (cells.logout_at ?? '') !== '' || ENDED.has((cells.is_active ?? '').trim().toLowerCase())
  const facts = { oldId }
  return {
    session: {
      ...{ row, oldId, oldUserId, ...times, expiresAtMs: times.expiresAtMs ?? times.logoutAtMs, ipAddress },
      agent: rules.readAgent(cells.user_agent, cells.device_type),
      wasOpen: !isOver && (times.expiresAtMs ?? rules.nowMs + 1) > rules.nowMs,
    },
    findings: [
      ...(isUnfit ? [userFinding('session_address_left', row, facts)] : []),
      ...(old.mayBeCut === true ? [userFinding('session_may_be_cut', row, facts)] : []),
    ],
  }
}
