import { createPrivateKey, createPublicKey, hash, type KeyObject } from 'node:crypto'
import { coordinatesOf, p256KeyOf } from './p256.ts'

/** PKCS #8 up to the key (RFC 8410 section 7). */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** Public keys as RFC 7517 writes them; `alg` and `use` say what they are for. */
export type Ed25519Jwk = {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  readonly x: string
  readonly kid: string
  readonly alg: 'EdDSA'
  readonly use: 'sig'
}
export type P256Jwk = {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly kid: string
  readonly alg: 'ES256'
  readonly use: 'sig'
}

/** A key that signs tokens, leases or key sets. */
export type SigningKey<Jwk = Ed25519Jwk | P256Jwk> = {
  /** 43 characters: the RFC 7638 thumbprint. */
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicJwk: Jwk
}

/**
 * The RFC 7638 thumbprint (SHA-256, base64url) of a public key.
 * @param members those that the key type requires (section 3.2), in any order.
 */
export function thumbprint(members: Readonly<Record<string, string>>): string {
  const sorted = Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)))
  return hash('sha256', JSON.stringify(sorted), 'base64url')
}

/** @param seed 32 bytes (RFC 8032 section 5.1.5). */
export function ed25519Key(seed: Uint8Array): SigningKey<Ed25519Jwk> {
  const privateKey = createPrivateKey({
    key: Buffer.concat([ED25519_PKCS8, seed]),
    format: 'der',
    type: 'pkcs8',
  })
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' })
  const members = { kty: 'OKP', crv: 'Ed25519', x } as const
  const kid = thumbprint(members)
  return { kid, privateKey, publicJwk: { ...members, kid, alg: 'EdDSA', use: 'sig' } }
}

/**
 * @param scalar 32 bytes, from 1 to n-1.
 * @throws {Error} of node:crypto for a scalar that is out of range.
 */
export function p256SigningKey(scalar: Uint8Array): SigningKey<P256Jwk> {
  const { privateKey, publicKey } = p256KeyOf(scalar)
  const members = { kty: 'EC', crv: 'P-256', ...coordinatesOf(publicKey) } as const
  const kid = thumbprint(members)
  return { kid, privateKey, publicJwk: { ...members, kid, alg: 'ES256', use: 'sig' } }
}

/**
 * @param privateKey of P-256.
 * @throws {RangeError} for a key of another kind.
 */
export function signingKeyOf(privateKey: KeyObject): SigningKey<P256Jwk> {
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new RangeError('this is no private key of P-256')
  const { d = '' } = privateKey.export({ format: 'jwk' })
  return p256SigningKey(Buffer.from(d, 'base64url'))
}
