import type { Backend } from './backend.ts'
import { type Bytes, concat, lp, u8, u32, utf8 } from './encoding.ts'
import { type SealedSuite, SIZES, SUITE_ID } from './suites.ts'

const HASH_BYTES = 32
const SESSION_KEY_BYTES = 32

/** Every public value of a handshake. Whoever disagrees about one of them gets other keys. */
export type Handshake = {
  readonly suite: SealedSuite
  /** 16 hex characters. */
  readonly kid: string
  readonly staticPublic: Bytes
  readonly clientPublic: Bytes
  /** 64 hex characters. */
  readonly sessionId: string
  readonly expiresInS: number
  readonly serverPublic: Bytes
}

/** What comes of a handshake. */
export type Schedule = {
  /** Opens the hello box, once: 32 bytes (S1, S3) or 64 (S2). */
  readonly helloKey: Bytes
  /** 32 bytes. */
  readonly sessionKey: Bytes
  /** 12 bytes (S1, S3) or 16 (S2). No secret. */
  readonly sessionIv: Bytes
}

/** HKDF-Expand with SHA-256 (RFC 5869 section 2.3). @param prk 32 bytes. @param length at most 8,160 bytes. */
export async function expand(backend: Backend, prk: Bytes, info: Bytes, length: number): Promise<Bytes> {
  let block: Bytes = new Uint8Array(0)
  let out: Bytes = block
  for (let i = 1; out.length < length; i++) {
    block = await backend.hmac('SHA-256', prk, concat(block, info, u8(i)))
    out = concat(out, block)
  }
  return out.slice(0, length)
}

/** The key of HKDF-Expand of one block: 32 bytes. */
export function expand32(backend: Backend, prk: Bytes, info: Bytes): Promise<Bytes> {
  return expand(backend, prk, info, HASH_BYTES)
}

/** The transcript hash: 32 bytes of SHA-256 over all public values. */
export function transcriptHash(backend: Backend, handshake: Handshake): Promise<Bytes> {
  return backend.sha256(
    concat(
      lp('dsk1/th'),
      u8(SUITE_ID[handshake.suite]),
      lp(handshake.kid),
      lp(handshake.staticPublic),
      lp(handshake.clientPublic),
      lp(''),
      lp(handshake.sessionId),
      u32(handshake.expiresInS),
      lp(handshake.serverPublic),
    ),
  )
}

/**
 * The two shared secrets, chained by HMAC-SHA-256, and what is derived from them.
 * @param ss1 32 bytes. @param ss2 32 bytes. @param th 32 bytes, from {@link transcriptHash}.
 */
export async function schedule(
  backend: Backend,
  suite: SealedSuite,
  ss1: Bytes,
  ss2: Bytes,
  th: Bytes,
): Promise<Schedule> {
  const prk1 = await backend.hmac('SHA-256', utf8('dsk1/kex'), ss1)
  const prk2 = await backend.hmac('SHA-256', prk1, ss2)
  const derive = (label: string, length: number) => expand(backend, prk2, concat(lp(label), th), length)
  return {
    helloKey: await derive('dsk1/hello', SIZES[suite].key),
    sessionKey: await derive('dsk1/session_key', SESSION_KEY_BYTES),
    sessionIv: await derive('dsk1/session_iv', SIZES[suite].nonce),
  }
}
