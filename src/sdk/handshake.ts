import { open } from './aead.ts'
import type { Backend } from './backend.ts'
import { type Bytes, concat, fromB64u, lp, toB64u } from './encoding.ts'
import { isWhole, parseObject } from './json.ts'
import { type Kex, kexKeyId, startKex } from './kex.ts'
import { type RecordKeys, recordKeys } from './records.ts'
import { schedule, transcriptHash } from './schedule.ts'
import { BOX_MAX_BYTES, type SealedSuite, SIZES } from './suites.ts'
import { UnavailableError } from './unavailable.ts'

/** A server key that is compiled in, as `kunci keys pins` prints it. */
export type Pin = {
  /** 16 hex characters. */
  readonly kid: string
  /** The public key in base64url. */
  readonly pub: string
}

/** A pin that was checked, for one suite. */
export type PinnedKey = { readonly suite: SealedSuite; readonly kid: string; readonly publicKey: Bytes }

/** A handshake that waits for its reply. */
export type Hello = {
  readonly pinned: PinnedKey
  readonly kex: Kex
  /** The body to send. */
  readonly body: string
}

export type Session = RecordKeys & {
  /** To be sent with each request. */
  readonly token: string
  readonly expiresInS: number
  /** The highest number a request may have. */
  readonly maxSeq: number
  /** Seconds since 1970. */
  readonly serverTime: number
}

const SESSION_ID = /^[0-9a-f]{64}$/
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/
const TOKEN_MAX_CHARACTERS = 4096
const U32_MAX = 0xffff_ffff

/**
 * Reads a pin.
 * @throws {RangeError} when it is no key of this suite, or its id is that of another key.
 */
export async function readPin(backend: Backend, suite: SealedSuite, { kid, pub }: Pin): Promise<PinnedKey> {
  const publicKey = fromB64u(pub)
  if (publicKey?.length !== SIZES[suite].static)
    throw new RangeError(
      `the pin ${kid} is no public key of ${suite}, which has ${SIZES[suite].static} bytes`,
    )
  if ((await kexKeyId(backend, suite, publicKey)) !== kid)
    throw new RangeError(`the pin ${kid} carries another key's id, or another suite's`)
  return { suite, kid, publicKey }
}

/**
 * Begins a handshake.
 * @param kex the fresh share; drawn here unless a test brings the one of a published vector.
 */
export async function startHandshake(backend: Backend, pinned: PinnedKey, kex?: Kex): Promise<Hello> {
  const { suite, kid, publicKey } = pinned
  const own = kex ?? (await startKex(backend, suite, publicKey))
  const hello = { v: 1, suite, kid, pub: toB64u(own.clientPublic), ext: '' }
  return { pinned, kex: own, body: JSON.stringify(hello) }
}

type HelloReply = {
  readonly sessionId: string
  readonly expiresInS: number
  readonly serverPublic: Bytes
  readonly box: Bytes
}

function readReply(text: string, { suite, kid }: PinnedKey): HelloReply | null {
  const reply = parseObject(text)
  if (reply?.v !== 1 || reply.suite !== suite || reply.kid !== kid) return null
  const { session_id: sessionId, expires_in: expiresInS } = reply
  if (typeof sessionId !== 'string' || !SESSION_ID.test(sessionId)) return null
  if (!isWhole(expiresInS, 1, U32_MAX)) return null
  const serverPublic = fromB64u(reply.pub)
  const box = fromB64u(reply.box)
  if (serverPublic === null || box === null || box.length > BOX_MAX_BYTES) return null
  return { sessionId, expiresInS, serverPublic, box }
}

async function openSession(backend: Backend, hello: Hello, text: string): Promise<Session | null> {
  const { suite, kid, publicKey: staticPublic } = hello.pinned
  const reply = readReply(text, hello.pinned)
  if (reply === null) return null
  const { sessionId, expiresInS, serverPublic, box } = reply
  const { clientPublic, ss1 } = hello.kex
  const ss2 = await hello.kex.finish(serverPublic)
  const th = await transcriptHash(backend, {
    ...{ suite, kid, staticPublic, clientPublic, sessionId, expiresInS, serverPublic },
  })
  const keys = await schedule(backend, suite, ss1, ss2, th)
  const zero = new Uint8Array(SIZES[suite].nonce)
  const plaintext = await open(backend, suite, keys.helloKey, zero, concat(lp('dsk1/hello'), th), box)
  if (plaintext === null) return null
  const { token, server_time: serverTime, max_seq: maxSeq } = parseObject(plaintext) ?? {}
  if (typeof token !== 'string' || token.length > TOKEN_MAX_CHARACTERS || !TOKEN.test(token)) return null
  if (!isWhole(serverTime, 0, Number.MAX_SAFE_INTEGER) || !isWhole(maxSeq, 1, U32_MAX)) return null
  const records = await recordKeys(backend, suite, sessionId, keys, token)
  return { ...records, token, expiresInS, maxSeq, serverTime }
}

/**
 * Ends a handshake: only who holds the pinned key's secret can have made a reply that opens.
 * @param text the reply's body.
 * @throws {UnavailableError} with the one reason `unopened`, for every cause alike.
 */
export async function finishHandshake(backend: Backend, hello: Hello, text: string): Promise<Session> {
  const session = await openSession(backend, hello, text).catch(() => null)
  if (session === null) throw new UnavailableError('unopened')
  return session
}
