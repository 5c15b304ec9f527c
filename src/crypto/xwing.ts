import {
  createHash,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  encapsulate,
  type KeyObject,
} from 'node:crypto'
import { publicKeyFrom } from './spki.ts'
import { newX25519Key, x25519, x25519Private, x25519Public, x25519PublicOf } from './x25519.ts'

/**
 * X-Wing (draft-connolly-cfrg-xwing-kem): ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) in one KEM, which stays secret
 * while either half does. Public key `pkM(1184) || pkX(32)`, ciphertext `ctM(1088) || ctX(32)`, shared secret 32 bytes.
 */

const MLKEM_PUBLIC_BYTES = 1184
const MLKEM_CIPHERTEXT_BYTES = 1088
const MLKEM_SEED_BYTES = 64
const EXPANDED_BYTES = 96
/** `\./` over `/^\`: the label that the draft puts last. */
const LABEL = Buffer.from('5c2e2f2f5e5c', 'hex')
/** SubjectPublicKeyInfo up to the key (RFC 9935 section 4). */
const MLKEM_SPKI = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex')
/** PKCS #8 with the key as its seed, up to the seed (RFC 9935 section 6). */
const MLKEM_PKCS8_SEED = Buffer.from('3054020100300b060960864801650304040204428040', 'hex')

export type XWingKey = {
  /** 1,216 bytes. */
  readonly publicKey: Buffer
  /** @param ciphertext 1,120 bytes. @returns 32 bytes, or `null` where the X25519 half has a point of low order. */
  readonly decapsulate: (ciphertext: Uint8Array) => Buffer | null
}

export type Encapsulated = { readonly ciphertext: Buffer; readonly sharedSecret: Buffer }

function combine(ssM: Uint8Array, ssX: Uint8Array, ctX: Uint8Array, pkX: Uint8Array): Buffer {
  return createHash('sha3-256').update(ssM).update(ssX).update(ctX).update(pkX).update(LABEL).digest()
}

/** @param seed 32 bytes. */
export function xwingKey(seed: Uint8Array): XWingKey {
  const expanded = createHash('shake256', { outputLength: EXPANDED_BYTES }).update(seed).digest()
  const mlkem = createPrivateKey({
    key: Buffer.concat([MLKEM_PKCS8_SEED, expanded.subarray(0, MLKEM_SEED_BYTES)]),
    format: 'der',
    type: 'pkcs8',
  })
  const pkM = createPublicKey(mlkem).export({ format: 'der', type: 'spki' }).subarray(-MLKEM_PUBLIC_BYTES)
  const skX = x25519Private(expanded.subarray(MLKEM_SEED_BYTES))
  const pkX = x25519PublicOf(skX)
  return {
    publicKey: Buffer.concat([pkM, pkX]),
    decapsulate: (ciphertext) => {
      const ctX = ciphertext.subarray(MLKEM_CIPHERTEXT_BYTES)
      const ssX = x25519(skX, x25519Public(ctX))
      if (ssX === null) return null
      const ssM = decapsulate(mlkem, ciphertext.subarray(0, MLKEM_CIPHERTEXT_BYTES))
      return combine(ssM, ssX, ctX, pkX)
    },
  }
}

function mlkemPublic(raw: Uint8Array): KeyObject | null {
  try {
    return publicKeyFrom(MLKEM_SPKI, raw)
  } catch {
    return null
  }
}

/**
 * Encapsulates to a public key, with the system's randomness.
 * @param publicKey 1,216 bytes. @returns `null` for a key that is none, or has a point of low order.
 */
export function xwingEncapsulate(publicKey: Uint8Array): Encapsulated | null {
  const pkM = mlkemPublic(publicKey.subarray(0, MLKEM_PUBLIC_BYTES))
  const pkX = publicKey.subarray(MLKEM_PUBLIC_BYTES)
  const own = newX25519Key()
  const ssX = x25519(own.privateKey, x25519Public(pkX))
  if (pkM === null || ssX === null) return null
  const { ciphertext, sharedKey } = encapsulate(pkM)
  return {
    ciphertext: Buffer.concat([ciphertext, own.publicKey]),
    sharedSecret: combine(sharedKey, ssX, own.publicKey, pkX),
  }
}
