import { AppError } from '../errors.ts'
import type { Licence } from '../store/licences.ts'
import type { LegacyTexts, Product } from '../store/products.ts'

/** What an operator may write, in characters, as wide as the columns are. */
const LIMITS = {
  name: 128,
  customer: 255,
  reason: 255,
  sk: 1024,
  sck: 1024,
  maintenance: 255,
  status1Text: 1024,
  tokenName: 64,
  fullName: 255,
} as const

/** Names are printed on terminals, where a control character could pretend to be something else, or turn the line around. */
const ONE_LINE = new Set(['name', 'customer', 'reason', 'tokenName', 'fullName'])
const OUT_OF_LINE = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u
const REQUIRED = new Set(['name', 'customer', 'tokenName', 'fullName'])

/**
 * Refuses texts that the columns could not hold, before anything is written.
 * @throws {AppError} `invalid_argument`, with the name of the text.
 */
export function requireTexts(
  texts: { readonly [K in keyof typeof LIMITS]?: string | null | undefined },
): void {
  const refuse = (detail: string): never => {
    throw new AppError('invalid_argument', { detail })
  }
  for (const [name, max] of Object.entries(LIMITS)) {
    const text = texts[name as keyof typeof LIMITS]
    if (text === null || text === undefined) continue
    if ([...text].length > max) refuse(`the ${name} is longer than ${max} characters`)
    if (ONE_LINE.has(name) && OUT_OF_LINE.test(text)) refuse(`the ${name} has control characters in it`)
    if (REQUIRED.has(name) && text.trim() === '') refuse(`the ${name} is empty`)
  }
}

/** What a tool is told after a good check: the licence's own texts, and the product's for the rest. */
export function textsFor(licence: Licence, product: Product): LegacyTexts {
  return {
    sk: licence.sk ?? product.sk,
    sck: licence.sck ?? product.sck,
    maintenance: licence.maintenance ?? product.maintenance,
    status1Text: licence.status1Text ?? product.status1Text,
  }
}

/** Control characters, and those that are not seen but turn or hide what is. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}]+/gu

/** One line of somebody else's text: what is not seen and rows of blanks become one blank, and it is cut to `max` characters. */
export function tidied(text: string, max: number): string {
  const seen = text.replace(UNSEEN, ' ').replace(/\s+/g, ' ').trim()
  return [...seen].slice(0, max).join('').trimEnd()
}
