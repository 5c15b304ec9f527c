import type { SessionKeyColumn } from '../../store/old-server/old-server.ts'
import type { OldRow, TimeKind } from '../../store/old-server/old-table.ts'
import type { ReadTime } from './dates.ts'
import { type Finding, type FindingName, finding } from './findings.ts'

/** A living session key of the old server. */
export type OldSessionKey = {
  readonly row: number
  readonly sessionId: string
  /** 32 bytes, in the clear. */
  readonly key: Buffer
  /** 16 bytes. */
  readonly iv: Buffer
  readonly clientIp: string
  readonly createdAtMs: number
  readonly expiresAtMs: number
}

export type SessionKeyRules = {
  readonly times: Readonly<Partial<Record<SessionKeyColumn, TimeKind>>>
  readonly readTime: ReadTime
  readonly nowMs: number
}

/** The longest that SESSION_KEY_TTL_S can be. */
const LIFE_MAX_MS = 86_400_000
/** By how much the clock of the old server may be ahead. */
const AHEAD_MAX_MS = 60_000
const SESSION_ID = /^[\x21-\x7e]{1,64}$/
const CLIENT_IP = /^[\x20-\x7e]{1,45}$/
const KEY = /^[0-9a-f]{64}$/i
const IV = /^[0-9a-f]{32}$/i

/** Judges one row of the old server's `session_keys` by itself. No cell of it but the beginning of its id is repeated. */
export function judgeSessionKey(
  old: OldRow<SessionKeyColumn>,
  { times, readTime, nowMs }: SessionKeyRules,
): OldSessionKey | Finding {
  if ('fault' in old) return finding('session_key_unfit', old.row, { detail: old.detail })
  const { row, cells } = old
  const { session_id: sessionId, session_key: key, session_iv: iv, client_ip: clientIp } = cells
  const hash = sessionId !== null && SESSION_ID.test(sessionId) ? sessionId : null
  const left = (name: FindingName, detail: string | null) => finding(name, row, { hash, detail })
  const expires = readTime(cells.expires_at, times.expires_at ?? 'local')
  if ('ms' in expires && expires.ms <= nowMs) return left('session_key_expired', null)
  const created = readTime(cells.created_at, times.created_at ?? 'local')
  const unfit = [
    ...(hash === null ? ['session_id'] : []),
    ...(KEY.test(key ?? '') ? [] : ['session_key']),
    ...(IV.test(iv ?? '') ? [] : ['session_iv']),
    ...(CLIENT_IP.test(clientIp ?? '') ? [] : ['client_ip']),
    ...('ms' in created ? [] : ['created_at']),
    ...('ms' in expires ? [] : ['expires_at']),
  ]
  if (hash === null || key === null || iv === null || clientIp === null || unfit.length > 0)
    return left('session_key_unfit', `not as it must be: ${unfit.join(', ')}`)
  if (!('ms' in created && 'ms' in expires)) return left('session_key_unfit', null)
  // A database may refuse such a time, and that would end the import.
  const isAhead = created.ms > nowMs + AHEAD_MAX_MS || expires.ms > nowMs + LIFE_MAX_MS
  if (isAhead || expires.ms <= created.ms)
    return left(
      'session_key_unfit',
      'created_at or expires_at cannot be: is --time-zone that of session_keys too?',
    )
  return {
    ...{ row, sessionId: hash, key: Buffer.from(key, 'hex'), iv: Buffer.from(iv, 'hex'), clientIp },
    ...{ createdAtMs: created.ms, expiresAtMs: expires.ms },
  }
}
