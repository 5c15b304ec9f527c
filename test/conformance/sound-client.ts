import { createECDH, type ECDH, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Outcome, Run } from '../../conformance/index.ts'
import { fromB64u, toB64u } from '../../src/crypto/encoding.ts'
import {
  openReply,
  padded,
  type RecordKeys,
  type ReplyContext,
  recordKeys,
  sealRequest,
  tokenHashOf,
} from '../../src/crypto/records.ts'
import { openHello, schedule, transcriptHash } from '../../src/crypto/schedule.ts'
import { type SealedSuite, SIZES } from '../../src/crypto/suites.ts'
import { newX25519Key, x25519, x25519Public } from '../../src/crypto/x25519.ts'
import { xwingEncapsulate, xwingKey } from '../../src/crypto/xwing.ts'
import { checkData } from '../support/sealed.ts'

export type Json = Readonly<Record<string, unknown>>
export type Request = {
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
}
export type HttpReply = { readonly status: number; readonly text: string }

/** The client's half of a key exchange. `null`: no secret comes of that share. */
export type Share = {
  readonly publicKey: Buffer
  /** With the pinned key. */
  readonly ss1: Buffer | null
  readonly ss2: (serverPublic: Buffer) => Buffer | null
}

export type Session = { readonly id: string; readonly keys: RecordKeys; readonly token: string }

/** What a client does, step by step. Each member of the zoo does one of them wrong. */
export type Steps = {
  readonly timeoutMs: number
  /** @throws {Error} where no whole reply comes in time. */
  post(request: Request, timeoutMs: number): Promise<HttpReply>
  parse(text: string): Json
  /** @throws {Error} for what is not canonical base64url. */
  decode(value: unknown): Buffer
  share(suite: SealedSuite, pinned: Buffer): Share
  openHello: typeof openHello
  /** @throws {Error} where there is none. */
  tokenIn(hello: Json): string
  isAddressedTo(session: Session, seq: number, reply: Json): boolean
  openReply(keys: RecordKeys, context: ReplyContext, box: Buffer): Buffer | null
  verdictOn(opened: Json, run: Run): Outcome
  /** What to make of a reply that is not opened yet; `null`: nothing. */
  presume(reply: HttpReply): Outcome | null
  /** What to make of a check that led to nothing. */
  whenUnavailable(run: Run, error: unknown): Promise<Outcome> | Outcome
  /** What to send after a try that led to nothing. */
  again(request: Request, reseal: () => Request): Request
  headers(run: Run): Record<string, string>
  suites(run: Run): readonly SealedSuite[]
}

const TRIES = 4
const WAIT_MS = 1
const REPLY_MAX_BYTES = 64 * 1024

/** A reply that leads to a verdict without having been opened. */
class Presumed extends Error {
  readonly outcome: Outcome

  constructor(outcome: Outcome) {
    super(`presumed to be ${outcome}`)
    this.outcome = outcome
  }
}

export async function post(
  { url, headers, body }: Request,
  timeoutMs: number,
  redirect: 'manual' | 'follow' = 'manual',
): Promise<HttpReply> {
  const signal = AbortSignal.timeout(timeoutMs)
  const reply = await fetch(url, { method: 'POST', headers, body, redirect, signal })
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of reply.body ?? []) {
    chunks.push(chunk)
    size += chunk.length
    if (size > REPLY_MAX_BYTES) throw new Error('the reply is too large')
  }
  return { status: reply.status, text: Buffer.concat(chunks).toString('utf8') }
}

function p256(ecdh: ECDH, peer: Buffer): Buffer | null {
  if (peer.length !== SIZES.S2.server || peer[0] !== 4) return null
  try {
    return ecdh.computeSecret(peer)
  } catch {
    return null
  }
}

export function share(suite: SealedSuite, pinned: Buffer): Share {
  if (suite === 'S1') {
    const { privateKey, publicKey } = newX25519Key()
    const agree = (peer: Buffer) => x25519(privateKey, x25519Public(peer))
    return { publicKey, ss1: agree(pinned), ss2: agree }
  }
  if (suite === 'S2') {
    const ecdh = createECDH('prime256v1')
    const publicKey = ecdh.generateKeys()
    return { publicKey, ss1: p256(ecdh, pinned), ss2: (peer) => p256(ecdh, peer) }
  }
  const encapsulated = xwingEncapsulate(pinned)
  const own = xwingKey(randomBytes(32))
  return {
    publicKey: Buffer.concat([encapsulated?.ciphertext ?? Buffer.alloc(0), own.publicKey]),
    ss1: encapsulated?.sharedSecret ?? null,
    ss2: own.decapsulate,
  }
}

const DENIALS: readonly unknown[] = [
  ...['licence_invalid', 'licence_expired', 'device_limit', 'device_weak', 'seat_limit'],
]

/** A sound client, on src/crypto. */
export const SOUND: Steps = {
  timeoutMs: 10_000,
  post,
  parse: (text) => JSON.parse(text),
  decode: (value) => {
    const bytes = typeof value === 'string' ? fromB64u(value) : null
    if (bytes === null) throw new Error('not canonical base64url')
    return bytes
  },
  ...{ share, openHello, openReply },
  tokenIn: ({ token }) => {
    if (typeof token !== 'string' || token === '') throw new Error('no token in the hello box')
    return token
  },
  isAddressedTo: ({ id }, seq, reply) => reply.session_id === id && reply.seq === seq,
  verdictOn: ({ status, code, data }) => {
    if (status === 200 && (data as Json).valid === true) return 'allowed'
    return status === 403 && DENIALS.includes(code) ? 'denied' : 'unavailable'
  },
  presume: () => null,
  whenUnavailable: () => 'unavailable',
  again: (request) => request,
  headers: () => ({ 'content-type': 'application/json' }),
  suites: ({ suite }) => [suite],
}

/** Sends until there is a reply that is no 503, after time-outs and broken connections too. */
async function send(steps: Steps, first: Request, reseal: () => Request): Promise<HttpReply> {
  let request = first
  for (let tries = 1; ; tries++) {
    try {
      const reply = await steps.post(request, steps.timeoutMs)
      const outcome = steps.presume(reply)
      if (outcome !== null) throw new Presumed(outcome)
      if (reply.status !== 503 || tries === TRIES) return reply
    } catch (error) {
      if (error instanceof Presumed || tries === TRIES) throw error
    }
    await sleep(WAIT_MS)
    request = steps.again(request, reseal)
  }
}

const isPlainError = ({ status, text }: HttpReply, expected: number, error: string) =>
  status === expected && text.includes(`"${error}"`)

async function handshakeWith(steps: Steps, run: Run, suite: SealedSuite, pin: { kid: string; pub: string }) {
  const pinned = steps.decode(pin.pub)
  const { publicKey, ss1, ss2 } = steps.share(suite, pinned)
  const hello = { v: 1, suite, kid: pin.kid, pub: toB64u(publicKey), ext: '' }
  const url = `${run.serverUrl}/v1/session`
  const request = { url, headers: steps.headers(run), body: JSON.stringify(hello) }
  const reply = await send(steps, request, () => request)
  if (isPlainError(reply, 400, 'kex')) return null
  const { session_id, expires_in, pub, box } = steps.parse(reply.text)
  const serverPublic = steps.decode(pub)
  const secret = ss2(serverPublic)
  if (reply.status !== 200 || ss1 === null || secret === null) throw new Error('no handshake')
  const sessionId = `${session_id}`
  const th = transcriptHash({
    ...{ suite, kid: pin.kid, staticPublic: pinned, clientPublic: publicKey, sessionId },
    ...{ expiresInS: Number(expires_in), serverPublic },
  })
  const { helloKey, sessionKey, sessionIv } = schedule(suite, ss1, secret, th)
  const opened = steps.openHello(suite, helloKey, th, steps.decode(box))
  if (opened === null) throw new Error('the hello box does not open')
  const token = steps.tokenIn(steps.parse(opened.toString()))
  return { id: sessionId, keys: recordKeys(suite, sessionId, sessionKey, sessionIv), token }
}

async function handshake(steps: Steps, run: Run): Promise<Session> {
  for (const suite of steps.suites(run))
    for (const pin of run.pins[suite]) {
      const session = await handshakeWith(steps, run, suite, pin)
      if (session !== null) return session
    }
  throw new Error('the server knows none of the pinned keys')
}

const normalised = (hardware: Run['hardware']) =>
  Object.fromEntries(
    Object.entries(hardware).map(([type, serial]) => [
      type,
      [serial.toUpperCase().replace(/[^A-Z0-9]/g, '')],
    ]),
  )

/** @returns `null` where the server does not know the session. */
async function check(steps: Steps, run: Run, session: Session, nonce: string): Promise<Outcome | null> {
  const address = { seq: 1, op: 'licence.check' }
  const tokenHash = tokenHashOf(session.token)
  const data = checkData(run.licence, normalised(run.hardware), run.tool)
  let requestHash: Buffer = Buffer.alloc(0)
  const seal = (): Request => {
    const salt = randomBytes(16)
    const plaintext = padded(JSON.stringify({ nonce, data }))
    const sealed = sealRequest(session.keys, { ...address, salt, tokenHash }, plaintext)
    requestHash = sealed.requestHash
    const { seq, op } = address
    const body = { v: 1, session_id: session.id, seq, op, salt: toB64u(salt), box: toB64u(sealed.box) }
    const headers = { ...steps.headers(run), authorization: `Bearer ${session.token}` }
    return { url: `${run.serverUrl}/v1/call`, headers, body: JSON.stringify(body) }
  }
  const answer = await send(steps, seal(), seal)
  if (isPlainError(answer, 401, 'session')) return null
  const reply = steps.parse(answer.text)
  if (answer.status !== 200 || !steps.isAddressedTo(session, address.seq, reply)) throw new Error('no reply')
  const context = { ...address, salt: steps.decode(reply.salt), requestHash }
  const opened = steps.openReply(session.keys, context, steps.decode(reply.box))
  if (opened === null) throw new Error('the box does not open')
  return steps.verdictOn(steps.parse(opened.toString()), run)
}

async function outcomeOf(steps: Steps, run: Run): Promise<Outcome> {
  const nonce = toB64u(randomBytes(16))
  const first = await check(steps, run, await handshake(steps, run), nonce)
  const second = first ?? (await check(steps, run, await handshake(steps, run), nonce))
  if (second === null) throw new Error('the server knows no session')
  return second
}

/** A client in this process. */
export function clientWith(steps: Steps): Client {
  return async (run) => {
    try {
      return { outcome: await outcomeOf(steps, run) }
    } catch (error) {
      const outcome = error instanceof Presumed ? error.outcome : await steps.whenUnavailable(run, error)
      return { outcome }
    }
  }
}
