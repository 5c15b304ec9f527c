import { randomBytes } from 'node:crypto'

/** NIST P-256 (SP 800-186 section 3.2.1.3): y² = x³ - 3x + b over the integers modulo this prime. */
const P = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n
const A = P - 3n

const mod = (value: bigint) => ((value % P) + P) % P

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let square = base, left = exponent; left > 0n; left >>= 1n, square = mod(square * square))
    if (left & 1n) result = mod(result * square)
  return result
}

const inverse = (value: bigint) => power(value, P - 2n)

/** @returns `null` where there is none. P is 3 modulo 4. */
function squareRoot(value: bigint): bigint | null {
  const root = power(value, (P + 1n) / 4n)
  return mod(root * root) === value ? root : null
}

const coordinate = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex')

/**
 * A point of order three on a curve that differs from P-256 in b alone, which the formulas for adding points do not
 * use: whoever multiplies it without a look at the curve gets the same x again, or infinity.
 * @returns the point, 65 bytes, and its x, 32 bytes.
 */
export function pointOfOrderThree(): { readonly serverPublic: Buffer; readonly x: Buffer } {
  const x = mod(BigInt(`0x${randomBytes(32).toString('hex')}`))
  // A point is of order three where 3x⁴ + 6ax² + 12bx - a² is zero; that settles b.
  const b = mod((A * A - 3n * power(x, 4n) - 6n * A * x * x) * inverse(mod(12n * x)))
  const y = squareRoot(mod(power(x, 3n) + A * x + b))
  if (y === null) return pointOfOrderThree()
  return { serverPublic: Buffer.concat([Buffer.from([4]), coordinate(x), coordinate(y)]), x: coordinate(x) }
}
