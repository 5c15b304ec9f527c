import type { KeyObject } from 'node:crypto'
import { hmac, hmacKeyOf, sha256 } from './digests.ts'
import { lp, toB64u } from './encoding.ts'

const COMPONENT = lp('dsk1/hwid')
const FINGERPRINT = lp('dsk1/hwid-fp')
const COMPONENT_AT_REST = lp('dsk1/hwid-rest')
const OLD_HWID_AT_REST = lp('kunci/old-hwid')
const IMPORT_SEED = lp('kunci/import')
const AT_REST_BYTES = 16

/**
 * The digest of one hardware component, as a client sends it: the raw serial never leaves the machine. Scoped to the
 * tool, so that one machine cannot be linked between tools.
 * @param toolId the product's code.
 * @param type the component type: `board`, `disk`, `volume` …
 * @param norm the component's normal form.
 * @returns 32 bytes.
 */
export function componentDigest(toolId: string, type: string, norm: string): Buffer {
  return sha256(COMPONENT, lp(toolId), lp(type), lp(norm))
}

/**
 * One value for a whole machine, for the record and for equality alone: SHA-256 over the component digests as RFC 8785
 * writes them.
 * @param components 32-byte digests by type. @returns 32 bytes.
 */
export function fingerprintOf(components: Readonly<Record<string, readonly Uint8Array[]>>): Buffer {
  const c = Object.fromEntries(
    Object.keys(components)
      .sort()
      .map((type) => [type, components[type]?.map(toB64u)]),
  )
  return sha256(FINGERPRINT, lp(JSON.stringify({ c, v: 1 })))
}

/**
 * What the database keeps of a component digest: an HMAC-SHA-256 under the pepper, cut to 16 bytes.
 * @param digest 32 bytes, from {@link componentDigest}.
 */
export function componentAtRest(pepper: KeyObject, toolId: string, type: string, digest: Uint8Array): Buffer {
  const parts = [COMPONENT_AT_REST, lp(toolId), lp(type), lp(digest)]
  return hmac(hmacKeyOf(pepper), ...parts).subarray(0, AT_REST_BYTES)
}

/**
 * What the old server kept of a hardware id.
 * @param norm from {@link normaliseVolume}.
 * @returns 32 bytes: the SHA-256 of the normal form as UTF-8.
 */
export function oldHwidDigest(norm: string): Buffer {
  return sha256(Buffer.from(norm))
}

/**
 * What the database keeps of an old server's hash: an HMAC-SHA-256 under the pepper, cut to 16 bytes as every
 * component is. The old hash itself is unsalted, and the ids behind it have 32 bits: it is as good as the id in the clear.
 * @param digest 32 bytes, from {@link oldHwidDigest} or the old server's table.
 */
export function oldHwidAtRest(pepper: KeyObject, toolId: string, digest: Uint8Array): Buffer {
  return hmac(hmacKeyOf(pepper), OLD_HWID_AT_REST, lp(toolId), lp(digest)).subarray(0, AT_REST_BYTES)
}

/**
 * 32 bytes that are the same whenever the same row of an old server is imported, and nothing to whoever lacks the pepper.
 * @param digest 32 bytes, from the old server's table.
 */
export function importSeed(pepper: KeyObject, toolId: string, digest: Uint8Array): Buffer {
  return hmac(hmacKeyOf(pepper), IMPORT_SEED, lp(toolId), lp(digest))
}

/**
 * The normal form of the old programs' hardware id, a component of type `volume`: only `[A-Za-z0-9]` is kept, in the
 * case it came in, as the old server did. Empty when nothing of that kind is in it.
 */
export function normaliseVolume(text: string): string {
  return text.replace(/[^A-Za-z0-9]/g, '')
}
