import {
  createECDH,
  createPrivateKey,
  diffieHellman,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { toB64u } from './encoding.ts'
import { publicKeyFrom } from './spki.ts'

/** P-256 (SEC 2 section 2.4.2) on raw scalars of 32 bytes and uncompressed points of 65 bytes (SEC 1 section 2.3.3). */

const COORDINATE_BYTES = 32
const UNCOMPRESSED = 0x04
/** SubjectPublicKeyInfo up to the point (RFC 5480 section 2). */
const SPKI = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex')

export type P256Key = {
  readonly privateKey: KeyObject
  /** 65 bytes. */
  readonly publicKey: Buffer
}

/** The coordinates of a point, as JWK writes them (RFC 7518 section 6.2.1). */
export function coordinatesOf(point: Uint8Array): { x: string; y: string } {
  const [x, y] = [point.subarray(1, 1 + COORDINATE_BYTES), point.subarray(1 + COORDINATE_BYTES)]
  return { x: toB64u(x), y: toB64u(y) }
}

function pointOf({ x = '', y = '' }: JsonWebKey): Buffer {
  return Buffer.concat([Buffer.of(UNCOMPRESSED), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

/**
 * @param scalar 32 bytes, from 1 to n-1.
 * @throws {Error} of node:crypto for a scalar that is out of range.
 */
export function p256KeyOf(scalar: Uint8Array): P256Key {
  const ecdh = createECDH('prime256v1')
  ecdh.setPrivateKey(scalar)
  const publicKey = ecdh.getPublicKey()
  const jwk = { kty: 'EC', crv: 'P-256', ...coordinatesOf(publicKey), d: toB64u(scalar) }
  return { privateKey: createPrivateKey({ key: jwk, format: 'jwk' }), publicKey }
}

/** A fresh key pair. */
export function newP256Key(): P256Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { privateKey, publicKey: pointOf(publicKey.export({ format: 'jwk' })) }
}

/** @param raw 65 bytes. @returns `null` for another form than the uncompressed one, and for what is not on the curve. */
export function p256Public(raw: Uint8Array): KeyObject | null {
  try {
    return raw[0] === UNCOMPRESSED ? publicKeyFrom(SPKI, raw) : null
  } catch {
    return null
  }
}

/** @returns 32 bytes: the X coordinate with its leading zeros (SEC 1 section 3.3.1). */
export function p256(privateKey: KeyObject, publicKey: KeyObject): Buffer {
  return diffieHellman({ privateKey, publicKey })
}
