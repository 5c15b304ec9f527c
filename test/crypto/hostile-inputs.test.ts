import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import t, { type Test } from 'tap'
import { open, seal } from '../../src/crypto/aead.ts'
import { type Agreed, kexKeyId, staticKey } from '../../src/crypto/kex.ts'
import { openRequest, recordKeys, sealReply, sealRequest } from '../../src/crypto/records.ts'
import { schedule, transcriptHash } from '../../src/crypto/schedule.ts'
import { BOX_MAX_BYTES, type SealedSuite, SIZES } from '../../src/crypto/suites.ts'
import { x25519, x25519Private, x25519Public } from '../../src/crypto/x25519.ts'
import { derived, flipped, hex } from '../support/bytes.ts'
import {
  isOnCurve25519,
  P256_ORDER,
  P256_PRIME,
  p256ByHand,
  p256EvenY,
  p256Point,
  p256PublicByHand,
  U_PRIME,
  uCoordinate,
  x25519ByHand,
} from '../support/curves.ts'
import { forgeHmac } from '../support/forge.ts'

const SUITES = ['S1', 'S2', 'S3'] as const
const NOTHING = Buffer.alloc(0)
const secret = derived('hostile/secret', 32)
const s1 = staticKey('S1', secret)
const s2 = staticKey('S2', secret)

/** The session key a server comes to, with its ephemeral key and all else held still. */
function sessionKeyOf(suite: 'S1' | 'S2', clientPublic: Buffer): string {
  const key = suite === 'S1' ? s1 : s2
  const { ss1, ss2, serverPublic } = key.prepare(derived('hostile/ephemeral', 32))(clientPublic) as Agreed
  const shares = { kid: key.kid, staticPublic: key.publicKey, clientPublic, serverPublic }
  const th = transcriptHash({ suite, ...shares, sessionId: 'ab'.repeat(32), expiresInS: 300 })
  return schedule(suite, ss1, ss2, th).sessionKey.toString('hex')
}

/** The points of order 1, 2, 4 and 8 of curve and twist that need no reduction. */
const LOW_ORDER = [
  0n,
  1n,
  U_PRIME - 1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
]

t.test('S1: a point of low order agrees on nothing, reduced or not, top bit set or not', async (t) => {
  const encodings = LOW_ORDER.flatMap((u) => [u, u + U_PRIME])
    .filter((u) => u < 2n ** 255n)
    .flatMap((u) => [u, u + 2n ** 255n])
    .map(uCoordinate)
  t.equal(encodings.length, 14)
  for (const u of encodings) {
    t.same(x25519ByHand(secret, u), Buffer.alloc(32), 'it is of low order')
    t.equal(s1.prepare()(u), null, u.toString('hex'))
  }
})

t.test(
  'S1: every other u-coordinate gives what RFC 7748 says: on curve or twist, reduced or not',
  async (t) => {
    const edges = [2n, 3n, 9n, 2n ** 254n, 2n ** 255n - 1n, U_PRIME - 2n, U_PRIME + 9n].map(uCoordinate)
    const unreduced = Array.from({ length: 17 }, (_, i) => uCoordinate(U_PRIME + 2n + BigInt(i)))
    const random = Array.from({ length: 40 }, (_, i) => derived(`hostile/u/${i}`, 32))
    const all = [...edges, ...unreduced, ...random]
    t.ok(all.filter(isOnCurve25519).length > 10, 'some are on the curve')
    t.ok(all.filter((u) => !isOnCurve25519(u)).length > 10, 'some are on the twist')
    for (const u of all) t.same(s1.prepare()(u)?.ss1, x25519ByHand(secret, u), u.toString('hex'))
  },
)

t.test('S1: a private key of any 32 bytes is clamped', async (t) => {
  for (const scalar of [
    Buffer.alloc(32),
    Buffer.alloc(32, 0xff),
    ...[0, 1, 2, 254, 255].map((bit) => flipped(secret, bit)),
  ])
    t.same(
      x25519(x25519Private(scalar), x25519Public(s1.publicKey)),
      x25519ByHand(scalar, s1.publicKey),
      scalar.toString('hex'),
    )
})

t.test('S1: another writing of the same point has the same secret and another session key', async (t) => {
  const [nine, unreduced] = [uCoordinate(9n), uCoordinate(U_PRIME + 9n)]
  t.same(s1.prepare()(nine)?.ss1, s1.prepare()(unreduced)?.ss1)
  t.not(sessionKeyOf('S1', nine), sessionKeyOf('S1', unreduced))
})

/** x-coordinates at the edges of the arithmetic, as far as there is a point. */
const EDGES_X = [
  0n,
  1n,
  2n,
  3n,
  5n,
  2n ** 32n,
  2n ** 96n,
  2n ** 224n,
  P256_PRIME - 1n,
  P256_PRIME - 3n,
  P256_PRIME - 5n,
]

t.test('S2: points at the edges agree on what plain arithmetic says, with leading zeros', async (t) => {
  const points = EDGES_X.flatMap((x) => {
    const y = p256EvenY(x)
    return y === null ? [] : [p256Point(x, y), p256Point(x, P256_PRIME - y)]
  })
  t.ok(points.length >= 10)
  for (const point of points)
    t.same(s2.prepare()(point)?.ss1, p256ByHand(secret, point), point.toString('hex'))
  const one = staticKey('S2', hex(`${'00'.repeat(31)}01`))
  t.same(one.prepare()(points[0]!)?.ss1, Buffer.alloc(32), 'x = 0 is a point, and its secret 32 zeros')
})

t.test('S2: the greatest and the least scalar are keys, 0 and n are none', async (t) => {
  const scalar = (value: bigint) => hex(value.toString(16).padStart(64, '0'))
  for (const value of [1n, 2n, P256_ORDER - 1n])
    t.same(staticKey('S2', scalar(value)).publicKey, p256PublicByHand(scalar(value)))
  for (const value of [0n, P256_ORDER, P256_ORDER + 1n, 2n ** 256n - 1n])
    t.throws(() => staticKey('S2', scalar(value)), `${value}`)
})

t.test('S2: a coordinate that is not reduced agrees on nothing', async (t) => {
  let tried = 0
  for (let x = 0n; x < 64n; x++) {
    const y = p256EvenY(x)
    if (y === null) continue
    t.ok(s2.prepare()(p256Point(x, y)), 'the point itself does')
    t.equal(s2.prepare()(p256Point(x + P256_PRIME, y)), null, `x = p + ${x}`)
    tried++
  }
  t.ok(tried > 20)
})

t.test('S2: points of other curves agree on nothing, of small order least of all', async (t) => {
  for (let i = 1; i <= 64; i++) {
    const x = BigInt(`0x${derived(`hostile/x/${i}`, 32).toString('hex')}`) % P256_PRIME
    const y = p256EvenY(x)
    t.equal(s2.prepare()(p256Point(x, 0n)), null, 'y = 0, of order 2 on its curve')
    t.equal(s2.prepare()(p256Point(x, (y ?? 0n) + 2n)), null, 'next to the curve, or x of the twist')
  }
})

t.test(
  'S2: any one bit of a point flipped agrees on nothing, and no longer or shorter share does',
  async (t) => {
    const point = p256PublicByHand(derived('hostile/client', 32))
    const y = BigInt(`0x${point.subarray(33).toString('hex')}`)
    const opposite = p256Point(BigInt(`0x${point.subarray(1, 33).toString('hex')}`), P256_PRIME - y)
    // Of the two, one is a right hybrid point when its first byte is 06.
    for (const whole of [point, opposite]) {
      t.ok(s2.prepare()(whole))
      for (let bit = 0; bit < 8 * whole.length; bit++)
        t.equal(s2.prepare()(flipped(whole, bit)), null, `bit ${bit}`)
    }
    for (const length of [0, 1, 33, 64])
      t.equal(s2.prepare()(point.subarray(0, length)), null, `${length} bytes`)
    t.equal(s2.prepare()(Buffer.concat([point, hex('00')])), null, '66 bytes')
  },
)

t.test('S2: the opposite point has the same secret and another session key', async (t) => {
  const y = p256EvenY(5n) as bigint
  const [point, opposite] = [p256Point(5n, y), p256Point(5n, P256_PRIME - y)]
  t.same(s2.prepare()(point)?.ss1, s2.prepare()(opposite)?.ss1)
  t.not(sessionKeyOf('S2', point), sessionKeyOf('S2', opposite))
})

t.test('one secret under two suites has two key ids', async (t) => {
  t.not(kexKeyId('S1', s1.publicKey), kexKeyId('S3', s1.publicKey))
})

const keyOf = (suite: SealedSuite) => derived('hostile/key', SIZES[suite].key)
const nonceOf = (suite: SealedSuite) => derived('hostile/nonce', SIZES[suite].nonce)
const aad = Buffer.from('associated data')

for (const suite of SUITES) {
  const [key, nonce] = [keyOf(suite), nonceOf(suite)]

  t.test(`${suite}: no part of a box opens, with all of its tag, some of it or none`, async (t) => {
    for (const size of [0, 1, 15, 16, 17, 256]) {
      const box = seal(suite, key, nonce, aad, derived('hostile/plaintext', size))
      t.equal(open(suite, key, nonce, aad, box)?.length, size)
      for (let length = 0; length < box.length; length++) {
        t.equal(open(suite, key, nonce, aad, box.subarray(0, length)), null, `${length} of ${box.length}`)
        t.equal(open(suite, key, nonce, aad, box.subarray(box.length - length)), null, `the last ${length}`)
      }
      for (const more of [1, 15, 16, 32])
        t.equal(open(suite, key, nonce, aad, Buffer.concat([box, Buffer.alloc(more)])), null, `${more} more`)
    }
  })

  t.test(`${suite}: a key or nonce of another length is an error of ours, never a weaker box`, async (t) => {
    const box = seal(suite, key, nonce, aad, NOTHING)
    for (const length of [0, 16, 24, 31, 33, 48, 63, 65].filter((bytes) => bytes !== key.length)) {
      const other = Buffer.alloc(length, 1)
      t.throws(() => seal(suite, other, nonce, aad, NOTHING), RangeError, `key of ${length}`)
      t.throws(() => open(suite, other, nonce, aad, box), RangeError, `key of ${length}`)
    }
    for (const length of [0, 1, 8, 11, 12, 13, 15, 16, 17].filter((bytes) => bytes !== nonce.length)) {
      const other = Buffer.alloc(length, 1)
      t.throws(() => seal(suite, key, other, aad, NOTHING), RangeError, `nonce of ${length}`)
      t.throws(() => open(suite, key, other, aad, box), RangeError, `nonce of ${length}`)
    }
  })

  t.test(`${suite}: no box is opened or made that is longer than the longest`, async (t) => {
    const keys = recordKeys(suite, 'ab'.repeat(32), secret, nonce)
    const context = { seq: 1, op: 'ping', salt: derived('hostile/salt', 16), tokenHash: secret }
    const largest = Buffer.alloc(BOX_MAX_BYTES - SIZES[suite].tag - (suite === 'S2' ? 1 : 0))
    const { box, requestHash } = sealRequest(keys, context, largest)
    t.equal(box.length, BOX_MAX_BYTES)
    t.same(openRequest(keys, context, box), { plaintext: largest, requestHash })
    const larger = Buffer.alloc(largest.length + 1)
    t.throws(() => sealRequest(keys, context, larger), RangeError)
    t.throws(() => sealReply(keys, { ...context, requestHash }, larger), RangeError)
    t.equal(openRequest(keys, context, Buffer.alloc(BOX_MAX_BYTES + 1)), null)
  })
}

/** How often each function of node:crypto is called from now to the end of the test. */
function watch(t: Test, ...names: ('createDecipheriv' | 'timingSafeEqual')[]): Record<string, number> {
  const calls = Object.fromEntries(names.map((name) => [name, 0]))
  // Teardowns run last to first: the originals are back by then.
  t.teardown(syncBuiltinESMExports)
  for (const name of names) {
    const original = crypto[name] as (...args: unknown[]) => unknown
    t.intercept(crypto, name, {
      value: (...args: unknown[]) => {
        calls[name]! += 1
        return original(...args)
      },
    })
  }
  syncBuiltinESMExports()
  return calls
}

t.test(
  'S2: whatever is wrong in a box, its tag is compared once and no block of it is decrypted',
  async (t) => {
    const [key, nonce] = [keyOf('S2'), nonceOf('S2')]
    const box = seal('S2', key, nonce, aad, derived('hostile/plaintext', 250))
    const padding = 16 * 15 - 1
    const rightPadding = Array.from({ length: 256 }, (_, bit) => flipped(box, 8 * (box.length - 32) + bit))
    // The last byte before the last block decides what the padding decrypts to.
    const anyPadding = Array.from({ length: 255 }, (_, i) => {
      const changed = Buffer.from(box)
      changed[padding]! ^= i + 1
      return changed
    })
    const calls = watch(t, 'createDecipheriv', 'timingSafeEqual')
    for (const forged of [rightPadding, anyPadding]) {
      const opened = forged.map((one) => open('S2', key, nonce, aad, one))
      t.ok(opened.every((plaintext) => plaintext === null))
      t.same(calls, { createDecipheriv: 0, timingSafeEqual: forged.length })
      calls.timingSafeEqual = 0
    }
    t.equal(open('S2', key, nonce, aad, box)?.length, 250)
    t.same(calls, { createDecipheriv: 1, timingSafeEqual: 1 }, 'a right one is both compared and decrypted')
  },
)

t.test('S2: a wrong padding behind a right tag opens nothing either', async (t) => {
  const [key, nonce] = [keyOf('S2'), nonceOf('S2')]
  const aadBits = Buffer.alloc(8)
  aadBits.writeBigUInt64BE(BigInt(8 * aad.length))
  const boxEndingIn = (end: string) => {
    const block = Buffer.alloc(16, 0xaa)
    hex(end).copy(block, 16 - end.length / 2)
    const cipher = crypto.createCipheriv('aes-256-cbc', key.subarray(32), nonce).setAutoPadding(false)
    const ciphertext = Buffer.concat([cipher.update(block), cipher.final()])
    const tag = forgeHmac('sha512', key.subarray(0, 32), aad, nonce, ciphertext, aadBits).subarray(0, 32)
    return Buffer.concat([ciphertext, tag])
  }
  t.same(open('S2', key, nonce, aad, boxEndingIn('01')), Buffer.alloc(15, 0xaa), 'a right padding does')
  for (const end of ['00', '11', 'ff', '0102', '020303', '10'])
    t.equal(open('S2', key, nonce, aad, boxEndingIn(end)), null, end)
})
