import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { hmacKeyOf, sha256 } from './digests.ts'
import { fromB64u, lp, toB64u, u8 } from './encoding.ts'
import { expand32 } from './expand.ts'
import { SUITE_ID, type Suite } from './suites.ts'

/** What the wrapped key is bound to: move it to another row, or change any of these, and it no longer opens. */
export type WrapContext = {
  readonly suite: Suite
  /** The row's session id, as the ASCII text in the column. */
  readonly sessionId: string
  /** 12 bytes (S1, S3) or 16 bytes (S2, L0). */
  readonly iv: Uint8Array
}

const NONCE_BYTES = 12
const KEY_BYTES = 32
const TAG_BYTES = 16
const WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
const WRAPPED = /^w1\.(S1|S2|S3|L0)\.([a-z0-9]{1,16})\.([A-Za-z0-9_-]{80})$/
const LABEL = lp('dsk1/row')
const MARK_BYTES = 16

function rowKey(kek: KeyObject, sessionId: string): KeyObject {
  // A key of its own for each row: random nonces then never meet GCM's limit of 2^32 messages under one key.
  return createSecretKey(expand32(hmacKeyOf(kek), Buffer.concat([LABEL, lp(sessionId)])))
}

function associatedData(kekId: string, { suite, sessionId, iv }: WrapContext): Buffer {
  return Buffer.concat([LABEL, u8(SUITE_ID[suite]), lp(kekId), lp(sessionId), lp(iv)])
}

/**
 * Wraps a session key for the column `session_key` with AES-256-GCM (RFC 5116), the row as associated data.
 * @param sessionKey 32 bytes.
 * @param nonce 12 random bytes, never used twice for the same session id.
 * @returns `w1.<suite>.<kek id>.<80 characters of base64url>`, 88 to 103 characters.
 */
export function wrapSessionKey(
  kek: KeyObject,
  kekId: string,
  context: WrapContext,
  sessionKey: Uint8Array,
  nonce: Uint8Array,
): string {
  const cipher = createCipheriv('aes-256-gcm', rowKey(kek, context.sessionId), nonce, {
    authTagLength: TAG_BYTES,
  })
  cipher.setAAD(associatedData(kekId, context))
  const sealed = Buffer.concat([nonce, cipher.update(sessionKey), cipher.final(), cipher.getAuthTag()])
  return `w1.${context.suite}.${kekId}.${toB64u(sealed)}`
}

/**
 * Names a wrapped key in public: whoever signed this beside the key knows the column for what was wrapped then, and need
 * not open it.
 * @returns 32 hex characters: SHA-256 of the column's text, cut to 16 bytes.
 */
export function wrappedKeyMark(wrapped: string): string {
  return sha256(Buffer.from(wrapped)).toString('hex', 0, MARK_BYTES)
}

/**
 * Opens what {@link wrapSessionKey} made.
 * @returns the 32-byte session key, or `null` for every cause alike: not in this form, another suite, a key id that
 *   is not in the ring, another row, an altered IV, a wrong key-encryption key.
 */
export function unwrapSessionKey(
  keks: ReadonlyMap<string, KeyObject>,
  context: WrapContext,
  wrapped: string,
): Buffer | null {
  const [, suite, kekId = '', text = ''] = WRAPPED.exec(wrapped) ?? []
  const kek = keks.get(kekId)
  const sealed = fromB64u(text)
  if (suite !== context.suite || kek === undefined || sealed?.length !== WRAPPED_BYTES) return null
  const nonce = sealed.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', rowKey(kek, context.sessionId), nonce, {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(associatedData(kekId, context))
  decipher.setAuthTag(sealed.subarray(NONCE_BYTES + KEY_BYTES))
  try {
    const key = decipher.update(sealed.subarray(NONCE_BYTES, NONCE_BYTES + KEY_BYTES))
    decipher.final()
    return key
  } catch {
    return null
  }
}
