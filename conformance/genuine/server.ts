import { randomBytes, sign } from 'node:crypto'
import { toB64u } from '../../src/crypto/encoding.ts'
import { componentDigest } from '../../src/crypto/fingerprint.ts'
import type { SigningKey } from '../../src/crypto/jwk.ts'
import type { Agreed } from '../../src/crypto/kex.ts'
import { leaseHardware, signEs256 } from '../../src/crypto/lease.ts'
import { parseLicenceKey } from '../../src/crypto/licence-key.ts'
import {
  openRequest,
  padded,
  type RecordKeys,
  recordKeys,
  sealReply,
  tokenHashOf,
} from '../../src/crypto/records.ts'
import { schedule, sealHello, transcriptHash } from '../../src/crypto/schedule.ts'
import type { CheckData, ComponentType } from '../../src/wire/sealed.ts'
import { CALL, type Reply, type Request, SESSION } from '../http.ts'
import { type Customer, crockford, type Statics, type Vendor } from '../parties.ts'
import {
  type Call,
  checked,
  type Hello,
  OPERATIONS,
  Refusal,
  readCall,
  readHello,
  readPlaintext,
} from './requests.ts'

const EXPIRES_IN_S = 300
const TOKEN_LIVES_S = 330
const WEEK_S = 7 * 86_400

export type Session = { readonly keys: RecordKeys; readonly token: string }

/** What stands in a sealed reply. */
export type Verdict = { readonly status: number; readonly code: string; readonly data: object }

/** What whoever holds the server's keys can do otherwise. */
export type Twist = {
  readonly agree?: (agreed: Agreed, clientPublic: Buffer) => Agreed
  readonly hello?: (plaintext: Readonly<Record<string, unknown>>) => object
  readonly reply?: (plaintext: Readonly<Record<string, unknown>>) => object
}

/** Keeps its sessions in memory, and is as strict as the protocol allows about what a client sends. */
export type GenuineServer = {
  readonly sessions: ReadonlyMap<string, Session>
  /** A call that is answered twice is sealed twice, each time under another salt; both replies open. */
  answer(request: Request, twist?: Twist): Reply
}

const nowS = () => Math.floor(Date.now() / 1000)

function part(value: object): string {
  return toB64u(Buffer.from(JSON.stringify(value)))
}

/** A token as the server signs it: EdDSA (RFC 8037), bound to the session's keys. */
function tokenFor({ suite, sessionId, confirmation }: RecordKeys, { kid, privateKey }: SigningKey): string {
  const iat = nowS()
  const claims = {
    ...{ iss: 'urn:kunci:conformance', aud: 'dsk-api', sub: 'anon', sid: sessionId, ste: suite },
    ...{ cnf: { dsk1: toB64u(confirmation) }, jti: toB64u(randomBytes(16)), iat, exp: iat + TOKEN_LIVES_S },
  }
  const input = `${part({ alg: 'EdDSA', typ: 'dsk-at+jwt', kid })}.${part(claims)}`
  return `${input}.${toB64u(sign(null, Buffer.from(input), privateKey))}`
}

/** The digests that the customer's machine comes to. */
export function digestsOf({ tool, hardware }: Customer): Record<string, Buffer> {
  return Object.fromEntries(
    Object.entries(hardware).map(([type, serial]) => {
      const norm = serial.toUpperCase().replace(/[^A-Z0-9]/g, '')
      return [type, componentDigest(tool, type, norm)]
    }),
  )
}

function leaseFor(customer: Customer, nonce: string, key: SigningKey): string {
  const iat = nowS()
  const salt = randomBytes(16)
  const components = Object.fromEntries(
    Object.entries(digestsOf(customer)).map(([type, digest]) => [type, [digest]]),
  )
  return signEs256(
    'dsk-lease+jwt',
    {
      ...{ iss: 'urn:kunci:conformance', aud: `tool:${customer.tool}`, sub: `lic_${crockford(16)}` },
      ...{ jti: toB64u(randomBytes(16)), seq: 1, iat, nbf: iat - 300, exp: iat + WEEK_S },
      ...{ grace: 259_200, run: 360_000, nonce, dev: `dev_${crockford(16)}` },
      ...{ hw: { s: toB64u(salt), m: 3, n: 5, c: leaseHardware(components, salt) }, feat: [] },
    },
    key,
  )
}

function judge(
  { licence, tool, hwid }: CheckData,
  nonce: string,
  customer: Customer,
  key: SigningKey,
): Verdict {
  const support = { support_code: `${crockford(5)}-${crockford(5)}`, message: 'As the vendor says it.' }
  if (parseLicenceKey(licence) !== parseLicenceKey(customer.licence) || tool !== customer.tool)
    return { status: 403, code: 'licence_invalid', data: { valid: false, ...support } }
  for (const [type, digest] of Object.entries(digestsOf(customer)))
    if (hwid.c[type as ComponentType]?.join() !== toB64u(digest))
      throw new Refusal(400, 'request', `hwid/c/${type}: is not the digest of the serial number`)
  return {
    status: 200,
    code: 'ok',
    data: {
      ...{ valid: true, lease: leaseFor(customer, nonce, key), check_again_after_s: 120, ...support },
      ...{ device: { id: `dev_${crockford(16)}` }, entitlements: [] },
      variables: { sk: '', sck: '', maintenance: 'no', status1_text: '' },
    },
  }
}

function statusReply(error: unknown): Reply {
  if (!(error instanceof Refusal)) throw error
  return { status: error.status, body: { v: 1, error: error.code }, complaint: error.message }
}

/** @param statics the keys it answers with, if not the vendor's own. */
export function genuineServer(
  vendor: Vendor,
  customer: Customer,
  statics: Statics = vendor.statics,
): GenuineServer {
  const sessions = new Map<string, Session>()

  function welcome({ suite, kid, pub }: Hello, twist: Twist): Reply {
    const key = statics[suite]
    if (kid !== key.kid) throw new Refusal(400, 'kex', `hello/kid: there is no key ${kid}`)
    const honest = key.prepare()(pub)
    if (honest === null) throw new Refusal(400, 'kex', 'hello/pub: is no point, or of low order')
    const { serverPublic, ss1, ss2 } = twist.agree?.(honest, pub) ?? honest
    const sessionId = randomBytes(32).toString('hex')
    const th = transcriptHash({
      ...{ suite, kid, staticPublic: key.publicKey, clientPublic: pub, sessionId },
      ...{ expiresInS: EXPIRES_IN_S, serverPublic },
    })
    const { helloKey, sessionKey, sessionIv } = schedule(suite, ss1, ss2, th)
    const keys = recordKeys(suite, sessionId, sessionKey, sessionIv)
    const token = tokenFor(keys, vendor.tokenKey)
    sessions.set(sessionId, { keys, token })
    const plaintext = { token, server_time: nowS(), max_seq: 1000 }
    const text = JSON.stringify(twist.hello?.(plaintext) ?? plaintext)
    return {
      status: 200,
      headers: { 'cache-control': 'no-store' },
      body: {
        ...{ v: 1, suite, kid, session_id: sessionId, expires_in: EXPIRES_IN_S, pub: toB64u(serverPublic) },
        box: toB64u(sealHello(suite, helloKey, th, Buffer.from(text))),
      },
    }
  }

  function verdictOn(op: string, plaintext: Buffer): Verdict {
    const { nonce, data } = readPlaintext(plaintext)
    if (!Object.hasOwn(OPERATIONS, op)) return { status: 404, code: 'unknown_op', data: {} }
    const known = checked(OPERATIONS[op as keyof typeof OPERATIONS], data, op)
    if (op !== 'licence.check' && op !== 'lease.issue') return { status: 200, code: 'ok', data: {} }
    return judge(known as CheckData, nonce, customer, vendor.leaseKey)
  }

  function reply({ sessionId, seq, op, salt, box, token }: Call, twist: Twist): Reply {
    const session = sessions.get(sessionId)
    const refused = (complaint: string) => new Refusal(401, 'session', complaint)
    if (session === undefined) throw refused('call/session_id: there is no such session')
    if (token !== session.token) throw refused("call: its Authorization is not the session's token")
    const { keys } = session
    const opened = openRequest(keys, { seq, op, salt, tokenHash: tokenHashOf(token) }, box)
    if (opened === null) throw refused('call/box: does not open')
    const plaintext = { ...verdictOn(op, opened.plaintext), server_time: nowS() }
    const sealed = padded(JSON.stringify(twist.reply?.(plaintext) ?? plaintext))
    const replySalt = randomBytes(16)
    const context = { seq, op, salt: replySalt, requestHash: opened.requestHash }
    return {
      status: 200,
      body: {
        ...{ v: 1, session_id: sessionId, seq, salt: toB64u(replySalt) },
        box: toB64u(sealReply(keys, context, sealed)),
      },
    }
  }

  return {
    sessions,
    answer: (request, twist = {}) => {
      try {
        if (request.path === SESSION) return welcome(readHello(request), twist)
        if (request.path === CALL) return reply(readCall(request), twist)
        throw new Refusal(404, 'request', `${request.path}: there is nothing at this address`)
      } catch (error) {
        return statusReply(error)
      }
    },
  }
}
