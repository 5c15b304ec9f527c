import { open, seal } from './aead.ts'
import { hmac, hmacKey, sha256 } from './digests.ts'
import { lp, u8 } from './encoding.ts'
import { expand } from './expand.ts'
import { type SealedSuite, SIZES, SUITE_ID } from './suites.ts'

const EXTRACT_KEY = hmacKey(Buffer.from('dsk1/kex'))
const HELLO = lp('dsk1/hello')
const SESSION_KEY = lp('dsk1/session_key')
const SESSION_IV = lp('dsk1/session_iv')
const SESSION_KEY_BYTES = 32

/** Every public value of a handshake. Whoever disagrees about one of them gets other keys. */
export type Handshake = {
  readonly suite: SealedSuite
  /** 16 hex characters. */
  readonly kid: string
  readonly staticPublic: Uint8Array
  readonly clientPublic: Uint8Array
  /** 64 hex characters. */
  readonly sessionId: string
  readonly expiresInS: number
  readonly serverPublic: Uint8Array
}

/** What comes of a handshake. */
export type Schedule = {
  /** Seals the hello box, once: 32 bytes (S1, S3) or 64 (S2). */
  readonly helloKey: Buffer
  /** 32 bytes. */
  readonly sessionKey: Buffer
  /** 12 bytes (S1, S3) or 16 (S2). No secret. */
  readonly sessionIv: Buffer
}

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** The transcript hash: 32 bytes of SHA-256 over all public values. */
export function transcriptHash(handshake: Handshake): Buffer {
  return sha256(
    lp('dsk1/th'),
    u8(SUITE_ID[handshake.suite]),
    lp(handshake.kid),
    lp(handshake.staticPublic),
    lp(handshake.clientPublic),
    lp(''),
    lp(handshake.sessionId),
    u32(handshake.expiresInS),
    lp(handshake.serverPublic),
  )
}

/**
 * The two shared secrets, chained by HMAC-SHA-256 so that each enters one HMAC as its whole message: Windows' CNG
 * computes exactly that and never shows the secrets themselves.
 * @param ss1 32 bytes. @param ss2 32 bytes. @param th 32 bytes, from {@link transcriptHash}.
 */
export function schedule(suite: SealedSuite, ss1: Uint8Array, ss2: Uint8Array, th: Uint8Array): Schedule {
  const prk1 = hmacKey(hmac(EXTRACT_KEY, ss1))
  const prk2 = hmacKey(hmac(prk1, ss2))
  const derive = (label: Buffer, length: number) => expand(prk2, Buffer.concat([label, th]), length)
  return {
    helloKey: derive(HELLO, SIZES[suite].key),
    sessionKey: derive(SESSION_KEY, SESSION_KEY_BYTES),
    sessionIv: derive(SESSION_IV, SIZES[suite].nonce),
  }
}

/** The first box of a session, which proves the server by its static key. @param plaintext JSON. */
export function sealHello(
  suite: SealedSuite,
  helloKey: Buffer,
  th: Uint8Array,
  plaintext: Uint8Array,
): Buffer {
  return seal(suite, helloKey, Buffer.alloc(SIZES[suite].nonce), Buffer.concat([HELLO, th]), plaintext)
}

/** @returns what {@link sealHello} sealed, or `null` for every cause alike. */
export function openHello(
  suite: SealedSuite,
  helloKey: Buffer,
  th: Uint8Array,
  box: Uint8Array,
): Buffer | null {
  return open(suite, helloKey, Buffer.alloc(SIZES[suite].nonce), Buffer.concat([HELLO, th]), box)
}
