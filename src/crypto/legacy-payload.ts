import { createDecipheriv, createSecretKey } from 'node:crypto'

const BLOCK_BYTES = 16
const HEX = /^(?:[0-9a-fA-F]{2})+$/

/**
 * Opens the old programs' payload: hex of AES-256-CBC with PKCS#7 padding (RFC 5652 section 6.3), no MAC.
 *
 * The format has no integrity: whoever holds the key can make or alter one, and nothing here can tell.
 * @param sessionKey 32 bytes.
 * @param iv 16 bytes.
 * @param payload hex, upper or lower case, as PHP's `hex2bin` took both.
 * @returns the plaintext bytes, or `null` for every cause alike: not hex, not whole blocks, wrong padding.
 */
export function openLegacyPayload(sessionKey: Uint8Array, iv: Uint8Array, payload: string): Buffer | null {
  if (!HEX.test(payload)) return null
  const sealed = Buffer.from(payload, 'hex')
  if (sealed.length % BLOCK_BYTES !== 0) return null
  const decipher = createDecipheriv('aes-256-cbc', createSecretKey(sessionKey), iv)
  try {
    return Buffer.concat([decipher.update(sealed), decipher.final()])
  } catch {
    return null
  }
}
