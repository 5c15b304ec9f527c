import { type Backend, need } from './backend.ts'
import { type Bytes, concat, equal, u64 } from './encoding.ts'
import { type SealedSuite, SIZES } from './suites.ts'

const GCM_TAG_BYTES = 16
const CBC_TAG_BYTES = 32
const BLOCK_BYTES = 16
const HALF_KEY_BYTES = 32
const BITS_PER_BYTE = 8

type Aead = {
  readonly seal: (key: Bytes, nonce: Bytes, aad: Bytes, plaintext: Bytes) => Promise<Bytes>
  readonly open: (key: Bytes, nonce: Bytes, aad: Bytes, box: Bytes) => Promise<Bytes | null>
}

function aes256Gcm(backend: Backend): Aead {
  const gcm = need(backend.gcm, 'AES-GCM', backend)
  return {
    seal: gcm.seal,
    open: async (key, nonce, aad, box) => {
      if (box.length < GCM_TAG_BYTES) return null
      return gcm.open(key, nonce, aad, box).catch(() => null)
    },
  }
}

/** A256CBC-HS512 (RFC 7518 section 5.2.5): the key is `MAC_KEY(32) || ENC_KEY(32)`, the box `ciphertext || tag`. */
function a256CbcHs512(backend: Backend): Aead {
  const tagOf = async (key: Bytes, nonce: Bytes, aad: Bytes, ciphertext: Bytes) => {
    const input = concat(aad, nonce, ciphertext, u64(aad.length * BITS_PER_BYTE))
    return (await backend.hmac('SHA-512', key.slice(0, HALF_KEY_BYTES), input)).slice(0, CBC_TAG_BYTES)
  }
  return {
    seal: async (key, nonce, aad, plaintext) => {
      const ciphertext = await backend.cbcEncrypt(key.slice(HALF_KEY_BYTES), nonce, plaintext)
      return concat(ciphertext, await tagOf(key, nonce, aad, ciphertext))
    },
    open: async (key, nonce, aad, box) => {
      const ciphertext = box.slice(0, -CBC_TAG_BYTES)
      if (box.length <= CBC_TAG_BYTES || ciphertext.length % BLOCK_BYTES !== 0) return null
      // The tag comes first: no block of a forged box is ever decrypted, so its padding can tell nobody anything.
      const tag = await tagOf(key, nonce, aad, ciphertext)
      if (!equal(tag, box.slice(-CBC_TAG_BYTES))) return null
      return backend.cbcDecrypt(key.slice(HALF_KEY_BYTES), nonce, ciphertext).catch(() => null)
    },
  }
}

function aeadOf(backend: Backend, suite: SealedSuite, key: Bytes, nonce: Bytes): Aead {
  const sizes = SIZES[suite]
  if (key.length !== sizes.key || nonce.length !== sizes.nonce)
    throw new RangeError(`${suite} takes a key of ${sizes.key} bytes and a nonce of ${sizes.nonce}`)
  return suite === 'S2' ? a256CbcHs512(backend) : aes256Gcm(backend)
}

/**
 * Seals with the suite's AEAD.
 * @param key 32 bytes (S1, S3) or 64 (S2). @param nonce 12 bytes (S1, S3) or 16 (S2), never twice under one key.
 * @returns the ciphertext and behind it the tag, 16 bytes (S1, S3) or 32 (S2).
 * @throws {RangeError} for a key or nonce of another length.
 */
export async function seal(
  backend: Backend,
  suite: SealedSuite,
  key: Bytes,
  nonce: Bytes,
  aad: Bytes,
  plaintext: Bytes,
): Promise<Bytes> {
  return aeadOf(backend, suite, key, nonce).seal(key, nonce, aad, plaintext)
}

/**
 * Opens what {@link seal} made. The tag of S2 is compared, in constant time, before anything is decrypted.
 * @returns the plaintext, or `null` for every cause alike.
 * @throws {RangeError} for a key or nonce of another length.
 */
export async function open(
  backend: Backend,
  suite: SealedSuite,
  key: Bytes,
  nonce: Bytes,
  aad: Bytes,
  box: Bytes,
): Promise<Bytes | null> {
  return aeadOf(backend, suite, key, nonce).open(key, nonce, aad, box)
}
