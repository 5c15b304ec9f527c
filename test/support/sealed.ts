import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { App } from '../../src/app.ts'
import { fromB64u, toB64u } from '../../src/crypto/encoding.ts'
import { componentDigest } from '../../src/crypto/fingerprint.ts'
import { staticKey } from '../../src/crypto/kex.ts'
import { openReply, padded, recordKeys, sealRequest, tokenHashOf } from '../../src/crypto/records.ts'
import { openHello, schedule, transcriptHash } from '../../src/crypto/schedule.ts'
import type { SealedSuite } from '../../src/crypto/suites.ts'
import { xwingEncapsulate, xwingKey } from '../../src/crypto/xwing.ts'
import { asOperator, type Installation } from './installation.ts'
import { ACTOR } from './legacy.ts'

export type Reply = { readonly status: number; readonly text: string }
/** Posts JSON (or the text itself) to an address of a server. */
export type Post = (path: string, body: unknown, headers?: Record<string, string>) => Promise<Reply>

/** A message as it is sent: kept, so that it can be sent again byte for byte. */
export type SealedMessage = {
  readonly body: {
    readonly v: 1
    readonly session_id: string
    readonly seq: number
    readonly op: string
    readonly salt: string
    readonly box: string
  }
  readonly requestHash: Buffer
}

export type Opened = {
  readonly status: number
  readonly code: string
  readonly server_time: number
  readonly data: Record<string, unknown>
}

/** The hardware of a machine, by component type. */
export type Hardware = Readonly<Record<string, readonly string[]>>
export const MACHINE: Hardware = {
  board: ['BOARD0001'],
  bios: ['4C4C454400513510'],
  disk: ['S4EWNX0M123456Z'],
  mac: ['3C7C3F1A2B4C', '3C7C3F1A2B4D'],
  osid: ['7D1F7A3E5A0B4C9D'],
  cpu: ['BFEBFBFF000906EA'],
}
export const OTHER_MACHINE: Hardware = {
  board: ['BOARD0002'],
  bios: ['9999999999999999'],
  disk: ['WD-WCC4N7654321'],
  osid: ['00000000DEADBEEF'],
  cpu: ['BFEBFBFF000906EA'],
}

export function hwidOf(tool: string, hardware: Hardware = MACHINE) {
  const c = Object.entries(hardware).map(([type, values]) => [
    type,
    values.map((value) => toB64u(componentDigest(tool, type, value))),
  ])
  return { c: Object.fromEntries(c), v: 1 }
}

/** The client's share of a handshake, and what it comes to with the server's. */
export function clientShare(suite: SealedSuite, pinned: Uint8Array) {
  const secret = randomBytes(32)
  if (suite === 'S3') {
    const own = xwingKey(secret)
    const { ciphertext, sharedSecret: ss1 } = xwingEncapsulate(pinned)!
    return {
      clientPublic: Buffer.concat([ciphertext, own.publicKey]),
      secretsWith: (serverPublic: Uint8Array) => ({ ss1, ss2: own.decapsulate(serverPublic)! }),
    }
  }
  // The same arithmetic as the server's: a key of ours agrees with theirs, and with their fresh one.
  const own = staticKey(suite, secret)
  return {
    clientPublic: own.publicKey,
    secretsWith: (serverPublic: Uint8Array) => ({
      ss1: own.prepare()(pinned)!.ss1,
      ss2: own.prepare()(serverPublic)!.ss1,
    }),
  }
}

export type SealedSession = Awaited<ReturnType<typeof openSession>>

/** Agrees on a session key. @throws {Error} when the server refuses, or its box does not open. */
export async function openSession(
  post: Post,
  pin: { readonly suite: SealedSuite; readonly kid: string; readonly publicKey: Uint8Array },
  path = '/v1/session',
) {
  const { suite, kid, publicKey: staticPublic } = pin
  const { clientPublic, secretsWith } = clientShare(suite, staticPublic)
  const { status, text } = await post(path, { v: 1, suite, kid, pub: toB64u(clientPublic), ext: '' })
  if (status !== 200) throw new Error(`no session: ${status} ${text}`)
  const hello = JSON.parse(text)
  const serverPublic = fromB64u(hello.pub)!
  const { ss1, ss2 } = secretsWith(serverPublic)
  const handshake = { suite, kid, staticPublic, clientPublic, serverPublic }
  const th = transcriptHash({ ...handshake, sessionId: hello.session_id, expiresInS: hello.expires_in })
  const keys = schedule(suite, ss1, ss2, th)
  const opened = openHello(suite, keys.helloKey, th, fromB64u(hello.box)!)
  if (opened === null) throw new Error('the hello box does not open')
  const { token, max_seq: maxSeq } = JSON.parse(opened.toString()) as { token: string; max_seq: number }
  const records = recordKeys(suite, hello.session_id, keys.sessionKey, keys.sessionIv)
  const { helloKey, sessionKey, sessionIv } = keys
  return {
    ...sessionOver(post, { token, maxSeq, records, hello }),
    /** What nobody else may ever see, beside the keys in `records`. */
    secrets: { ss1, ss2, helloKey, sessionKey, sessionIv },
  }
}

function sessionOver(
  post: Post,
  {
    token,
    maxSeq,
    records,
    hello,
  }: { token: string; maxSeq: number; records: ReturnType<typeof recordKeys>; hello: Record<string, string> },
) {
  let seq = 0

  /** Seals a message under the next number, or the one that is given. */
  function seal(
    op: string,
    data: unknown,
    {
      as = ++seq,
      nonce = toB64u(randomBytes(16)),
      plaintext = padded(JSON.stringify({ nonce, data })),
    }: { as?: number; nonce?: string; plaintext?: Buffer } = {},
  ): SealedMessage {
    const salt = randomBytes(16)
    const context = { seq: as, op, salt, tokenHash: tokenHashOf(token) }
    const { box, requestHash } = sealRequest(records, context, plaintext)
    const body = {
      v: 1,
      session_id: records.sessionId,
      seq: as,
      op,
      salt: toB64u(salt),
      box: toB64u(box),
    } as const
    return { body, requestHash }
  }

  const send = ({ body }: SealedMessage, path = '/v1/call', through = post) =>
    through(path, body, { authorization: `Bearer ${token}` })

  /** @throws {Error} for a reply that is not sealed, or does not open. */
  function open({ body: { seq: sent, op }, requestHash }: SealedMessage, { status, text }: Reply): Opened {
    if (status !== 200) throw new Error(`no sealed reply: ${status} ${text}`)
    const reply = JSON.parse(text)
    if (reply.session_id !== records.sessionId || reply.seq !== sent) throw new Error('another reply')
    const context = { seq: sent, op, salt: fromB64u(reply.salt)!, requestHash }
    const plaintext = openReply(records, context, fromB64u(reply.box)!)
    if (plaintext === null) throw new Error('the reply does not open')
    return JSON.parse(plaintext.toString())
  }

  async function call(op: string, data: unknown, options: Parameters<typeof seal>[2] = {}): Promise<Opened> {
    const message = seal(op, data, options)
    return open(message, await send(message))
  }

  return { token, maxSeq, records, hello, seal, send, open, call }
}

/** What licence.check asks. */
export function checkData(licence: string, hardware: Hardware = MACHINE, tool = 'demo') {
  return { licence, tool, ver: '1.4.2', hwid: hwidOf(tool, hardware) }
}

/** Posts to a server without a socket. */
export function injecting(
  { server }: { readonly server: Pick<FastifyInstance, 'inject'> },
  remoteAddress = '198.51.100.7',
): Post {
  return async (path, body, headers = {}) => {
    const payload = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const { statusCode, body: text } = await server.inject({
      ...{ method: 'POST', url: path, payload, remoteAddress },
      headers: { 'content-type': 'application/json', ...headers },
    })
    return { status: statusCode, text }
  }
}

/** Posts to a server that listens. */
export function posting(baseUrl: string): Post {
  return async (path, body, headers = {}) => {
    const reply = await fetch(new URL(path, baseUrl), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
    return { status: reply.status, text: await reply.text() }
  }
}

/** Makes the product `demo` with one licence. @returns the licence's key, and what a client compiles in for a suite. */
export function furnish(installation: Installation) {
  return asOperator(installation, async (app) => {
    await app.products.create(ACTOR, 'demo', 'Demo')
    const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null }
    const { key } = await app.licences.create(ACTOR, wish)
    return { key, pin: (suite?: SealedSuite) => pinOf(app, suite) }
  })
}

/** What a token or a lease says, its signature unread. */
export function payloadOf(jws: unknown) {
  return JSON.parse(Buffer.from(String(jws).split('.')[1] ?? '', 'base64url').toString())
}

/** What a client compiles in: the current key of a suite. */
export function pinOf({ keyPairs }: Pick<App, 'keyPairs'>, suite: SealedSuite = 'S1') {
  const [current] = keyPairs.kex(suite)
  if (current === undefined) throw new Error(`${suite} is switched off`)
  return current
}
