import { randomInt } from 'node:crypto'
import { fromB64u, toB64u } from '../../src/crypto/encoding.ts'
import { SIZES } from '../../src/crypto/suites.ts'
import type { GenuineServer, Twist } from '../genuine/server.ts'
import { CALL, type Request, SESSION } from '../http.ts'
import {
  type Adversary,
  type Attack,
  at,
  changedCall,
  changedHello,
  EVERY_SUITE,
  type Json,
  jsonOf,
} from './attack.ts'

const bytesOf = (text: unknown) => fromB64u(`${text}`) as Buffer

/** @param bit from the front, or from behind where it is negative. */
function flip(text: unknown, bit: number): string {
  const bytes = bytesOf(text)
  const at = bit < 0 ? bytes.length * 8 + bit : bit
  bytes.writeUInt8(bytes.readUInt8(at >> 3) ^ (0x80 >> (at & 7)), at >> 3)
  return toB64u(bytes)
}

const cut = (text: unknown, end: number) => toB64u(bytesOf(text).subarray(0, end))

const flipHex = (text: unknown) =>
  `${text}`.replace(/^./, (digit) => (Number.parseInt(digit, 16) ^ 1).toString(16))

/** The last of them X25519 does not look at, or only to tell a point's form. The transcript does. */
const FLIPPED: readonly (readonly [string, Adversary])[] = [
  ['the first bit of pub', changedHello(({ pub }) => ({ pub: flip(pub, 0) }))],
  ['the highest bit of the last byte of pub', changedHello(({ pub }) => ({ pub: flip(pub, -8) }))],
  ['session_id', changedHello(({ session_id }) => ({ session_id: flipHex(session_id) }))],
  ['expires_in', changedHello(({ expires_in }) => ({ expires_in: Number(expires_in) ^ 1 }))],
  ['the first bit of the hello box', changedHello(({ box }) => ({ box: flip(box, 0) }))],
  ['the last bit of the hello box', changedHello(({ box }) => ({ box: flip(box, -1) }))],
  ["the reply's salt", changedCall(({ salt }) => ({ salt: flip(salt, 0) }))],
  ['the first bit of the box', changedCall(({ box }) => ({ box: flip(box, 0) }))],
  ['the last bit of the box', changedCall(({ box }) => ({ box: flip(box, -1) }))],
]

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Sets the spare bits of the last character, where there are any. */
function withSpareBits(text: string): string {
  const last = ALPHABET.indexOf(text.slice(-1))
  return text.length % 4 === 0 ? text : text.slice(0, -1) + ALPHABET.charAt(last | 1)
}

/** Other ways to write the same bytes. What comes back unchanged cannot be written so. */
const SPOILERS: readonly (readonly [string, (text: string) => unknown])[] = [
  ['padded', (text) => text.padEnd(Math.ceil(text.length / 4) * 4, '=')],
  ['in the alphabet with + and /', (text) => text.replaceAll('-', '+').replaceAll('_', '/')],
  ['with spare bits set', withSpareBits],
  ['with a blank inside', (text) => `${text.slice(0, 8)} ${text.slice(8)}`],
  ['with a newline behind', (text) => `${text}\n`],
  ['in a list', (text) => [text]],
]

/** Plaintexts of chance length, so that boxes of each length modulo three come up. */
const ofAnyLength = (): Twist => {
  const lengthen = (plaintext: Json) => ({ ...plaintext, later: ' '.repeat(randomInt(768)) })
  return { hello: lengthen, reply: lengthen }
}

/** Answers until there is an answer that can be spoiled: one without - and _ is the same in either alphabet. */
function spoiled(request: Request, server: GenuineServer, field: string, spoil: (text: string) => unknown) {
  for (;;) {
    const reply = server.answer(request, ofAnyLength())
    const body = jsonOf(reply)
    const value = spoil(`${body[field]}`)
    if (reply.status !== 200) return reply
    if (value !== body[field]) return { ...reply, body: { ...body, [field]: value } }
  }
}

/** Who changes what passes, but little. */
export const TAMPERING: readonly Attack[] = [
  {
    name: 'flipped_bit',
    title: 'flips one bit of what the server sends',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [way, adversary] of FLIPPED) await play(way, adversary)
    },
  },
  {
    name: 'truncated_tag',
    title: 'cuts the tag of a box short, or off',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ suite, play }) => {
      const { tag } = SIZES[suite]
      for (const left of [0, 4, 8, 15, ...(tag > 16 ? [16, 31] : [])])
        await play(
          `${left} bytes left`,
          changedCall(({ box }) => ({ box: cut(box, bytesOf(box).length - tag + left) })),
        )
      await play(
        'a box shorter than a tag',
        changedCall(({ box }) => ({ box: cut(box, 8) })),
      )
      await play(
        'a hello box shorter than a tag',
        changedHello(({ box }) => ({ box: cut(box, 8) })),
      )
    },
  },
  {
    name: 'lenient_base64',
    title: 'writes the same bytes in base64url that no encoder writes',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [path, field] of [
        [SESSION, 'pub'],
        [CALL, 'salt'],
        [CALL, 'box'],
      ] as const)
        for (const [way, spoil] of SPOILERS)
          await play(
            `${field} ${way}`,
            at(path, (request, server) => spoiled(request, server, field, spoil)),
          )
    },
  },
]
