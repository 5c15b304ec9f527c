import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { publicKeyFrom } from './spki.ts'

/** X25519 (RFC 7748 section 5) on raw 32-byte keys. */

/** PKCS #8 up to the key (RFC 8410 section 7). */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** SubjectPublicKeyInfo up to the key (RFC 8410 section 4). */
const SPKI = Buffer.from('302a300506032b656e032100', 'hex')

export type X25519Key = { readonly privateKey: KeyObject /** 32 bytes. */; readonly publicKey: Buffer }

/** @param secret 32 bytes, clamped when it is used. */
export function x25519Private(secret: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8, secret]), format: 'der', type: 'pkcs8' })
}

/** @param raw 32 bytes. */
export function x25519Public(raw: Uint8Array): KeyObject {
  return publicKeyFrom(SPKI, raw)
}

/** @returns the 32 bytes that belong to a private key. */
export function x25519PublicOf(key: KeyObject): Buffer {
  return Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x ?? '', 'base64url')
}

/** @param secret 32 bytes. */
export function x25519KeyOf(secret: Uint8Array): X25519Key {
  const privateKey = x25519Private(secret)
  return { privateKey, publicKey: x25519PublicOf(privateKey) }
}

/** A fresh key pair. */
export function newX25519Key(): X25519Key {
  const { privateKey, publicKey } = generateKeyPairSync('x25519')
  return { privateKey, publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url') }
}

/** @returns 32 bytes, or `null` for a peer of low order, whose result would be all zero (RFC 7748 section 6.1). */
export function x25519(privateKey: KeyObject, publicKey: KeyObject): Buffer | null {
  try {
    return diffieHellman({ privateKey, publicKey })
  } catch {
    return null
  }
}
