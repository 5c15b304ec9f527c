import type { webcrypto } from 'node:crypto'
import type { Backend, Curve, Kem, KemKey, KeyPair } from './backend.ts'
import { type Bytes, toB64u } from './encoding.ts'

type Subtle = webcrypto.SubtleCrypto
type CryptoKey = webcrypto.CryptoKey

const COORDINATE_BYTES = 32
const SECRET_BITS = 256
const GCM_TAG_BITS = 128
const MLKEM = 'ML-KEM-768'

const bytes = (buffer: ArrayBuffer): Bytes => new Uint8Array(buffer)

function curveOf(
  subtle: Subtle,
  algorithm: webcrypto.EcKeyGenParams | webcrypto.Algorithm,
  publicJwk: (publicKey: Bytes) => webcrypto.JsonWebKey,
): Curve {
  const pair = (privateKey: CryptoKey, publicKey: Bytes): KeyPair => ({
    publicKey,
    agree: async (peer) => {
      const other = await subtle.importKey('raw', peer, algorithm, false, [])
      return bytes(await subtle.deriveBits({ name: algorithm.name, public: other }, privateKey, SECRET_BITS))
    },
  })
  return {
    generate: async () => {
      const keys = (await subtle.generateKey(algorithm, false, ['deriveBits'])) as webcrypto.CryptoKeyPair
      return pair(keys.privateKey, bytes(await subtle.exportKey('raw', keys.publicKey)))
    },
    load: async (privateKey, publicKey) => {
      const jwk = { ...publicJwk(publicKey), d: toB64u(privateKey) }
      return pair(await subtle.importKey('jwk', jwk, algorithm, false, ['deriveBits']), publicKey)
    },
  }
}

const x25519Of = (subtle: Subtle) =>
  curveOf(subtle, { name: 'X25519' }, (publicKey) => ({ kty: 'OKP', crv: 'X25519', x: toB64u(publicKey) }))

const p256Of = (subtle: Subtle) =>
  curveOf(subtle, { name: 'ECDH', namedCurve: 'P-256' }, (publicKey) => ({
    kty: 'EC',
    crv: 'P-256',
    x: toB64u(publicKey.subarray(1, 1 + COORDINATE_BYTES)),
    y: toB64u(publicKey.subarray(1 + COORDINATE_BYTES)),
  }))

/** As in the draft "Modern Algorithms in the Web Cryptography API". */
function mlkem768Of(subtle: Subtle): Kem {
  const keyOf = (privateKey: CryptoKey, publicKey: Bytes): KemKey => ({
    publicKey,
    decapsulate: async (ciphertext) => bytes(await subtle.decapsulateBits(MLKEM, privateKey, ciphertext)),
  })
  return {
    generate: async () => {
      const usages: webcrypto.KeyUsage[] = ['encapsulateBits', 'decapsulateBits']
      const keys = (await subtle.generateKey(MLKEM, false, usages)) as webcrypto.CryptoKeyPair
      return keyOf(keys.privateKey, bytes(await subtle.exportKey('raw-public', keys.publicKey)))
    },
    load: async (seed, publicKey) =>
      keyOf(await subtle.importKey('raw-seed', seed, MLKEM, false, ['decapsulateBits']), publicKey),
    encapsulate: async (publicKey) => {
      const key = await subtle.importKey('raw-public', publicKey, MLKEM, false, ['encapsulateBits'])
      const { ciphertext, sharedKey } = await subtle.encapsulateBits(MLKEM, key)
      return { ciphertext: bytes(ciphertext), sharedSecret: bytes(sharedKey) }
    },
  }
}

function gcmOf(subtle: Subtle): NonNullable<Backend['gcm']> {
  const parameters = (nonce: Bytes, aad: Bytes) => ({
    ...{ name: 'AES-GCM', iv: nonce, additionalData: aad, tagLength: GCM_TAG_BITS },
  })
  return {
    seal: async (raw, nonce, aad, plaintext) => {
      const key = await subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt'])
      return bytes(await subtle.encrypt(parameters(nonce, aad), key, plaintext))
    },
    open: async (raw, nonce, aad, box) => {
      const key = await subtle.importKey('raw', raw, 'AES-GCM', false, ['decrypt'])
      return bytes(await subtle.decrypt(parameters(nonce, aad), key, box))
    },
  }
}

/**
 * @param subtle of the page or the runtime. What it lacks (X25519 in older engines, ML-KEM in most) shows
 *   when it is first asked for.
 */
export function webcryptoBackend(subtle: Subtle): Backend {
  return {
    name: 'WebCrypto',
    sha256: async (data) => bytes(await subtle.digest('SHA-256', data)),
    hmac: async (hash, raw, data) => {
      const key = await subtle.importKey('raw', raw, { name: 'HMAC', hash }, false, ['sign'])
      return bytes(await subtle.sign('HMAC', key, data))
    },
    cbcEncrypt: async (raw, iv, plaintext) => {
      const key = await subtle.importKey('raw', raw, 'AES-CBC', false, ['encrypt'])
      return bytes(await subtle.encrypt({ name: 'AES-CBC', iv }, key, plaintext))
    },
    cbcDecrypt: async (raw, iv, ciphertext) => {
      const key = await subtle.importKey('raw', raw, 'AES-CBC', false, ['decrypt'])
      return bytes(await subtle.decrypt({ name: 'AES-CBC', iv }, key, ciphertext))
    },
    gcm: gcmOf(subtle),
    x25519: x25519Of(subtle),
    p256: p256Of(subtle),
    mlkem768: mlkem768Of(subtle),
    verifyEs256: async (point, data, signature) => {
      const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
      const jwk = { kty: 'EC', crv: 'P-256', ...point }
      const key = await subtle.importKey('jwk', jwk, algorithm, false, ['verify'])
      return subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, signature, data)
    },
  }
}
