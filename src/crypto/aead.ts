import { createCipheriv, createDecipheriv, createSecretKey, timingSafeEqual } from 'node:crypto'
import { hmac, hmacKey } from './digests.ts'
import { type SealedSuite, SIZES } from './suites.ts'

const GCM_TAG_BYTES = 16
const CBC_TAG_BYTES = 32
const BLOCK_BYTES = 16
const HALF_KEY_BYTES = 32

type Aead = {
  seal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer
  open(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, box: Uint8Array): Buffer | null
}

/** AES-256-GCM (RFC 5116 section 5.2): `ciphertext || tag`. */
const aes256Gcm: Aead = {
  seal: (key, nonce, aad, plaintext) => {
    const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce, {
      authTagLength: GCM_TAG_BYTES,
    })
    cipher.setAAD(aad)
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  },
  open: (key, nonce, aad, box) => {
    if (box.length < GCM_TAG_BYTES) return null
    // Without its length said aloud a tag of four bytes would do.
    const decipher = createDecipheriv('aes-256-gcm', createSecretKey(key), nonce, {
      authTagLength: GCM_TAG_BYTES,
    })
    decipher.setAAD(aad)
    decipher.setAuthTag(box.subarray(-GCM_TAG_BYTES))
    try {
      const plaintext = decipher.update(box.subarray(0, -GCM_TAG_BYTES))
      decipher.final()
      return plaintext
    } catch {
      return null
    }
  },
}

function hs512Tag(macKey: Uint8Array, nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): Buffer {
  const aadBits = Buffer.alloc(8)
  aadBits.writeBigUInt64BE(BigInt(aad.length) * 8n)
  return hmac(hmacKey(macKey, 'sha512'), aad, nonce, ciphertext, aadBits).subarray(0, CBC_TAG_BYTES)
}

/** A256CBC-HS512 (RFC 7518 section 5.2.5): the key is `MAC_KEY(32) || ENC_KEY(32)`, the box `ciphertext || tag`. */
const a256CbcHs512: Aead = {
  seal: (key, nonce, aad, plaintext) => {
    const cipher = createCipheriv('aes-256-cbc', createSecretKey(key.subarray(HALF_KEY_BYTES)), nonce)
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
    return Buffer.concat([ciphertext, hs512Tag(key.subarray(0, HALF_KEY_BYTES), nonce, aad, ciphertext)])
  },
  open: (key, nonce, aad, box) => {
    const ciphertext = box.subarray(0, -CBC_TAG_BYTES)
    if (box.length <= CBC_TAG_BYTES || ciphertext.length % BLOCK_BYTES !== 0) return null
    // The tag comes first: no block of a forged box is ever decrypted, so its padding can tell nobody anything.
    const tag = hs512Tag(key.subarray(0, HALF_KEY_BYTES), nonce, aad, ciphertext)
    if (!timingSafeEqual(tag, box.subarray(-CBC_TAG_BYTES))) return null
    const decipher = createDecipheriv('aes-256-cbc', createSecretKey(key.subarray(HALF_KEY_BYTES)), nonce)
    try {
      return Buffer.concat([decipher.update(ciphertext), decipher.final()])
    } catch {
      return null
    }
  },
}

const AEADS: Readonly<Record<SealedSuite, Aead>> = { S1: aes256Gcm, S2: a256CbcHs512, S3: aes256Gcm }

function requireSizes(suite: SealedSuite, key: Uint8Array, nonce: Uint8Array): void {
  const sizes = SIZES[suite]
  if (key.length !== sizes.key || nonce.length !== sizes.nonce)
    throw new RangeError(`${suite} takes a key of ${sizes.key} bytes and a nonce of ${sizes.nonce}`)
}

/**
 * Seals with the suite's AEAD.
 * @param key 32 bytes (S1, S3) or 64 (S2). @param nonce 12 bytes (S1, S3) or 16 (S2), never twice under one key.
 * @returns the ciphertext and behind it the tag, 16 bytes (S1, S3) or 32 (S2).
 * @throws {RangeError} for a key or nonce of another length.
 */
export function seal(
  suite: SealedSuite,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Buffer {
  requireSizes(suite, key, nonce)
  return AEADS[suite].seal(key, nonce, aad, plaintext)
}

/**
 * Opens what {@link seal} made. The tag is compared, in constant time, before anything is decrypted.
 * @returns the plaintext, or `null` for every cause alike.
 * @throws {RangeError} for a key or nonce of another length.
 */
export function open(
  suite: SealedSuite,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  box: Uint8Array,
): Buffer | null {
  requireSizes(suite, key, nonce)
  return AEADS[suite].open(key, nonce, aad, box)
}
