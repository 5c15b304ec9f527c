import type { Bytes } from './encoding.ts'

/** One side's fresh key of a Diffie-Hellman exchange. */
export type KeyPair = {
  /** X25519: 32 bytes (RFC 7748). P-256: 65 bytes, `0x04 || X || Y`. */
  readonly publicKey: Bytes
  /**
   * The 32 bytes that both sides come to; of P-256 the X coordinate with its leading zeros.
   * @throws {Error} for a public key that is no point of the curve.
   */
  readonly agree: (publicKey: Bytes) => Promise<Bytes>
}

export type Curve = {
  /** A new key, by the platform's own generator. */
  readonly generate: () => Promise<KeyPair>
  /** A key that is there already. @param privateKey 32 bytes. @param publicKey the one that belongs to it. */
  readonly load: (privateKey: Bytes, publicKey: Bytes) => Promise<KeyPair>
}

/** One side's fresh key of ML-KEM-768 (FIPS 203). */
export type KemKey = {
  /** 1,184 bytes. */
  readonly publicKey: Bytes
  /** @param ciphertext 1,088 bytes. @returns 32 bytes. */
  readonly decapsulate: (ciphertext: Bytes) => Promise<Bytes>
}

export type Kem = {
  readonly generate: () => Promise<KemKey>
  /** @param seed 64 bytes, `d || z`. @param publicKey the one that belongs to it. */
  readonly load: (seed: Bytes, publicKey: Bytes) => Promise<KemKey>
  /** @param publicKey 1,184 bytes. @throws {Error} for one that is none. */
  readonly encapsulate: (
    publicKey: Bytes,
  ) => Promise<{ readonly ciphertext: Bytes; readonly sharedSecret: Bytes }>
}

/** AES-256-GCM with a 12-byte nonce and a 16-byte tag behind the ciphertext (RFC 5116 section 5.2). */
export type Gcm = {
  readonly seal: (key: Bytes, nonce: Bytes, aad: Bytes, plaintext: Bytes) => Promise<Bytes>
  /** @throws {Error} when the tag is wrong. */
  readonly open: (key: Bytes, nonce: Bytes, aad: Bytes, box: Bytes) => Promise<Bytes>
}

/** The coordinates of a P-256 public key, base64url of 32 bytes each (RFC 7518 section 6.2.1). */
export type Point = { readonly x: string; readonly y: string }

/** What a platform computes. The optional parts are those that not every platform has; each suite says what it needs. */
export type Backend = {
  /** As error messages name it. */
  readonly name: string
  readonly sha256: (data: Bytes) => Promise<Bytes>
  readonly hmac: (hash: 'SHA-256' | 'SHA-512', key: Bytes, data: Bytes) => Promise<Bytes>
  /** AES-256-CBC with PKCS#7 padding. @param iv 16 bytes. */
  readonly cbcEncrypt: (key: Bytes, iv: Bytes, plaintext: Bytes) => Promise<Bytes>
  /** @throws {Error} when the padding is wrong. */
  readonly cbcDecrypt: (key: Bytes, iv: Bytes, ciphertext: Bytes) => Promise<Bytes>
  readonly gcm?: Gcm
  readonly x25519?: Curve
  readonly p256?: Pick<Curve, 'generate'>
  readonly mlkem768?: Kem
  /** ES256 (RFC 7518 section 3.4). @param signature `R || S`, 64 bytes. */
  readonly verifyEs256?: (key: Point, data: Bytes, signature: Bytes) => Promise<boolean>
}

/**
 * A part that a platform may lack.
 * @throws {Error} that says what is missing where.
 */
export function need<Part>(part: Part | undefined, what: string, { name }: Backend): Part {
  if (part === undefined) throw new Error(`${name} has no ${what}`)
  return part
}
