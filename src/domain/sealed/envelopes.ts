import { timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { fromB64u, toB64u } from '../../crypto/encoding.ts'
import {
  openRequest,
  padded,
  type RecordKeys,
  recordKeys,
  sealReply,
  tokenHashOf,
} from '../../crypto/records.ts'
import { unwrapSessionKey } from '../../crypto/row-wrap.ts'
import type { SealedSuite } from '../../crypto/suites.ts'
import type { Random } from '../../random.ts'
import type { Keyring } from '../../store/keyring.ts'
import type { SessionKeyRow, SessionKeyStore } from '../../store/session-keys.ts'
import { type CallReply, type CallRequest, SALT_BYTES } from '../../wire/sealed.ts'
import type { TokenClaims } from './handshakes.ts'
import type { Answer } from './outcomes.ts'

/** For so long a session that is over still answers retries, and everything else with `session_expired`. */
const LATE_MS = 60_000

/** A request whose box has opened: what it says, and what its reply is bound to. */
export type Opened = {
  readonly request: CallRequest
  readonly row: SessionKeyRow
  readonly keys: RecordKeys
  readonly plaintext: Buffer
  /** 32 bytes. */
  readonly requestHash: Buffer
}

export type Envelopes = ReturnType<typeof createEnvelopes>

/** Opens requests and seals replies. Behind this, everything is authenticated. */
export function createEnvelopes(deps: {
  sessions: SessionKeyStore
  keyring: Keyring
  clock: Clock
  random: Random
}) {
  const { sessions, keyring, clock, random } = deps

  function keysOf({ sessionId, ivHex, wrappedKey }: SessionKeyRow, suite: SealedSuite): RecordKeys | null {
    const iv = Buffer.from(ivHex, 'hex')
    const sessionKey = unwrapSessionKey(keyring.kek.keys, { suite, sessionId, iv }, wrappedKey)
    if (sessionKey === null) return null
    const keys = recordKeys(suite, sessionId, sessionKey, iv)
    sessionKey.fill(0)
    return keys
  }

  /** Whether token and session key belong together (RFC 7800). */
  function isConfirmed({ confirmation }: RecordKeys, { cnf }: TokenClaims): boolean {
    const claimed = fromB64u(cnf.dsk1)
    return claimed?.length === confirmation.length && timingSafeEqual(claimed, confirmation)
  }

  /** The one way into a box. `null` for every cause alike: no session, another's token, another key, a changed byte. */
  async function open(
    request: CallRequest,
    salt: Buffer,
    box: Buffer,
    { claims, token }: { claims: TokenClaims; token: string },
  ): Promise<Opened | null> {
    if (claims.sid !== request.session_id) return null
    const row = await sessions.find(request.session_id)
    if (row === null || row.expiresAtMs <= clock() - LATE_MS) return null
    const keys = keysOf(row, claims.ste)
    if (keys === null || !isConfirmed(keys, claims)) return null
    const { seq, op } = request
    const opened = openRequest(keys, { seq, op, salt, tokenHash: tokenHashOf(token) }, box)
    return opened === null ? null : { request, row, keys, ...opened }
  }

  function seal({ request, keys, requestHash }: Opened, { status, code, data }: Answer): CallReply {
    const salt = random(SALT_BYTES)
    const { session_id, seq, op } = request
    const plaintext = padded(JSON.stringify({ status, code, server_time: Math.floor(clock() / 1000), data }))
    const box = sealReply(keys, { seq, op, salt, requestHash }, plaintext)
    return { v: 1, session_id, seq, salt: toB64u(salt), box: toB64u(box) }
  }

  return { open, seal }
}
