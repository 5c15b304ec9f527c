import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { hmacKeyOf } from './digests.ts'
import { fromB64u, lp, toB64u } from './encoding.ts'
import { expand32 } from './expand.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16
const LABEL = lp('kunci/user-secret')
const SEALED = /^u1\.([a-z0-9]{1,16})\.([A-Za-z0-9_-]{39,200})$/

function keyFor(pepper: KeyObject): KeyObject {
  return createSecretKey(expand32(hmacKeyOf(pepper), LABEL))
}

function associatedData(pepperId: string, userId: number): Buffer {
  return Buffer.concat([LABEL, lp(pepperId), lp(String(userId))])
}

/**
 * Seals what a user shares with us alone, such as the seed of his one-time codes, for his row: AES-256-GCM (RFC 5116)
 * under a key derived from the pepper, the row as associated data.
 * @param secret 1 to 120 bytes.
 * @param nonce 12 random bytes.
 * @returns `u1.<pepper id>.<base64url of nonce, ciphertext and 16-byte tag>`.
 */
export function sealUserSecret(
  pepper: KeyObject,
  pepperId: string,
  userId: number,
  secret: Uint8Array,
  nonce: Uint8Array,
): string {
  const cipher = createCipheriv('aes-256-gcm', keyFor(pepper), nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(associatedData(pepperId, userId))
  const sealed = Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()])
  return `u1.${pepperId}.${toB64u(sealed)}`
}

/**
 * Opens what {@link sealUserSecret} made.
 * @returns the secret, or `null` for every cause alike: not in this form, an unknown pepper, another user's row, altered.
 */
export function openUserSecret(
  peppers: ReadonlyMap<string, KeyObject>,
  userId: number,
  text: string,
): Buffer | null {
  const [, pepperId = '', encoded = ''] = SEALED.exec(text) ?? []
  const pepper = peppers.get(pepperId)
  const sealed = fromB64u(encoded)
  if (pepper === undefined || sealed === null || sealed.length <= NONCE_BYTES + TAG_BYTES) return null
  const decipher = createDecipheriv('aes-256-gcm', keyFor(pepper), sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(associatedData(pepperId, userId))
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  try {
    const secret = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES))
    decipher.final()
    return secret
  } catch {
    return null
  }
}
