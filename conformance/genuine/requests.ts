import type { Static, TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { fromB64u } from '../../src/crypto/encoding.ts'
import { type SealedSuite, SIZES } from '../../src/crypto/suites.ts'
import { CallRequest, CheckData, LogData, NoData, Plaintext, SessionRequest } from '../../src/wire/sealed.ts'
import type { Request } from '../http.ts'

/** What the genuine server minds about a request. On the wire stands only the code. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, complaint: string) {
    super(complaint)
    this.status = status
    this.code = code
  }
}

const HELLO_MAX_BYTES = 8 * 1024
const CALL_MAX_BYTES = 16 * 1024
const PAD_BYTES = 256

/** The data of each operation that a client may ask for here. */
export const OPERATIONS = {
  ...{ 'licence.check': CheckData, 'lease.issue': CheckData, 'log.push': LogData },
  ...{ ping: NoData, 'session.close': NoData },
} as const

export type Hello = { readonly suite: SealedSuite; readonly kid: string; readonly pub: Buffer }

export type Call = {
  readonly sessionId: string
  readonly seq: number
  readonly op: string
  readonly salt: Buffer
  readonly box: Buffer
  /** `null`: there is no Authorization, or not a bearer's. */
  readonly token: string | null
}

const malformed = (complaint: string) => new Refusal(400, 'request', complaint)

/** @throws {Refusal} that names the first member at fault. */
export function checked<T extends TSchema>(schema: T, value: unknown, what: string): Static<T> {
  if (Value.Check(schema, value)) return value
  const [first] = Value.Errors(schema, value)
  throw malformed(`${what}${first?.instancePath ?? ''}: ${first?.message ?? 'malformed'}`)
}

/** @throws {Refusal} for text that no strict encoder writes. */
function bytes(text: string, what: string): Buffer {
  const decoded = fromB64u(text)
  if (decoded === null) throw malformed(`${what}: is not canonical base64url`)
  return decoded
}

function json(body: Buffer, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    throw malformed(`${what}: is not JSON in UTF-8`)
  }
}

function bodyOf({ method, headers, body }: Request, maxBytes: number, what: string): unknown {
  if (method !== 'POST') throw malformed(`${what}: comes by ${method} instead of POST`)
  if (!/^application\/json\s*(;|$)/.test(headers['content-type'] ?? ''))
    throw new Refusal(415, 'type', `${what}: its Content-Type is not application/json`)
  if (body.length > maxBytes) throw new Refusal(413, 'size', `${what}: has ${body.length} bytes`)
  return json(body, what)
}

/** @throws {Refusal} for all that the protocol does not allow in a hello. */
export function readHello(request: Request): Hello {
  const body = bodyOf(request, HELLO_MAX_BYTES, 'hello')
  const { suite, kid, pub } = checked(SessionRequest, body, 'hello')
  if (suite !== 'S1' && suite !== 'S2' && suite !== 'S3')
    throw new Refusal(400, 'kex', `hello/suite: there is no suite ${suite}`)
  const share = bytes(pub, 'hello/pub')
  const { client } = SIZES[suite]
  if (share.length !== client)
    throw new Refusal(400, 'kex', `hello/pub: has ${share.length} bytes instead of ${client}`)
  return { suite, kid, pub: share }
}

/** @throws {Refusal} for all that the protocol does not allow around a box. */
export function readCall(request: Request): Call {
  const body = bodyOf(request, CALL_MAX_BYTES, 'call')
  const { session_id, seq, op, salt, box } = checked(CallRequest, body, 'call')
  const [, token = null] = /^Bearer ([\w.-]+)$/.exec(request.headers.authorization ?? '') ?? []
  return {
    ...{ sessionId: session_id, seq, op, token },
    ...{ salt: bytes(salt, 'call/salt'), box: bytes(box, 'call/box') },
  }
}

/** @throws {Refusal} for a plaintext that is not padded or not what the protocol says. */
export function readPlaintext(plaintext: Buffer): Static<typeof Plaintext> {
  if (plaintext.length % PAD_BYTES !== 0)
    throw malformed(`plaintext: its ${plaintext.length} bytes are no multiple of ${PAD_BYTES}`)
  const opened = checked(Plaintext, json(plaintext, 'plaintext'), 'plaintext')
  bytes(opened.nonce, 'plaintext/nonce')
  return opened
}
