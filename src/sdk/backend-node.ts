import type * as NodeCrypto from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { Backend, Curve, Kem, KemKey, KeyPair, Point } from './backend.ts'
import { type Bytes, concat, toB64u } from './encoding.ts'

const GCM_TAG_BYTES = 16
const X25519_BYTES = 32
const POINT_BYTES = 65
const COORDINATE_BYTES = 32
const MLKEM_PUBLIC_BYTES = 1184

/** A copy: node's buffers may share their memory with others. */
const bytes = (buffer: Uint8Array): Bytes => new Uint8Array(buffer)

/** The raw key: what a SubjectPublicKeyInfo ends with. As DER, for the JWK export of a fresh key can deadlock Node 20. */
const rawOf = (publicKey: KeyObject, length: number): Bytes =>
  bytes(publicKey.export({ format: 'der', type: 'spki' }).subarray(-length))

function pointOf(publicKey: Bytes): Point {
  const coordinates = publicKey.subarray(1)
  return {
    x: toB64u(coordinates.subarray(0, COORDINATE_BYTES)),
    y: toB64u(coordinates.subarray(COORDINATE_BYTES)),
  }
}

function curveOf(
  crypto: typeof NodeCrypto,
  publicJwk: (publicKey: Bytes) => NodeCrypto.JsonWebKey,
  generate: () => NodeCrypto.KeyPairKeyObjectResult,
  publicBytes: number,
): Curve {
  const pair = (privateKey: KeyObject, publicKey: Bytes): KeyPair => ({
    publicKey,
    agree: async (peer) => {
      const other = crypto.createPublicKey({ key: publicJwk(peer), format: 'jwk' })
      return bytes(crypto.diffieHellman({ privateKey, publicKey: other }))
    },
  })
  return {
    generate: async () => {
      const { privateKey, publicKey } = generate()
      return pair(privateKey, rawOf(publicKey, publicBytes))
    },
    load: async (privateKey, publicKey) => {
      const key = { ...publicJwk(publicKey), d: toB64u(privateKey) }
      return pair(crypto.createPrivateKey({ key, format: 'jwk' }), publicKey)
    },
  }
}

function x25519Of(crypto: typeof NodeCrypto): Curve {
  const jwk = (publicKey: Bytes) => ({ kty: 'OKP', crv: 'X25519', x: toB64u(publicKey) })
  return curveOf(crypto, jwk, () => crypto.generateKeyPairSync('x25519'), X25519_BYTES)
}

function p256Of(crypto: typeof NodeCrypto): Curve {
  const jwk = (publicKey: Bytes) => ({ kty: 'EC', crv: 'P-256', ...pointOf(publicKey) })
  return curveOf(crypto, jwk, () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }), POINT_BYTES)
}

function mlkem768Of(crypto: typeof NodeCrypto): Kem {
  const jwk = (publicKey: Bytes) => ({ kty: 'AKP', alg: 'ML-KEM-768', pub: toB64u(publicKey) })
  const keyOf = (privateKey: KeyObject, publicKey: Bytes): KemKey => ({
    publicKey,
    decapsulate: async (ciphertext) => bytes(crypto.decapsulate(privateKey, ciphertext)),
  })
  return {
    generate: async () => {
      const { publicKey, privateKey } = crypto.generateKeyPairSync('ml-kem-768')
      return keyOf(privateKey, rawOf(publicKey, MLKEM_PUBLIC_BYTES))
    },
    load: async (seed, publicKey) => {
      const key = { ...jwk(publicKey), priv: toB64u(seed) }
      return keyOf(crypto.createPrivateKey({ key, format: 'jwk' }), publicKey)
    },
    encapsulate: async (publicKey) => {
      const { ciphertext, sharedKey } = crypto.encapsulate(
        crypto.createPublicKey({ key: jwk(publicKey), format: 'jwk' }),
      )
      return { ciphertext: bytes(ciphertext), sharedSecret: bytes(sharedKey) }
    },
  }
}

function gcmOf(crypto: typeof NodeCrypto): NonNullable<Backend['gcm']> {
  const options = { authTagLength: GCM_TAG_BYTES }
  return {
    seal: async (key, nonce, aad, plaintext) => {
      const cipher = crypto.createCipheriv('aes-256-gcm', key, nonce, options).setAAD(aad)
      return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
    },
    open: async (key, nonce, aad, box) => {
      const decipher = crypto.createDecipheriv('aes-256-gcm', key, nonce, options).setAAD(aad)
      decipher.setAuthTag(box.subarray(-GCM_TAG_BYTES))
      return concat(decipher.update(box.subarray(0, -GCM_TAG_BYTES)), decipher.final())
    },
  }
}

/** @param crypto the module `node:crypto`. ML-KEM is there from Node 24.7 on. */
export function nodeBackend(crypto: typeof NodeCrypto): Backend {
  return {
    name: 'node:crypto',
    sha256: async (data) => bytes(crypto.createHash('sha256').update(data).digest()),
    hmac: async (hash, key, data) =>
      bytes(crypto.createHmac(hash.replace('-', ''), key).update(data).digest()),
    cbcEncrypt: async (key, iv, plaintext) => {
      const cipher = crypto.createCipheriv('aes-256-cbc', key, iv)
      return concat(cipher.update(plaintext), cipher.final())
    },
    cbcDecrypt: async (key, iv, ciphertext) => {
      const decipher = crypto.createDecipheriv('aes-256-cbc', key, iv)
      return concat(decipher.update(ciphertext), decipher.final())
    },
    gcm: gcmOf(crypto),
    x25519: x25519Of(crypto),
    p256: p256Of(crypto),
    ...(typeof crypto.encapsulate === 'function' ? { mlkem768: mlkem768Of(crypto) } : {}),
    verifyEs256: async (point, data, signature) => {
      const key = crypto.createPublicKey({ key: { kty: 'EC', crv: 'P-256', ...point }, format: 'jwk' })
      return crypto.verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature)
    },
  }
}
