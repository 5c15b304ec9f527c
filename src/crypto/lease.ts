import { sign } from 'node:crypto'
import { hmac, hmacKey } from './digests.ts'
import { lp, toB64u } from './encoding.ts'
import type { SigningKey } from './jwk.ts'

const HASH_BYTES = 16

/** Component digests by type, 32 bytes each, as a client sends them. */
export type Components = Readonly<Record<string, readonly Uint8Array[]>>

/**
 * What a lease keeps of a machine's component digests, so that it fits this machine and tells nobody which: of each
 * HMAC-SHA-256 under the lease's own salt, cut to 16 bytes, base64url.
 * @param salt 16 random bytes.
 */
export function leaseHardware(components: Components, salt: Uint8Array): Record<string, string[]> {
  const key = hmacKey(salt)
  const hashOf = (type: string, digest: Uint8Array) =>
    hmac(key, lp('dsk1/lease-hw'), lp(type), lp(digest)).subarray(0, HASH_BYTES)
  return Object.fromEntries(
    Object.entries(components).map(([type, digests]) => [
      type,
      digests.map((digest) => toB64u(hashOf(type, digest))),
    ]),
  )
}

/**
 * A compact JWS (RFC 7515 section 7.1) by ES256 (RFC 7518 section 3.4): signature `R || S`, 64 bytes.
 * @param typ the `typ` of the header, such as `dsk-lease+jwt`.
 */
export function signEs256(typ: string, payload: unknown, { kid, privateKey }: SigningKey): string {
  const part = (value: unknown) => toB64u(Buffer.from(JSON.stringify(value)))
  const input = `${part({ alg: 'ES256', typ, kid })}.${part(payload)}`
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${toB64u(signature)}`
}
