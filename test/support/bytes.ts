import { createHash } from 'node:crypto'

export const hex = (text: string): Buffer => Buffer.from(text, 'hex')

/** The bytes behind a name, the same wherever they are made: SHAKE256 (FIPS 202), as the published vectors have it. */
export function derived(name: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(`dsk1 vector/${name}`).digest()
}

/** A copy with one bit changed. @param bit counted from the most significant one of the first byte. */
export function flipped(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[bit >> 3]! ^= 0x80 >> (bit & 7)
  return copy
}
