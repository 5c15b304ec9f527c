/**
 * Encodings shared by every byte format of the protocol. All of them are injective: a variable-length input is
 * preceded by its length, and a decoder accepts exactly the strings that its encoder makes.
 */

const B64U = /^[A-Za-z0-9_-]*$/

/** One unsigned byte. `value` is 0..255. */
export function u8(value: number): Buffer {
  return Buffer.from([value])
}

/**
 * Length-prefixed bytes: a two-byte big-endian length, then the bytes (text as UTF-8).
 * @throws {RangeError} when the input is longer than 65,535 bytes, or a text that UTF-8 cannot hold (half of a
 *   surrogate pair, which would come out as U+FFFD does).
 */
export function lp(value: string | Uint8Array): Buffer {
  const isText = typeof value === 'string'
  if (isText && !value.isWellFormed()) throw new RangeError('lp: the text is not Unicode')
  const length = isText ? Buffer.byteLength(value) : value.length
  if (length > 0xffff) throw new RangeError(`lp: ${length} bytes do not fit a two-byte length`)
  const out = Buffer.allocUnsafe(2 + length)
  out.writeUInt16BE(length, 0)
  if (isText) out.write(value, 2)
  else out.set(value, 2)
  return out
}

/** Unpadded base64url (RFC 4648 section 5). */
export function toB64u(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}

/**
 * Decodes unpadded base64url, or returns `null` for anything that {@link toB64u} would not have written:
 * other characters, padding, and spare tail bits that are not zero. Node's own decoder accepts all of these.
 */
export function fromB64u(text: string): Buffer | null {
  if (!B64U.test(text)) return null
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : null
}
