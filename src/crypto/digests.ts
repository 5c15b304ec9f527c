/**
 * SHA-2 and HMAC by node:crypto's one-shot hash. Objects such as createHmac makes are native: each costs microseconds
 * more to be collected than to be used, and a sealed check would need more than twenty of them.
 */
import { hash, type KeyObject } from 'node:crypto'

const BLOCK_BYTES = { sha256: 64, sha512: 128 } as const
const INNER_PAD = 0x36
const OUTER_PAD = 0x5c

type Algorithm = keyof typeof BLOCK_BYTES

/** For what is no key: it comes by way of a string, which is quicker than a Buffer with memory of its own, and stays. */
function digest(algorithm: Algorithm, parts: readonly Uint8Array[]): Buffer {
  return Buffer.from(hash(algorithm, Buffer.concat(parts), 'binary'), 'binary')
}

/** SHA-256 (FIPS 180-4) of all parts, one behind another: 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Buffer {
  return digest('sha256', parts)
}

/** A key of HMAC made ready: as the two blocks that stand before the message and before the inner digest. */
export type HmacKey = { readonly algorithm: Algorithm; readonly inner: Buffer; readonly outer: Buffer }

/** @param bytes any length; one that is longer than a block of the hash counts as its digest (RFC 2104 section 2). */
export function hmacKey(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): HmacKey {
  const size = BLOCK_BYTES[algorithm]
  const key = bytes.length > size ? digest(algorithm, [bytes]) : bytes
  const inner = Buffer.alloc(size, INNER_PAD)
  const outer = Buffer.alloc(size, OUTER_PAD)
  for (const [i, byte] of key.entries()) {
    inner[i] = byte ^ INNER_PAD
    outer[i] = byte ^ OUTER_PAD
  }
  return { algorithm, inner, outer }
}

const ready = new WeakMap<KeyObject, HmacKey>()

/** A key that lives long, for HMAC-SHA-256: made ready once. */
export function hmacKeyOf(key: KeyObject): HmacKey {
  const known = ready.get(key)
  if (known !== undefined) return known
  const made = hmacKey(key.export())
  ready.set(key, made)
  return made
}

/** HMAC (RFC 2104) of all parts, one behind another: 32 bytes with SHA-256, 64 with SHA-512, which the caller can wipe. */
export function hmac({ algorithm, inner, outer }: HmacKey, ...parts: readonly Uint8Array[]): Buffer {
  return hash(algorithm, Buffer.concat([outer, digest(algorithm, [inner, ...parts])]), 'buffer')
}
