import type { Bytes } from './encoding.ts'

/**
 * SHA3-256 (FIPS 202), as engines that have ML-KEM in WebCrypto need not have it. Lanes of 64 bits are two words of 32,
 * the low one first; nothing depends on the data but the data.
 */

const RATE_BYTES = 136
const DIGEST_BYTES = 32
const DOMAIN = 0x06
const LAST = 0x80
const WORDS = 50
const ROUNDS = 24
const SIDE = 5

type Lane = readonly [low: number, high: number]

/** Where lane (x, y) lies. */
const at = (x: number, y: number) => 2 * (x + SIDE * y)

function rotate([low, high]: Lane, by: number): Lane {
  const [a, b] = by & 32 ? [high, low] : [low, high]
  const n = by & 31
  return n === 0 ? [a, b] : [(a << n) | (b >>> (32 - n)), (b << n) | (a >>> (32 - n))]
}

/** Theta (section 3.2.1): each lane takes in the parity of two columns. */
function mixColumns(state: Uint32Array): void {
  const parity = (x: number, half: number) => {
    let word = 0
    for (let y = 0; y < SIDE; y++) word ^= state[at(x % SIDE, y) + half] ?? 0
    return word
  }
  const columns = Array.from({ length: SIDE }, (_, x): Lane => {
    const [low, high] = rotate([parity(x + 1, 0), parity(x + 1, 1)], 1)
    return [low ^ parity(x + 4, 0), high ^ parity(x + 4, 1)]
  })
  for (let i = 0; i < WORDS; i++) state[i] = (state[i] ?? 0) ^ (columns[(i >> 1) % SIDE]?.[i & 1] ?? 0)
}

/** Rho and pi (3.2.2, 3.2.3): each lane is turned and takes the place of another. */
function moveLanes(state: Uint32Array): void {
  let [x, y] = [1, 0]
  let moved: Lane = [state[at(x, y)] ?? 0, state[at(x, y) + 1] ?? 0]
  for (let t = 0; t < ROUNDS; t++) {
    ;[x, y] = [y, (2 * x + 3 * y) % SIDE]
    const turned = rotate(moved, (((t + 1) * (t + 2)) / 2) % 64)
    moved = [state[at(x, y)] ?? 0, state[at(x, y) + 1] ?? 0]
    state.set(turned, at(x, y))
  }
}

/** Chi (3.2.4): the one step that is not linear, row by row. */
function mixRows(state: Uint32Array): void {
  for (let y = 0; y < SIDE; y++) {
    const row = state.slice(at(0, y), at(SIDE, y))
    const word = (i: number) => row[i % row.length] ?? 0
    for (let i = 0; i < row.length; i++) state[at(0, y) + i] = word(i) ^ (~word(i + 2) & word(i + 4))
  }
}

/** Keccak-f[1600] (3.4). */
function permute(state: Uint32Array): void {
  let register = 1
  for (let round = 0; round < ROUNDS; round++) {
    mixColumns(state)
    moveLanes(state)
    mixRows(state)
    // Iota (3.2.5): seven bits of the round's constant, at positions 2^j - 1.
    for (let j = 0; j < 7; j++) {
      register = (register << 1) ^ ((register >> 7) * 0x171)
      const position = (1 << j) - 1
      if (register & 2) state[position >> 5] = (state[position >> 5] ?? 0) ^ (1 << (position & 31))
    }
  }
}

/** @returns 32 bytes. */
export function sha3(data: Uint8Array): Bytes {
  const input = new Uint8Array((Math.floor(data.length / RATE_BYTES) + 1) * RATE_BYTES)
  input.set(data)
  input[data.length] = DOMAIN
  input[input.length - 1] = (input[input.length - 1] ?? 0) | LAST
  const view = new DataView(input.buffer)
  const state = new Uint32Array(WORDS)
  for (let block = 0; block < input.length; block += RATE_BYTES) {
    for (let i = 0; i < RATE_BYTES / 4; i++) state[i] = (state[i] ?? 0) ^ view.getUint32(block + 4 * i, true)
    permute(state)
  }
  const digest = new DataView(new ArrayBuffer(DIGEST_BYTES))
  for (let i = 0; i < DIGEST_BYTES / 4; i++) digest.setUint32(4 * i, state[i] ?? 0, true)
  return new Uint8Array(digest.buffer)
}
