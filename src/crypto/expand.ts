import { createSecretKey, type KeyObject } from 'node:crypto'
import { type HmacKey, hmac } from './digests.ts'

const COUNTER_ONE = Buffer.from([1])
const COUNTER_TWO = Buffer.from([2])

/**
 * HKDF-Expand with SHA-256 (RFC 5869 section 2.3) for one block, which is a single HMAC.
 * @param prk pseudorandom key of SHA-256.
 * @param info context, any length.
 * @returns 32 bytes.
 */
export function expand32(prk: HmacKey, info: Uint8Array): Buffer {
  return hmac(prk, info, COUNTER_ONE)
}

/**
 * HKDF-Expand with SHA-256 (RFC 5869 section 2.3) for up to two blocks.
 * @param length 1 to 64 bytes.
 */
export function expand(prk: HmacKey, info: Uint8Array, length: number): Buffer {
  const first = expand32(prk, info)
  if (length <= first.length) return first.subarray(0, length)
  if (length > 2 * first.length) throw new RangeError(`expand: ${length} bytes are more than two blocks`)
  const second = hmac(prk, first, info, COUNTER_TWO)
  return Buffer.concat([first, second], length)
}

/**
 * Turns 32 secret bytes into a KeyObject.
 * @throws {RangeError} when the input is not 32 bytes, or is one byte repeated (a zeroed file, a placeholder).
 */
export function secretKey32(bytes: Uint8Array): KeyObject {
  if (bytes.length !== 32) throw new RangeError(`a key has 32 bytes, this one has ${bytes.length}`)
  if (bytes.every((byte) => byte === bytes[0])) throw new RangeError('a key cannot be one byte repeated')
  return createSecretKey(bytes)
}
