import type { KeyObject } from 'node:crypto'
import { hmac, hmacKeyOf } from './digests.ts'
import { lp } from './encoding.ts'

/**
 * A public value that tells whether a key is the one a database was written with, and nothing else about it.
 * @param ring what the key is for, as the name of its file.
 * @param keyId the key's id in its ring.
 * @returns 32 hex characters: HMAC-SHA-256 of ring and id under the key, cut to 16 bytes.
 */
export function keyCheckValue(key: KeyObject, ring: string, keyId: string): string {
  return hmac(hmacKeyOf(key), lp('kunci/key-check'), lp(ring), lp(keyId)).toString('hex', 0, 16)
}
