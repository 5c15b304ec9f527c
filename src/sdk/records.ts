import { open, seal } from './aead.ts'
import type { Backend } from './backend.ts'
import { type Bytes, concat, fromB64u, lp, toB64u, u8, u64, utf8 } from './encoding.ts'
import { isObject, isWhole, type JsonObject, parseObject } from './json.ts'
import { expand, expand32 } from './schedule.ts'
import { BOX_MAX_BYTES, type SealedSuite, SIZES, SUITE_ID } from './suites.ts'
import { UnavailableError } from './unavailable.ts'

const PAD_BYTES = 256
const SPACE = 0x20
const COUNTER_BYTES = 8

/** What a session's messages are sealed with, either way. */
export type RecordKeys = {
  readonly suite: SealedSuite
  /** 64 hex characters. */
  readonly sessionId: string
  /** 12 bytes (S1, S3) or 16 (S2). */
  readonly sessionIv: Bytes
  readonly clientToServer: Bytes
  readonly serverToClient: Bytes
  /** 32 bytes: SHA-256 of the session's token. */
  readonly tokenHash: Bytes
}

/** A request that waits for its reply. It may be sent as often as need be, always in these same bytes. */
export type SealedRequest = {
  readonly seq: number
  readonly op: string
  /** The body to send. */
  readonly body: string
  /** 32 bytes, to which the reply is bound. */
  readonly requestHash: Bytes
}

/** What an opened reply says. */
export type Answer = {
  /** As of HTTP. */
  readonly status: number
  readonly code: string
  /** Seconds since 1970. */
  readonly serverTime: number
  readonly data: JsonObject
}

/** @param sessionKey 32 bytes. @param sessionIv 12 bytes (S1, S3) or 16 (S2). @param token ASCII. */
export async function recordKeys(
  backend: Backend,
  suite: SealedSuite,
  sessionId: string,
  { sessionKey, sessionIv }: { readonly sessionKey: Bytes; readonly sessionIv: Bytes },
  token: string,
): Promise<RecordKeys> {
  const context = concat(u8(SUITE_ID[suite]), lp(sessionId))
  const derive = (label: string) => expand32(backend, sessionKey, concat(lp(label), context))
  return {
    ...{ suite, sessionId, sessionIv },
    clientToServer: await derive('dsk1/c2s'),
    serverToClient: await derive('dsk1/s2c'),
    tokenHash: await backend.sha256(utf8(token)),
  }
}

function associatedData(
  label: string,
  { suite, sessionId }: RecordKeys,
  { seq, op }: { readonly seq: number; readonly op: string },
  boundTo: Bytes,
): Bytes {
  return concat(lp(label), u8(SUITE_ID[suite]), lp(sessionId), u64(seq), lp(op), lp(boundTo))
}

function nonceOf({ sessionIv }: RecordKeys, seq: number): Bytes {
  const nonce = sessionIv.slice()
  const offset = nonce.length - COUNTER_BYTES
  u64(seq).forEach((byte, i) => {
    nonce[offset + i] = (nonce[offset + i] ?? 0) ^ byte
  })
  return nonce
}

function messageKey(
  backend: Backend,
  keys: RecordKeys,
  prk: Bytes,
  seq: number,
  ...bound: Bytes[]
): Promise<Bytes> {
  const info = concat(lp('dsk1/mk'), u64(seq), ...bound.map(lp))
  return expand(backend, prk, info, SIZES[keys.suite].key)
}

/** UTF-8 with spaces behind it up to the next multiple of 256 bytes: JSON parsers skip them, and sizes tell little. */
export function padded(text: string): Bytes {
  const bytes = utf8(text)
  const out = new Uint8Array(Math.ceil(bytes.length / PAD_BYTES) * PAD_BYTES).fill(SPACE)
  out.set(bytes)
  return out
}

/**
 * Seals a request.
 * @param request `seq` is 1 to the session's `max_seq`, each used once; `salt` 16 random bytes, fresh for each request;
 *   `nonce` the request's idempotency id, 16 random bytes, which it keeps when it is sealed again in a later session.
 * @throws {RangeError} when the box would be longer than 32,768 bytes.
 */
export async function sealRequest(
  backend: Backend,
  keys: RecordKeys,
  request: {
    readonly seq: number
    readonly op: string
    readonly salt: Bytes
    readonly nonce: Bytes
    readonly data: unknown
  },
): Promise<SealedRequest> {
  const { seq, op, salt, nonce, data } = request
  const aad = associatedData('dsk1/req', keys, request, keys.tokenHash)
  const key = await messageKey(backend, keys, keys.clientToServer, seq, salt)
  const plaintext = padded(JSON.stringify({ nonce: toB64u(nonce), data }))
  const box = await seal(backend, keys.suite, key, nonceOf(keys, seq), aad, plaintext)
  if (box.length > BOX_MAX_BYTES) throw new RangeError(`a box of ${box.length} bytes is too long to send`)
  const envelope = { v: 1, session_id: keys.sessionId, seq, op, salt: toB64u(salt), box: toB64u(box) }
  return {
    ...{ seq, op, body: JSON.stringify(envelope) },
    requestHash: await backend.sha256(concat(lp('dsk1/rh'), lp(aad), lp(salt), lp(box))),
  }
}

function answerOf(plaintext: Bytes): Answer | null {
  const reply = parseObject(plaintext)
  if (reply === null) return null
  const { status, code, server_time: serverTime, data = {} } = reply
  if (!isWhole(status, 100, 599) || typeof code !== 'string') return null
  if (!isWhole(serverTime, 0, Number.MAX_SAFE_INTEGER) || !isObject(data)) return null
  return { status, code, serverTime, data }
}

/**
 * Opens the reply to a request.
 * @param text the reply's body.
 * @throws {UnavailableError} with the one reason `unopened`, for every cause alike.
 */
export async function openReply(
  backend: Backend,
  keys: RecordKeys,
  request: SealedRequest,
  text: string,
): Promise<Answer> {
  const envelope = parseObject(text) ?? {}
  const salt = fromB64u(envelope.salt)
  const box = fromB64u(envelope.box)
  const ours = envelope.v === 1 && envelope.session_id === keys.sessionId && envelope.seq === request.seq
  if (!ours || salt === null || box === null || box.length > BOX_MAX_BYTES)
    throw new UnavailableError('unopened')
  const { seq, requestHash } = request
  const aad = associatedData('dsk1/res', keys, request, requestHash)
  const key = await messageKey(backend, keys, keys.serverToClient, seq, salt, requestHash)
  const plaintext = await open(backend, keys.suite, key, nonceOf(keys, seq), aad, box)
  const answer = plaintext === null ? null : answerOf(plaintext)
  if (answer === null) throw new UnavailableError('unopened')
  return answer
}
