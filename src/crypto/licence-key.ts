import type { KeyObject } from 'node:crypto'
import { hmac, hmacKeyOf, sha256 } from './digests.ts'
import { lp } from './encoding.ts'

/** Crockford's base32 alphabet: no I, L, O or U. */
export const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

const SYMBOLS = 25
const CHECK_SYMBOL = lp('dsk1/lk')
const AT_REST = lp('dsk1/lk-rest')
const KEY = /^[0-9A-HJKMNP-TV-Z]{25}$/

/** 25 symbols in upper case, no dashes: what is hashed. */
export type LicenceKey = string & { readonly kind: 'LicenceKey' }

/** Crockford base32 of `bytes`, five bits a symbol, most significant first. The length must be a multiple of 5 bytes. */
export function toCrockford(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = (value << 8) | byte
    for (bits += 8; bits >= 5; bits -= 5) text += CROCKFORD[(value >>> (bits - 5)) & 31]
    value &= (1 << bits) - 1
  }
  return text
}

function checkSymbol(first24: string): string {
  return CROCKFORD.charAt(sha256(CHECK_SYMBOL, lp(first24)).readUInt8(0) >> 3)
}

/**
 * Makes a licence key.
 * @param random 15 random bytes (120 bits).
 */
export function licenceKeyFrom(random: Uint8Array): LicenceKey {
  const first24 = toCrockford(random)
  return (first24 + checkSymbol(first24)) as LicenceKey
}

/** A licence key as a person typed it, made even: upper case, no spaces or dashes, O read as 0, I and L as 1. */
export function normaliseLicenceKey(text: string): string {
  return text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1')
}

/**
 * Reads a licence key as a person typed it.
 * @returns the key, or `null` when it has not 25 symbols of the alphabet or its check symbol is wrong. The check
 *   symbol helps against typing errors; it is no security.
 */
export function parseLicenceKey(text: string): LicenceKey | null {
  const symbols = normaliseLicenceKey(text)
  if (!KEY.test(symbols)) return null
  const valid = symbols.charAt(SYMBOLS - 1) === checkSymbol(symbols.slice(0, SYMBOLS - 1))
  return valid ? (symbols as LicenceKey) : null
}

/** A key as people read it: `XXXXX-XXXXX-XXXXX-XXXXX-XXXXX`. */
export function formatLicenceKey(key: LicenceKey): string {
  return key.replace(/.{5}(?=.)/g, '$&-')
}

/** What the database keeps of a licence key: a 32-byte HMAC-SHA-256 under the licence pepper. */
export function licenceKeyAtRest(pepper: KeyObject, key: LicenceKey): Buffer {
  return hmac(hmacKeyOf(pepper), AT_REST, lp(key))
}
