import { timingSafeEqual } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { openLegacyPayload } from '../crypto/legacy-payload.ts'
import { unwrapSessionKey, type WrapContext, wrappedKeyMark, wrapSessionKey } from '../crypto/row-wrap.ts'
import type { Random } from '../random.ts'
import type { Keyring } from '../store/keyring.ts'
import { currentKey } from '../store/ring.ts'
import type { SessionKeyRow, SessionKeyStore } from '../store/session-keys.ts'
import type { OldSessionKey } from './import/session-keys.ts'

const KEY_BYTES = 32
const IV_BYTES = 16
const ID_TIME_DIGITS = 12
const ID_RANDOM_BYTES = 16
const NONCE_BYTES = 12
const FAILED_OPENS_MAX = 16
const SESSION_ID = /^[\x21-\x7e]{1,64}$/

/** What a token of the legacy contract holds: the only place where key and IV are in the clear. */
export type SessionClaims = {
  readonly sessionId: string
  /** 32 bytes in hex. */
  readonly keyHex: string
  /** 16 bytes in hex. */
  readonly ivHex: string
  /** {@link wrappedKeyMark} of the session's row; something else in tokens of the old server. */
  readonly rowMark: string
}

/** A session key as it leaves the server. */
export type HandOut = SessionClaims & { readonly issuedAtS: number; readonly expiresAtS: number }

/**
 * 44 hex: the millisecond it was made in, then 128 random bits. Ids of one moment lie side by side in the unique index,
 * so that a batch of rows writes one page of it and not a page for each row.
 */
function newSessionId(nowMs: number, random: Buffer): string {
  return nowMs.toString(16).padStart(ID_TIME_DIGITS, '0') + random.toString('hex', 0, ID_RANDOM_BYTES)
}

export type SessionKeys = ReturnType<typeof createSessionKeys>

export function createSessionKeys(deps: {
  store: SessionKeyStore
  keyring: Keyring
  clock: Clock
  random: Random
  ttlS: number
}) {
  const { store, keyring, clock, random, ttlS } = deps

  function wrap(context: WrapContext, key: Uint8Array, nonce: Uint8Array): string {
    const { kek } = keyring
    return wrapSessionKey(currentKey(kek), kek.current, context, key, nonce)
  }

  /** The row of a session key of the old server, which keeps its id, its IV and its times. */
  function adopt({ sessionId, key, iv, clientIp, createdAtMs, expiresAtMs }: OldSessionKey): SessionKeyRow {
    const wrappedKey = wrap({ suite: 'L0', sessionId, iv }, key, random(NONCE_BYTES))
    return { sessionId, wrappedKey, ivHex: iv.toString('hex'), clientIp, createdAtMs, expiresAtMs }
  }

  /** Makes a session key for the legacy contract (suite L0), and answers once its row is committed. */
  async function handOut(clientIp: string): Promise<HandOut> {
    const nowMs = clock()
    const issuedAtS = Math.floor(nowMs / 1000)
    const bytes = random(ID_RANDOM_BYTES + KEY_BYTES + IV_BYTES + NONCE_BYTES)
    const sessionId = newSessionId(nowMs, bytes)
    const key = bytes.subarray(ID_RANDOM_BYTES, ID_RANDOM_BYTES + KEY_BYTES)
    const iv = bytes.subarray(ID_RANDOM_BYTES + KEY_BYTES, -NONCE_BYTES)
    const wrappedKey = wrap({ suite: 'L0', sessionId, iv }, key, bytes.subarray(-NONCE_BYTES))
    const expiresAtS = issuedAtS + ttlS
    const ivHex = iv.toString('hex')
    await store.insert({
      ...{ sessionId, wrappedKey, ivHex, clientIp },
      ...{ createdAtMs: issuedAtS * 1000, expiresAtMs: expiresAtS * 1000 },
    })
    const rowMark = wrappedKeyMark(wrappedKey)
    return { sessionId, keyHex: key.toString('hex'), ivHex, rowMark, issuedAtS, expiresAtS }
  }

  /** The living row of a session, or `null` when it is gone, ended or expired. */
  async function findLiving(sessionId: string): Promise<SessionKeyRow | null> {
    const row = SESSION_ID.test(sessionId) ? await store.find(sessionId) : null
    return row !== null && row.expiresAtMs > clock() ? row : null
  }

  /** Opens a payload of the old programs by what its token holds. @returns `null` for every cause of a failure alike. */
  function open({ keyHex, ivHex }: SessionClaims, payload: string): Buffer | null {
    return openLegacyPayload(Buffer.from(keyHex, 'hex'), Buffer.from(ivHex, 'hex'), payload)
  }

  /**
   * Whether these claims are about this very row: its IV, and its key, wrapped by us. Whoever altered the row, or put a
   * key there that is not wrapped, has ended the session.
   */
  function isOf({ keyHex, ivHex, rowMark }: SessionClaims, row: SessionKeyRow): boolean {
    if (ivHex.toLowerCase() !== row.ivHex.toLowerCase()) return false
    if (rowMark === wrappedKeyMark(row.wrappedKey)) return true
    const context = { suite: 'L0', sessionId: row.sessionId, iv: Buffer.from(ivHex, 'hex') } as const
    const key = unwrapSessionKey(keyring.kek.keys, context, row.wrappedKey)
    const isSame = key !== null && timingSafeEqual(key, Buffer.from(keyHex, 'hex'))
    key?.fill(0)
    return isSame
  }

  /** Counts a payload that did not open, before anything is answered; after 16 the session is over. */
  async function countFailure(row: SessionKeyRow): Promise<'session_expired' | 'unreadable'> {
    const failures = await store.countFailure(row)
    if (failures >= FAILED_OPENS_MAX) await store.end(row.sessionId, clock())
    return failures > FAILED_OPENS_MAX ? 'session_expired' : 'unreadable'
  }

  return { adopt, handOut, findLiving, open, isOf, countFailure }
}
