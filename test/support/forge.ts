import forge from 'node-forge'

/** Ciphers and hashes of node-forge, which is JavaScript alone: a second opinion on what OpenSSL computes. */

type Hash = 'sha256' | 'sha512'

const TAG_BYTES = 16

const toForge = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')
const fromForge = (buffer: { getBytes(): string }) => Buffer.from(buffer.getBytes(), 'latin1')

export function forgeHash(hash: Hash, message: Uint8Array): Buffer {
  return fromForge(forge.md[hash].create().update(toForge(message)).digest())
}

export function forgeHmac(hash: Hash, key: Uint8Array, ...message: Uint8Array[]): Buffer {
  const hmac = forge.hmac.create()
  hmac.start(hash, toForge(key))
  hmac.update(toForge(Buffer.concat(message)))
  return fromForge(hmac.digest())
}

/** AES-CBC with PKCS#7 padding. */
export function forgeCbc(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = forge.cipher.createCipher('AES-CBC', toForge(key))
  cipher.start({ iv: toForge(iv) })
  cipher.update(forge.util.createBuffer(toForge(plaintext)))
  cipher.finish()
  return fromForge(cipher.output)
}

/** @returns `null` for a wrong padding. */
export function forgeCbcOpen(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Buffer | null {
  const decipher = forge.cipher.createDecipher('AES-CBC', toForge(key))
  decipher.start({ iv: toForge(iv) })
  decipher.update(forge.util.createBuffer(toForge(ciphertext)))
  return decipher.finish() ? fromForge(decipher.output) : null
}

/** AES-GCM: `ciphertext || tag`, the tag 16 bytes. */
export function forgeGcm(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = forge.cipher.createCipher('AES-GCM', toForge(key))
  cipher.start({ iv: toForge(iv), additionalData: toForge(aad), tagLength: 8 * TAG_BYTES })
  cipher.update(forge.util.createBuffer(toForge(plaintext)))
  cipher.finish()
  return Buffer.concat([fromForge(cipher.output), fromForge(cipher.mode.tag)])
}

/** @returns `null` for a wrong tag. */
export function forgeGcmOpen(
  key: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  box: Uint8Array,
): Buffer | null {
  const decipher = forge.cipher.createDecipher('AES-GCM', toForge(key))
  const tag = forge.util.createBuffer(toForge(box.subarray(-TAG_BYTES)))
  decipher.start({ iv: toForge(iv), additionalData: toForge(aad), tagLength: 8 * TAG_BYTES, tag })
  decipher.update(forge.util.createBuffer(toForge(box.subarray(0, -TAG_BYTES))))
  return decipher.finish() ? fromForge(decipher.output) : null
}
