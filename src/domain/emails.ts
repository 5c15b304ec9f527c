/** RFC 5321, section 4.5.3.1.3: a path has 256 octets, of which `<` and `>` are two. */
const MAX_BYTES = 254
/** Letters of any script. What only quotes or comments of RFC 5322 could hold is not taken, nor what cannot be seen. */
const PART = String.raw`[^\s@"(),:;<>[\\\]\p{Cc}\p{Cf}\p{Cs}]`
const EMAIL = new RegExp(String.raw`^${PART}+@(?:(?!\.)${PART})+(?:\.(?:(?!\.)${PART})+)*$`, 'u')

/**
 * An email address in the one form that is kept and compared: in NFKC (Unicode Standard Annex 15), without spaces around
 * it, in lower case, at most 254 bytes of UTF-8. Taken again it stays as it is.
 * @returns `null` for what is no email address.
 */
export function normalEmail(text: string): string | null {
  const email = text.normalize('NFKC').trim().toLowerCase().normalize('NFKC')
  return EMAIL.test(email) && Buffer.byteLength(email) <= MAX_BYTES ? email : null
}
