import { type Backend, type KemKey, type KeyPair, need } from './backend.ts'
import { type Bytes, concat } from './encoding.ts'
import { sha3 } from './sha3.ts'

/**
 * X-Wing (draft-connolly-cfrg-xwing-kem): ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) in one KEM, which stays secret
 * while either half does. Public key `pkM(1184) || pkX(32)`, ciphertext `ctM(1088) || ctX(32)`, shared secret 32 bytes.
 */

const MLKEM_PUBLIC_BYTES = 1184
const MLKEM_CIPHERTEXT_BYTES = 1088
/** `\./` over `/^\`: the label that the draft puts last. */
const LABEL = Uint8Array.of(0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c)

export type XWingKey = {
  /** 1,216 bytes. */
  readonly publicKey: Bytes
  /** @param ciphertext 1,120 bytes. @returns 32 bytes. @throws {Error} where the X25519 half is of low order. */
  readonly decapsulate: (ciphertext: Bytes) => Promise<Bytes>
}

function combine(ssM: Bytes, ssX: Bytes, ctX: Bytes, pkX: Bytes): Bytes {
  return sha3(concat(ssM, ssX, ctX, pkX, LABEL))
}

/** The key of two halves. */
export function xwingKey(mlkem: KemKey, x25519: KeyPair): XWingKey {
  return {
    publicKey: concat(mlkem.publicKey, x25519.publicKey),
    decapsulate: async (ciphertext) => {
      const ctX = ciphertext.slice(MLKEM_CIPHERTEXT_BYTES)
      const ssM = await mlkem.decapsulate(ciphertext.slice(0, MLKEM_CIPHERTEXT_BYTES))
      return combine(ssM, await x25519.agree(ctX), ctX, x25519.publicKey)
    },
  }
}

/**
 * A key for one handshake. Its halves are drawn each for itself, where the draft expands both from one seed: that
 * seed would only serve to keep the key, and this one is not kept.
 */
export async function newXwingKey(backend: Backend): Promise<XWingKey> {
  const mlkem = await need(backend.mlkem768, 'ML-KEM-768', backend).generate()
  return xwingKey(mlkem, await need(backend.x25519, 'X25519', backend).generate())
}

/**
 * Encapsulates to a public key, with the platform's randomness.
 * @param publicKey 1,216 bytes. @throws {Error} for a key that is none, or is of low order.
 */
export async function xwingEncapsulate(
  backend: Backend,
  publicKey: Bytes,
): Promise<{ readonly ciphertext: Bytes; readonly sharedSecret: Bytes }> {
  const pkX = publicKey.slice(MLKEM_PUBLIC_BYTES)
  const mlkem = need(backend.mlkem768, 'ML-KEM-768', backend)
  const { ciphertext, sharedSecret } = await mlkem.encapsulate(publicKey.slice(0, MLKEM_PUBLIC_BYTES))
  const own = await need(backend.x25519, 'X25519', backend).generate()
  return {
    ciphertext: concat(ciphertext, own.publicKey),
    sharedSecret: combine(sharedSecret, await own.agree(pkX), own.publicKey, pkX),
  }
}
