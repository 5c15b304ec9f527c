import type { Backend, Curve } from './backend.ts'
import { type Bytes, fromBinary, toBinary } from './encoding.ts'

/** Of node-forge what is used here, so that neither it nor its types need be installed. */
export type Forge = {
  readonly util: { createBuffer(binary: string): ForgeBuffer }
  readonly md: { readonly sha256: { create(): ForgeDigest } }
  readonly hmac: { create(): ForgeHmac }
  readonly cipher: {
    createCipher(algorithm: 'AES-CBC', key: string): ForgeCipher
    createDecipher(algorithm: 'AES-CBC', key: string): ForgeCipher
  }
}
type ForgeBuffer = { getBytes(): string }
type ForgeDigest = { update(binary: string): ForgeDigest; digest(): ForgeBuffer }
type ForgeHmac = {
  start(hash: 'sha256' | 'sha512', key: string): void
  update(binary: string): void
  digest(): ForgeBuffer
}
type ForgeCipher = {
  start(options: { iv: string }): void
  update(input: ForgeBuffer): void
  finish(): boolean
  readonly output: ForgeBuffer
}

const bytes = (buffer: ForgeBuffer): Bytes => fromBinary(buffer.getBytes())

function run(forge: Forge, cipher: ForgeCipher, iv: Bytes, input: Bytes): Bytes {
  cipher.start({ iv: toBinary(iv) })
  cipher.update(forge.util.createBuffer(toBinary(input)))
  if (!cipher.finish()) throw new Error('wrong padding')
  return bytes(cipher.output)
}

/**
 * Pure JavaScript, for pages without a secure context, where WebCrypto is not. It is enough for the legacy contract
 * and for the records of S2. For S2's handshake the caller hands in P-256; S1, S3 and leases it cannot do. Its AES is
 * table-driven and not constant in time.
 * @param forge the module node-forge, 1.4.3 or newer.
 * @param p256 key agreement of the caller's choice.
 */
export function forgeBackend(forge: Forge, p256?: Pick<Curve, 'generate'>): Backend {
  return {
    name: 'node-forge',
    sha256: async (data) => bytes(forge.md.sha256.create().update(toBinary(data)).digest()),
    hmac: async (hash, key, data) => {
      const hmac = forge.hmac.create()
      hmac.start(hash === 'SHA-256' ? 'sha256' : 'sha512', toBinary(key))
      hmac.update(toBinary(data))
      return bytes(hmac.digest())
    },
    cbcEncrypt: async (key, iv, plaintext) =>
      run(forge, forge.cipher.createCipher('AES-CBC', toBinary(key)), iv, plaintext),
    cbcDecrypt: async (key, iv, ciphertext) =>
      run(forge, forge.cipher.createDecipher('AES-CBC', toBinary(key)), iv, ciphertext),
    ...(p256 === undefined ? {} : { p256 }),
  }
}
