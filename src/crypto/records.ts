import { open, seal } from './aead.ts'
import { type HmacKey, hmacKey, sha256 } from './digests.ts'
import { lp, u8 } from './encoding.ts'
import { expand, expand32 } from './expand.ts'
import { BOX_MAX_BYTES, type SealedSuite, SIZES, SUITE_ID } from './suites.ts'

const REQUEST = lp('dsk1/req')
const REPLY = lp('dsk1/res')
const MESSAGE_KEY = lp('dsk1/mk')
const REQUEST_HASH = lp('dsk1/rh')
const PAD_BYTES = 256
const SPACE = 0x20

/** What a session's messages are sealed with, either way. */
export type RecordKeys = {
  readonly suite: SealedSuite
  /** 64 hex characters. */
  readonly sessionId: string
  /** 12 bytes (S1, S3) or 16 (S2). */
  readonly sessionIv: Uint8Array
  readonly clientToServer: HmacKey
  readonly serverToClient: HmacKey
  /** 32 bytes, public: stands in the session's token and proves that token and key belong together (RFC 7800). */
  readonly confirmation: Buffer
}

/** Which message: each number is used once in a session, by one request and its reply. */
export type Address = {
  /** 1 to 1,000. */
  readonly seq: number
  /** ASCII, 3 to 32 characters. */
  readonly op: string
}

export type RequestContext = Address & {
  /** 16 bytes. */
  readonly salt: Uint8Array
  /** 32 bytes: SHA-256 of the token that is sent along. */
  readonly tokenHash: Uint8Array
}

export type ReplyContext = Address & {
  /** 16 bytes. */
  readonly salt: Uint8Array
  /** 32 bytes: of the request that is answered. */
  readonly requestHash: Uint8Array
}

/** @param sessionKey 32 bytes. @param sessionIv 12 bytes (S1, S3) or 16 (S2). */
export function recordKeys(
  suite: SealedSuite,
  sessionId: string,
  sessionKey: Uint8Array,
  sessionIv: Uint8Array,
): RecordKeys {
  const prk = hmacKey(sessionKey)
  const context = Buffer.concat([u8(SUITE_ID[suite]), lp(sessionId)])
  const derive = (label: string) => expand32(prk, Buffer.concat([lp(label), context]))
  return {
    ...{ suite, sessionId, sessionIv },
    clientToServer: hmacKey(derive('dsk1/c2s')),
    serverToClient: hmacKey(derive('dsk1/s2c')),
    confirmation: derive('dsk1/cnf'),
  }
}

/** SHA-256 of a token's ASCII text: 32 bytes. */
export function tokenHashOf(token: string): Buffer {
  return sha256(Buffer.from(token))
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUIntBE(value, 2, 6)
  return bytes
}

function associatedData(
  label: Buffer,
  { suite, sessionId }: RecordKeys,
  { seq, op }: Address,
  boundTo: Uint8Array,
): Buffer {
  return Buffer.concat([label, u8(SUITE_ID[suite]), lp(sessionId), u64(seq), lp(op), lp(boundTo)])
}

function nonceOf({ suite, sessionIv }: RecordKeys, seq: number): Buffer {
  const nonce = Buffer.from(sessionIv)
  // Only 16 bits of the counter can differ from zero, as seq is at most 1,000.
  const last = SIZES[suite].nonce - 2
  nonce.writeUInt16BE(nonce.readUInt16BE(last) ^ seq, last)
  return nonce
}

function messageKey(prk: HmacKey, suite: SealedSuite, seq: number, ...bound: Uint8Array[]): Buffer {
  return expand(prk, Buffer.concat([MESSAGE_KEY, u64(seq), ...bound.map(lp)]), SIZES[suite].key)
}

function requestKey(keys: RecordKeys, { seq, salt }: RequestContext): Buffer {
  return messageKey(keys.clientToServer, keys.suite, seq, salt)
}

function replyKey(keys: RecordKeys, { seq, salt, requestHash }: ReplyContext): Buffer {
  return messageKey(keys.serverToClient, keys.suite, seq, salt, requestHash)
}

function requestHashOf(aad: Uint8Array, salt: Uint8Array, box: Uint8Array): Buffer {
  return sha256(REQUEST_HASH, lp(aad), lp(salt), lp(box))
}

function sealBox(keys: RecordKeys, key: Buffer, seq: number, aad: Buffer, plaintext: Uint8Array): Buffer {
  const box = seal(keys.suite, key, nonceOf(keys, seq), aad, plaintext)
  if (box.length > BOX_MAX_BYTES)
    throw new RangeError(`a box has at most ${BOX_MAX_BYTES} bytes, not ${box.length}`)
  return box
}

/** UTF-8 with spaces behind it up to the next multiple of 256 bytes: JSON parsers skip them, and sizes tell little. */
export function padded(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const bytes = Buffer.alloc(Math.ceil(length / PAD_BYTES) * PAD_BYTES, SPACE)
  bytes.write(text)
  return bytes
}

/**
 * Opens a request.
 * @returns the plaintext and the request hash (32 bytes), to which its reply is bound; `null` for every cause alike.
 */
export function openRequest(
  keys: RecordKeys,
  context: RequestContext,
  box: Uint8Array,
): { readonly plaintext: Buffer; readonly requestHash: Buffer } | null {
  if (box.length > BOX_MAX_BYTES) return null
  const aad = associatedData(REQUEST, keys, context, context.tokenHash)
  const key = requestKey(keys, context)
  const plaintext = open(keys.suite, key, nonceOf(keys, context.seq), aad, box)
  key.fill(0)
  return plaintext === null ? null : { plaintext, requestHash: requestHashOf(aad, context.salt, box) }
}

/**
 * Seals a reply.
 * @param context its salt is 16 fresh random bytes. @param plaintext from {@link padded}.
 * @throws {RangeError} when the box would be longer than 32,768 bytes, which nobody opens.
 */
export function sealReply(keys: RecordKeys, context: ReplyContext, plaintext: Uint8Array): Buffer {
  const aad = associatedData(REPLY, keys, context, context.requestHash)
  const key = replyKey(keys, context)
  const box = sealBox(keys, key, context.seq, aad, plaintext)
  key.fill(0)
  return box
}

/**
 * The client's side of {@link openRequest}.
 * @param plaintext from {@link padded}.
 * @throws {RangeError} when the box would be longer than 32,768 bytes.
 */
export function sealRequest(
  keys: RecordKeys,
  context: RequestContext,
  plaintext: Uint8Array,
): { readonly box: Buffer; readonly requestHash: Buffer } {
  const aad = associatedData(REQUEST, keys, context, context.tokenHash)
  const box = sealBox(keys, requestKey(keys, context), context.seq, aad, plaintext)
  return { box, requestHash: requestHashOf(aad, context.salt, box) }
}

/** The client's side of {@link sealReply}. @returns the plaintext, or `null` for every cause alike. */
export function openReply(keys: RecordKeys, context: ReplyContext, box: Uint8Array): Buffer | null {
  if (box.length > BOX_MAX_BYTES) return null
  const aad = associatedData(REPLY, keys, context, context.requestHash)
  return open(keys.suite, replyKey(keys, context), nonceOf(keys, context.seq), aad, box)
}
