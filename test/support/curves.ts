/**
 * X25519 and P-256 in plain arithmetic on big integers, to hold OpenSSL's results against: slow, not constant in
 * time, and for tests alone.
 */

function modulo(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus
  return rest < 0n ? rest + modulus : rest
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  let square = modulo(base, modulus)
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus
    square = (square * square) % modulus
  }
  return result
}

/** By Fermat's little theorem; 0 for 0. */
const inverse = (value: bigint, prime: bigint) => power(value, prime - 2n, prime)

/** Euler's criterion. */
const isSquare = (value: bigint, prime: bigint) => power(value, (prime - 1n) / 2n, prime) <= 1n

const toBytes = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex')
const fromBytes = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
const toLittleEndian = (value: bigint) => toBytes(value).reverse()
const fromLittleEndian = (bytes: Uint8Array) => fromBytes(Buffer.from(bytes).reverse())

/** The prime of Curve25519 (RFC 7748 section 4.1). */
const P25519 = 2n ** 255n - 19n
const A25519 = 486662n

/** The u-coordinate's 32 bytes, reduced or not. @param u less than 2^256. */
export const uCoordinate = toLittleEndian
export const U_PRIME = P25519

/** Whether a u-coordinate belongs to Curve25519 itself; every other one belongs to its twist. */
export function isOnCurve25519(u: Uint8Array): boolean {
  const x = fromLittleEndian(u) % 2n ** 255n
  return isSquare(modulo(x * (x * (x + A25519) + 1n), P25519), P25519)
}

/** X25519 (RFC 7748 section 5) of 32 bytes and 32 bytes, by the Montgomery ladder; all zero for a point of low order. */
export function x25519ByHand(secret: Uint8Array, u: Uint8Array): Buffer {
  const clamped = (fromLittleEndian(secret) & (2n ** 254n - 8n)) | (1n << 254n)
  const base = (fromLittleEndian(u) & (2n ** 255n - 1n)) % P25519
  // (lowX : lowZ) is n times the base point and (highX : highZ) n + 1 times, for the bits n of the scalar so far.
  let [lowX, lowZ, highX, highZ] = [1n, 0n, base, 1n]
  for (let bit = 254n; bit >= 0n; bit--) {
    const isSet = (clamped >> bit) & 1n
    if (isSet) [lowX, lowZ, highX, highZ] = [highX, highZ, lowX, lowZ]
    const [sum, difference] = [lowX + lowZ, lowX - lowZ]
    const [left, right] = [(highX - highZ) * sum, (highX + highZ) * difference]
    const [sumSquare, differenceSquare] = [sum ** 2n % P25519, difference ** 2n % P25519]
    const gap = sumSquare - differenceSquare
    highX = (left + right) ** 2n % P25519
    highZ = (base * ((left - right) ** 2n % P25519)) % P25519
    lowX = (sumSquare * differenceSquare) % P25519
    lowZ = (gap * (differenceSquare + ((A25519 + 2n) / 4n) * gap)) % P25519
    if (isSet) [lowX, lowZ, highX, highZ] = [highX, highZ, lowX, lowZ]
  }
  return toLittleEndian(modulo(lowX * inverse(lowZ, P25519), P25519))
}

/** P-256 (SP 800-186 section 3.2.1.3): y^2 = x^3 - 3x + b. */
const P256 = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n
const B256 = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn
const G256: Jacobian = [
  0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
  1n,
]
export const P256_PRIME = P256
/** How many points P-256 has. */
export const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** (X : Y : Z) stands for the point (X/Z^2, Y/Z^3), and Z = 0 for the point at infinity. */
type Jacobian = readonly [x: bigint, y: bigint, z: bigint]

function double([x, y, z]: Jacobian): Jacobian {
  const ySquare = y ** 2n % P256
  const s = (4n * x * ySquare) % P256
  const m = (3n * (x - z ** 2n) * (x + z ** 2n)) % P256
  const x2 = modulo(m ** 2n - 2n * s, P256)
  return [x2, modulo(m * (s - x2) - 8n * ySquare ** 2n, P256), (2n * y * z) % P256]
}

function add(a: Jacobian, b: Jacobian): Jacobian {
  if (a[2] === 0n) return b
  if (b[2] === 0n) return a
  const [aSquare, bSquare] = [a[2] ** 2n % P256, b[2] ** 2n % P256]
  const [u, s] = [(a[0] * bSquare) % P256, (a[1] * bSquare * b[2]) % P256]
  const [h, r] = [modulo(b[0] * aSquare - u, P256), modulo(b[1] * aSquare * a[2] - s, P256)]
  if (h === 0n) return r === 0n ? double(a) : [1n, 1n, 0n]
  const hSquare = h ** 2n % P256
  const hCube = (hSquare * h) % P256
  const x = modulo(r ** 2n - hCube - 2n * u * hSquare, P256)
  return [x, modulo(r * (u * hSquare - x) - s * hCube, P256), (h * a[2] * b[2]) % P256]
}

/** @returns `04 || X || Y`, 65 bytes. */
function multiple(scalar: bigint, point: Jacobian): Buffer {
  let result: Jacobian = [1n, 1n, 0n]
  for (const bit of scalar.toString(2)) {
    result = double(result)
    if (bit === '1') result = add(result, point)
  }
  const zInverse = inverse(result[2], P256)
  const zSquare = zInverse ** 2n % P256
  return p256Point((result[0] * zSquare) % P256, (result[1] * zSquare * zInverse) % P256)
}

/** `04 || X || Y` of any two numbers below 2^256, on the curve or not. */
export function p256Point(x: bigint, y: bigint): Buffer {
  return Buffer.concat([Buffer.from([4]), toBytes(x), toBytes(y)])
}

/** @returns the even y of the point at x, or `null` where there is none. */
export function p256EvenY(x: bigint): bigint | null {
  const square = modulo(x ** 3n - 3n * x + B256, P256)
  const y = power(square, (P256 + 1n) / 4n, P256)
  if (y ** 2n % P256 !== square) return null
  return y & 1n ? P256 - y : y
}

/** The public key of a scalar of 32 bytes. */
export const p256PublicByHand = (secret: Uint8Array) => multiple(fromBytes(secret), G256)

/** ECDH (SP 800-56A section 5.7.1.2): the 32 bytes of the X-coordinate. @param peer a point on the curve. */
export function p256ByHand(secret: Uint8Array, peer: Uint8Array): Buffer {
  const point = [fromBytes(peer.subarray(1, 33)), fromBytes(peer.subarray(33)), 1n] as const
  return multiple(fromBytes(secret), point).subarray(1, 33)
}
