import { createHash, createHmac, type KeyObject } from 'node:crypto'
import { lp } from './encoding.ts'

/**
 * The digest of one hardware component, as a client sends it: the raw serial never leaves the machine. Scoped to the
 * tool, so that one machine cannot be linked between tools.
 * @param toolId the product's code.
 * @param type the component type: `board`, `disk`, `volume` …
 * @param norm the component's normal form.
 * @returns 32 bytes.
 */
export function componentDigest(toolId: string, type: string, norm: string): Buffer {
  return createHash('sha256')
    .update(Buffer.concat([lp('dsk1/hwid'), lp(toolId), lp(type), lp(norm)]))
    .digest()
}

/**
 * What the database keeps of a component digest: an HMAC-SHA-256 under the pepper, cut to 16 bytes.
 * @param digest 32 bytes, from {@link componentDigest}.
 */
export function componentAtRest(pepper: KeyObject, toolId: string, type: string, digest: Uint8Array): Buffer {
  return createHmac('sha256', pepper)
    .update(Buffer.concat([lp('dsk1/hwid-rest'), lp(toolId), lp(type), lp(digest)]))
    .digest()
    .subarray(0, 16)
}

/**
 * The normal form of the old programs' hardware id, a component of type `volume`: only `[A-Za-z0-9]` is kept, in the
 * case it came in, as the old server did. Empty when nothing of that kind is in it.
 */
export function normaliseVolume(text: string): string {
  return text.replace(/[^A-Za-z0-9]/g, '')
}
