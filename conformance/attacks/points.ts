import { createHash, createPublicKey, encapsulate } from 'node:crypto'
import { toB64u } from '../../src/crypto/encoding.ts'
import type { Agreed } from '../../src/crypto/kex.ts'
import { type Attack, serverWith } from './attack.ts'
import { pointOfOrderThree } from './invalid-curve.ts'

const hex = (text: string) => Buffer.from(text, 'hex')
const ZEROS = Buffer.alloc(32)

/** The points of X25519 with which every key agrees on zero (RFC 7748 section 6.1), three of them written above p. */
const LOW_ORDER: readonly Buffer[] = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
].map(hex)

const MLKEM_PUBLIC_BYTES = 1184
const XWING_CIPHERTEXT_BYTES = 1120
const XWING_LABEL = hex('5c2e2f2f5e5c')

/** X-Wing's encapsulation to the client's fresh key, with a point in place of the X25519 share. */
function xwingWith(point: Buffer, clientPublic: Buffer): Pick<Agreed, 'serverPublic' | 'ss2'> {
  const fresh = clientPublic.subarray(XWING_CIPHERTEXT_BYTES)
  const pub = toB64u(fresh.subarray(0, MLKEM_PUBLIC_BYTES))
  const { ciphertext, sharedKey } = encapsulate(
    createPublicKey({ key: { kty: 'AKP', alg: 'ML-KEM-768', pub }, format: 'jwk' }),
  )
  const parts = [sharedKey, ZEROS, point, fresh.subarray(MLKEM_PUBLIC_BYTES), XWING_LABEL]
  const ss2 = createHash('sha3-256').update(Buffer.concat(parts)).digest()
  return { serverPublic: Buffer.concat([ciphertext, point]), ss2 }
}

/** X and the parity of Y (SEC 1 section 2.3.3). */
function compressed(point: Buffer): Buffer {
  return Buffer.concat([hex(point.readUInt8(64) & 1 ? '03' : '02'), point.subarray(1, 33)])
}

function hybrid(point: Buffer): Buffer {
  return Buffer.concat([hex(point.readUInt8(64) & 1 ? '07' : '06'), point.subarray(1)])
}

const INFINITY: readonly (readonly [string, Buffer])[] = [
  ['infinity', hex('00')],
  ['the origin', Buffer.concat([hex('04'), Buffer.alloc(64)])],
]

const ORDER_THREE_TRIES = 4

/**
 * Shares with which a client that does not look agrees on what anybody can compute. The box is sealed accordingly, with
 * the true static key: it opens for whoever takes the share.
 */
export const POINTS: readonly Attack[] = [
  {
    name: 'low_order_point',
    title: 'sends a share with which every key agrees on zero',
    suites: ['S1', 'S3'],
    expect: 'unavailable',
    play: async ({ suite, play }) => {
      for (const point of LOW_ORDER) {
        const agree = (agreed: Agreed, clientPublic: Buffer): Agreed =>
          suite === 'S3'
            ? { ...agreed, ...xwingWith(point, clientPublic) }
            : { ...agreed, serverPublic: point, ss2: ZEROS }
        await play(point.toString('hex'), serverWith({ agree }))
      }
    },
  },
  {
    name: 'invalid_point',
    title: 'sends a share off the curve, at infinity or in another form',
    suites: ['S2'],
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [way, form] of [
        ['compressed', compressed],
        ['hybrid', hybrid],
      ] as const) {
        const agree = (agreed: Agreed) => ({ ...agreed, serverPublic: form(agreed.serverPublic) })
        await play(way, serverWith({ agree }))
      }
      for (const [way, serverPublic] of INFINITY)
        await play(way, serverWith({ agree: (agreed) => ({ ...agreed, serverPublic, ss2: ZEROS }) }))
      // Of three multiples one is infinity, with which nobody agrees on anything.
      for (let n = 1; n <= ORDER_THREE_TRIES; n++) {
        const { serverPublic, x } = pointOfOrderThree()
        const agree = (agreed: Agreed) => ({ ...agreed, serverPublic, ss2: x })
        await play(`of order three on another curve, ${n}`, serverWith({ agree }))
      }
    },
  },
]
