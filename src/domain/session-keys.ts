import type { Clock } from '../clock.ts'
import { openLegacyPayload } from '../crypto/legacy-payload.ts'
import { unwrapSessionKey, type WrapContext, wrapSessionKey } from '../crypto/row-wrap.ts'
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

/** A session key as it leaves the server: the only place where key and IV are in the clear. */
export type HandOut = {
  readonly sessionId: string
  readonly keyHex: string
  readonly ivHex: string
  readonly issuedAtS: number
  readonly expiresAtS: number
}

export type Opened =
  | { readonly kind: 'opened'; readonly plaintext: Buffer }
  | { readonly kind: 'session_expired' }
  | { readonly kind: 'unreadable' }

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
    return { sessionId, keyHex: key.toString('hex'), ivHex, issuedAtS, expiresAtS }
  }

  /** The living row of a session, or `null` when it is gone, ended or expired. */
  async function findLiving(sessionId: string): Promise<SessionKeyRow | null> {
    const row = SESSION_ID.test(sessionId) ? await store.find(sessionId) : null
    return row !== null && row.expiresAtMs > clock() ? row : null
  }

  /**
   * Opens a payload of the old programs under its session's row. One answer for every cause of a failure, each of
   * which is counted before it is given; after 16 the session is over. A row whose key is not wrapped never opens.
   */
  async function open(row: SessionKeyRow, payload: string): Promise<Opened> {
    const iv = Buffer.from(row.ivHex, 'hex')
    const context = { suite: 'L0', sessionId: row.sessionId, iv } as const
    const key = unwrapSessionKey(keyring.kek.keys, context, row.wrappedKey)
    const plaintext = key === null || iv.length !== IV_BYTES ? null : openLegacyPayload(key, iv, payload)
    key?.fill(0)
    if (plaintext !== null) return { kind: 'opened', plaintext }
    const failures = await store.countFailure(row)
    if (failures >= FAILED_OPENS_MAX) await store.end(row.sessionId, clock())
    return { kind: failures > FAILED_OPENS_MAX ? 'session_expired' : 'unreadable' }
  }

  return { adopt, handOut, findLiving, open }
}
