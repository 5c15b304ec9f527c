/**
 * Encodings of the protocol, for any JavaScript engine: no Buffer. All are injective, and decoders accept exactly the
 * strings that the encoders make.
 */

/** Bytes of their own memory, as WebCrypto wants them. */
export type Bytes = Uint8Array<ArrayBuffer>

const B64U = /^[A-Za-z0-9_-]*$/
const HEX = /^(?:[0-9a-f]{2})*$/

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function utf8(text: string): Bytes {
  return encoder.encode(text)
}

/** @throws {TypeError} for bytes that are no UTF-8. */
export function fromUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

/** One unsigned byte. */
export function u8(value: number): Bytes {
  return Uint8Array.of(value)
}

/** Four bytes, big-endian. */
export function u32(value: number): Bytes {
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, value)
  return out
}

/** Eight bytes, big-endian. `value` is a whole number below 2^53. */
export function u64(value: number): Bytes {
  const out = new Uint8Array(8)
  new DataView(out.buffer).setBigUint64(0, BigInt(value))
  return out
}

/**
 * Length-prefixed bytes: a two-byte big-endian length, then the bytes (text as UTF-8).
 * @throws {RangeError} when the input is longer than 65,535 bytes.
 */
export function lp(value: string | Uint8Array): Bytes {
  const bytes = typeof value === 'string' ? utf8(value) : value
  if (bytes.length > 0xffff) throw new RangeError(`lp: ${bytes.length} bytes do not fit a two-byte length`)
  return concat(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes)
}

/** Lower case. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** @returns `null` for anything but a text of pairs of lower-case hex digits. */
export function fromHex(text: unknown): Bytes | null {
  if (typeof text !== 'string' || !HEX.test(text)) return null
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

/** One character a byte, U+0000 to U+00FF: the strings of `btoa` and node-forge. */
export function toBinary(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

export function fromBinary(text: string): Bytes {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

/** Unpadded base64url (RFC 4648 section 5). */
export function toB64u(bytes: Uint8Array): string {
  return btoa(toBinary(bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/**
 * Decodes unpadded base64url, or returns `null` for anything that {@link toB64u} would not have written: other
 * characters, padding, an impossible length, spare tail bits that are not zero, and what is no text at all.
 */
export function fromB64u(text: unknown): Bytes | null {
  if (typeof text !== 'string' || !B64U.test(text) || text.length % 4 === 1) return null
  const bytes = fromBinary(atob(text.replaceAll('-', '+').replaceAll('_', '/')))
  return toB64u(bytes) === text ? bytes : null
}

/** Whether two byte strings are equal, in a time that depends on their lengths alone. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}
