import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { p256SigningKey } from '../../src/crypto/jwk.ts'
import { type StaticKey, staticKey } from '../../src/crypto/kex.ts'
import { leaseHardware, signEs256 } from '../../src/crypto/lease.ts'
import {
  openRequest,
  padded,
  type RecordKeys,
  recordKeys,
  sealReply,
  tokenHashOf,
} from '../../src/crypto/records.ts'
import { schedule, sealHello, transcriptHash } from '../../src/crypto/schedule.ts'
import type { LeaseKey } from '../../src/sdk/lease.ts'
import type { SealedSuite } from '../../src/sdk/suites.ts'
import { hex, vectors } from './support.ts'

/** What happens to one request: it reaches the server (and its reply may be changed), or something else comes back. */
export type Step = 'pass' | Error | Response | ((reply: Response) => Response | Promise<Response>)

/** A sealed reply before it is sealed. */
export type Reply = { status: number; code: string; data: object }

export type Asked = { op: string; nonce: string; data: Record<string, unknown> }
export type Sent = { path: string; body: string; authorization: string | null; init: RequestInit }

const signer = p256SigningKey(hex(vectors.keys.lease_priv))
export const leaseKeys: LeaseKey[] = [signer.publicJwk as LeaseKey]

export const plain = (status: number, error: string) =>
  new Response(JSON.stringify({ v: 1, error }), { status })

const b64u = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')
const bytesOf = (text: string) => Buffer.from(text, 'base64url')
const { payload } = vectors.lease

/** A lease of the published kind for the machine that asks, signed by the published key. */
export function leaseFor({ nonce, data }: Asked, change: object = {}): string {
  const { c } = data.hwid as { c: Record<string, string[]> }
  const digests = Object.entries(c).map(([type, values]) => [type, values.map(bytesOf)])
  const hw = { ...payload.hw, c: leaseHardware(Object.fromEntries(digests), bytesOf(payload.hw.s)) }
  return signEs256('dsk-lease+jwt', { ...payload, nonce, hw, ...change }, signer)
}

/**
 * The server's half of the protocol behind a `fetch`, by the server's own crypto. `script` says what happens to the next
 * requests, one step each; when it is used up, requests pass.
 */
export class ScriptedServer {
  readonly script: Step[] = []
  readonly sent: Sent[] = []
  /** Requests whose box was opened and that were not answered before. */
  readonly asked: Asked[] = []
  answer: (asked: Asked) => Reply = () => ({ status: 200, code: 'ok', data: {} })
  serverTime: number = payload.iat
  expiresInS = 300
  maxSeq = 1000
  /** Keys it knows, by their ids. */
  readonly keys: Map<string, StaticKey>
  readonly #sessions = new Map<string, { keys: RecordKeys; token: string; replies: Map<string, string> }>()

  constructor(suite: SealedSuite, secrets: readonly Uint8Array[] = [Buffer.alloc(32, 7)]) {
    const keys = secrets.map((secret) => staticKey(suite, secret))
    this.keys = new Map(keys.map((key) => [key.kid, key]))
  }

  get pins() {
    return [...this.keys.values()].map(({ kid, publicKey }) => ({ kid, pub: b64u(publicKey) }))
  }

  /** Forgets all sessions, as a server does whose database was emptied. */
  forget(): void {
    this.#sessions.clear()
  }

  readonly fetch: typeof globalThis.fetch = async (input, init = {}) => {
    const { pathname: path } = new URL(String(input))
    const body = String(init.body)
    const authorization = new Headers(init.headers).get('authorization')
    this.sent.push({ path, body, authorization, init })
    const step = this.script.shift() ?? 'pass'
    if (step instanceof Error) throw step
    if (step instanceof Response) return step
    const reply = path === '/v1/session' ? this.#hello(body) : this.#call(body, authorization)
    return step === 'pass' ? reply : step(reply)
  }

  #hello(body: string): Response {
    const { suite, kid, pub } = JSON.parse(body)
    const clientPublic = bytesOf(pub)
    const key = this.keys.get(kid)
    const agreed = key?.prepare()(clientPublic)
    if (!key || !agreed) return plain(400, 'kex')
    const sessionId = randomBytes(32).toString('hex')
    const { serverPublic, ss1, ss2 } = agreed
    const { expiresInS, maxSeq, serverTime } = this
    const shared = {
      suite,
      kid,
      staticPublic: key.publicKey,
      clientPublic,
      sessionId,
      expiresInS,
      serverPublic,
    }
    const th = transcriptHash(shared)
    const { helloKey, sessionKey, sessionIv } = schedule(suite, ss1, ss2, th)
    const token = `h.${sessionId}.s`
    const keys = recordKeys(suite, sessionId, sessionKey, sessionIv)
    this.#sessions.set(sessionId, { keys, token, replies: new Map() })
    const hello = { token, server_time: serverTime, max_seq: maxSeq }
    const box = b64u(sealHello(suite, helloKey, th, Buffer.from(JSON.stringify(hello))))
    const reply = {
      v: 1,
      suite,
      kid,
      session_id: sessionId,
      expires_in: expiresInS,
      pub: b64u(serverPublic),
      box,
    }
    return new Response(JSON.stringify(reply))
  }

  #call(body: string, authorization: string | null): Response {
    const { session_id, seq, op, salt, box } = JSON.parse(body)
    const session = this.#sessions.get(session_id)
    if (!session || authorization !== `Bearer ${session.token}`) return plain(401, 'session')
    const { keys, token, replies } = session
    const context = { seq, op, salt: bytesOf(salt), tokenHash: tokenHashOf(token) }
    const opened = openRequest(keys, context, bytesOf(box))
    if (opened === null) return plain(401, 'session')
    const reply = replies.get(body) ?? this.#handle(keys, { seq, op }, opened)
    replies.set(body, reply)
    return new Response(reply)
  }

  #handle(
    keys: RecordKeys,
    { seq, op }: { seq: number; op: string },
    { plaintext, requestHash }: { plaintext: Buffer; requestHash: Buffer },
  ): string {
    const asked = { op, ...JSON.parse(plaintext.toString()) } as Asked
    this.asked.push(asked)
    const { status, code, data } = this.answer(asked)
    const text = JSON.stringify({ status, code, server_time: this.serverTime, data })
    const salt = randomBytes(16)
    const box = sealReply(keys, { seq, op, salt, requestHash }, padded(text))
    return JSON.stringify({ v: 1, session_id: keys.sessionId, seq, salt: b64u(salt), box: b64u(box) })
  }
}

/** Puts it behind a port of this machine. @returns its address. */
export async function listen(t: Pick<Test, 'teardown'>, server: ScriptedServer): Promise<string> {
  const http = createServer(async (request, response) => {
    const headers = { authorization: request.headers.authorization ?? '' }
    const init = { method: 'POST', body: await text(request), headers }
    const reply = await server.fetch(`http://localhost${request.url}`, init)
    response.writeHead(reply.status).end(await reply.text())
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  t.teardown(() => http.close().closeAllConnections())
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
}
