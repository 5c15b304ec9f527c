import { type Backend, need, type Point } from './backend.ts'
import { concat, equal, fromB64u, lp, toB64u, utf8 } from './encoding.ts'
import { type ComponentType, type Hwid, WEIGHTS } from './hwid.ts'
import { isObject, isWhole, type JsonObject, parseObject } from './json.ts'
import { anyBackend } from './platform.ts'

/** A key that signs leases, compiled in as `kunci keys pins` prints it (RFC 7517). */
export type LeaseKey = Point & { readonly kty: 'EC'; readonly crv: 'P-256'; readonly kid: string }

/** What a lease allows. Times are seconds since 1970, by the server's clock. */
export type Lease = {
  readonly iss: string
  readonly aud: string
  /** The licence's public id. */
  readonly sub: string
  readonly jti: string
  /** Grows by one with each lease of a device. */
  readonly seq: number
  readonly iat: number
  readonly nbf: number
  readonly exp: number
  /** Seconds after `exp` in which the tool runs with a warning. */
  readonly grace: number
  /** Seconds the tool may run under this lease without asking the server. */
  readonly run: number
  /** Of the request it was made for. */
  readonly nonce: string
  readonly dev: string
  readonly hw: LeaseHardware
  readonly feat: readonly string[]
  readonly blob?: unknown
}

export type LeaseHardware = {
  /** 16 bytes, in base64url: the lease's own salt. */
  readonly s: string
  /** The machine fits when the weights that hit are at least m/n of all. */
  readonly m: number
  readonly n: number
  readonly c: Readonly<Record<string, readonly string[]>>
}

export type LeaseFault =
  | 'malformed'
  | 'unknown_key'
  | 'bad_signature'
  | 'wrong_tool'
  | 'wrong_issuer'
  | 'not_yet_valid'
  | 'superseded'
  | 'other_machine'

/** A lease that does not count, and why. */
export class LeaseError extends Error {
  override readonly name = 'LeaseError'
  readonly fault: LeaseFault

  constructor(fault: LeaseFault) {
    super(`the lease does not count: ${fault}`)
    this.fault = fault
  }
}

export type LeaseExpectations = {
  readonly keys: readonly LeaseKey[]
  /** The product's code. */
  readonly tool: string
  /** Only leases of this issuer count. Without it any of who holds the key. */
  readonly issuer?: string | undefined
  /** This machine, from `hwidOf`. */
  readonly hwid: Hwid
  /** Seconds since 1970. */
  readonly now: number
  /** Leases with a lower `seq` no longer count. */
  readonly floor?: number | undefined
}

const MAX_BYTES = 8192
const SIGNATURE_BYTES = 64
const SALT_BYTES = 16
const HASH_BYTES = 16
/** How far clocks may differ, in seconds. */
export const TOLERANCE_S = 300
const TIME_MAX_S = 253_402_300_799 // the end of the year 9999
const SEQ_MAX = Number.MAX_SAFE_INTEGER
const COORDINATE_BYTES = 32
const ANCHORS: readonly ComponentType[] = ['tpm', 'board', 'bios', 'disk']

/**
 * Checks a pinned key.
 * @throws {RangeError} when it is no P-256 key, or its `kid` is not its RFC 7638 thumbprint.
 */
export async function requireLeaseKey(backend: Backend, { kty, crv, kid, x, y }: LeaseKey): Promise<void> {
  const coordinates = [x, y].map((text) => fromB64u(text)?.length)
  if (kty !== 'EC' || crv !== 'P-256' || coordinates.some((length) => length !== COORDINATE_BYTES))
    throw new RangeError(`the lease key ${kid} is no P-256 key`)
  const thumbprint = toB64u(await backend.sha256(utf8(JSON.stringify({ crv, kty, x, y }))))
  if (thumbprint !== kid) throw new RangeError(`the lease key ${kid} has another key's id`)
}

function isHardware(value: unknown): value is LeaseHardware {
  if (!isObject(value) || !isObject(value.c)) return false
  const { s, m, n, c } = value
  if (typeof s !== 'string' || fromB64u(s)?.length !== SALT_BYTES) return false
  if (!isWhole(n, 1, 1000) || !isWhole(m, 1, n)) return false
  return Object.values(c).every(
    (hashes) =>
      Array.isArray(hashes) &&
      hashes.every((hash) => typeof hash === 'string' && fromB64u(hash)?.length === HASH_BYTES),
  )
}

function isLease(claims: JsonObject): boolean {
  const texts = [claims.iss, claims.aud, claims.sub, claims.jti, claims.nonce, claims.dev]
  const seconds = [claims.iat, claims.nbf, claims.exp, claims.grace, claims.run]
  const feat = claims.feat ?? []
  return (
    texts.every((text) => typeof text === 'string') &&
    seconds.every((second) => isWhole(second, 0, TIME_MAX_S)) &&
    isWhole(claims.seq, 0, SEQ_MAX) &&
    isHardware(claims.hw) &&
    Array.isArray(feat) &&
    feat.every((name) => typeof name === 'string')
  )
}

/** @returns the claims of a compact JWS (RFC 7515 section 7.1) whose signature one of the keys made. */
async function authenticate(backend: Backend, jws: string, keys: readonly LeaseKey[]): Promise<JsonObject> {
  const parts = jws.split('.')
  const [head = '', body = '', mark = ''] = parts
  const header = parseObject(fromB64u(head) ?? '')
  const payload = fromB64u(body)
  const signature = fromB64u(mark)
  if (header === null || payload === null || signature === null || parts.length !== 3)
    throw new LeaseError('malformed')
  if (header.typ !== 'dsk-lease+jwt' || header.crit !== undefined) throw new LeaseError('malformed')
  const key = keys.find(({ kid }) => kid === header.kid)
  if (key === undefined) throw new LeaseError('unknown_key')
  // The pinned key is ES256's, so nothing else is ever tried, whatever the header says; it must just not say otherwise.
  const verify = need(backend.verifyEs256, 'ES256', backend)
  const genuine =
    header.alg === 'ES256' &&
    signature.length === SIGNATURE_BYTES &&
    (await verify(key, utf8(`${head}.${body}`), signature))
  const claims = genuine ? parseObject(payload) : null
  if (!genuine) throw new LeaseError('bad_signature')
  if (claims === null || !isLease(claims)) throw new LeaseError('malformed')
  return claims
}

/** Whether a lease was made for this machine: enough weight hits, and one of tpm, board, bios or disk does. */
export async function fitsMachine(
  backend: Backend,
  { s, m, n, c }: LeaseHardware,
  hwid: Hwid,
): Promise<boolean> {
  const salt = fromB64u(s) ?? new Uint8Array(0)
  const hashOf = async (type: ComponentType, digest: string) => {
    const input = concat(lp('dsk1/lease-hw'), lp(type), lp(fromB64u(digest) ?? new Uint8Array(0)))
    return (await backend.hmac('SHA-256', salt, input)).slice(0, HASH_BYTES)
  }
  let have = 0
  let hit = 0
  let anchored = false
  for (const type of Object.keys(WEIGHTS) as ComponentType[]) {
    const leased = (c[type] ?? []).map((hash) => fromB64u(hash) ?? new Uint8Array(0))
    if (leased.length === 0) continue
    const own = await Promise.all((hwid.c[type] ?? []).map((digest) => hashOf(type, digest)))
    const hits = own.some((hash) => leased.some((other) => equal(hash, other)))
    have += WEIGHTS[type]
    hit += hits ? WEIGHTS[type] : 0
    anchored ||= hits && ANCHORS.includes(type)
  }
  return anchored && n * hit >= m * have
}

/**
 * Verifies a lease: who signed it, for which tool and machine, and from when. Whether it has run out is for
 * `stepLease` to say.
 * @param jws a compact JWS, at most 8,192 bytes; white space around it is ignored.
 * @throws {LeaseError} with the fault.
 * @throws {Error} where the backend cannot verify ES256.
 */
export async function verifyLease(
  jws: string,
  { keys, tool, issuer, hwid, now, floor = 0 }: LeaseExpectations,
  backend = anyBackend(),
): Promise<Lease> {
  if (jws.length > MAX_BYTES) throw new LeaseError('malformed')
  const claims = await authenticate(backend, jws.trim(), keys)
  const lease = { feat: [], ...claims } as unknown as Lease
  if (lease.aud !== `tool:${tool}`) throw new LeaseError('wrong_tool')
  if (issuer !== undefined && lease.iss !== issuer) throw new LeaseError('wrong_issuer')
  if (now + TOLERANCE_S < lease.nbf) throw new LeaseError('not_yet_valid')
  if (lease.seq < floor) throw new LeaseError('superseded')
  if (!(await fitsMachine(backend, lease.hw, hwid))) throw new LeaseError('other_machine')
  return lease
}
