import { createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { open, seal } from '../../src/crypto/aead.ts'
import { componentDigest, fingerprintOf } from '../../src/crypto/fingerprint.ts'
import { ed25519Key, p256SigningKey, thumbprint } from '../../src/crypto/jwk.ts'
import { type Agreed, type StaticKey, staticKey } from '../../src/crypto/kex.ts'
import { leaseHardware, signEs256 } from '../../src/crypto/lease.ts'
import {
  openReply,
  openRequest,
  padded,
  recordKeys,
  sealReply,
  sealRequest,
  tokenHashOf,
} from '../../src/crypto/records.ts'
import { openHello, schedule, sealHello, transcriptHash } from '../../src/crypto/schedule.ts'
import type { SealedSuite } from '../../src/crypto/suites.ts'
import { xwingKey } from '../../src/crypto/xwing.ts'

const vectors = JSON.parse(readFileSync(new URL('../vectors/dsk1.json', import.meta.url), 'utf8'))
const hex = (text: string) => Buffer.from(text, 'hex')

/** What the published handshake came to. X-Wing's encapsulation draws its own randomness, so S3 is opened from the client's side. */
function published(suite: SealedSuite, key: StaticKey): Agreed {
  const vector = vectors[suite]
  if (suite !== 'S3') return key.prepare(hex(vector.server_eph_priv))(hex(vector.c_pub)) as Agreed
  const own = key.prepare()(hex(vector.c_pub)) as Agreed
  const ss2 = xwingKey(hex(vector.client_eph_seed)).decapsulate(hex(vector.s_pub)) as Buffer
  return { ...own, serverPublic: hex(vector.s_pub), ss2 }
}

for (const suite of ['S1', 'S2', 'S3'] as const) {
  const vector = vectors[suite]
  const key = staticKey(suite, hex(suite === 'S3' ? vector.static_seed : vector.static_priv))
  const agreed = published(suite, key)
  const handshake = {
    ...{ suite, kid: vector.kid, staticPublic: hex(vector.S_pub), clientPublic: hex(vector.c_pub) },
    ...{
      sessionId: vector.session_id,
      expiresInS: vector.expires_in,
      serverPublic: agreed.serverPublic,
    },
  }
  const th = transcriptHash(handshake)
  const keys = schedule(suite, agreed.ss1, agreed.ss2, th)
  const records = recordKeys(suite, vector.session_id, hex(vector.session_key), hex(vector.session_iv))
  const { request, response } = vector
  const sent = {
    ...{ seq: request.seq, op: request.op, salt: hex(request.salt) },
    tokenHash: tokenHashOf(vector.access_token),
  }
  const answered = { ...sent, salt: hex(response.salt), requestHash: hex(request.rh) }

  t.test(`${suite}: the handshake equals the published vector, from the keys to the hello box`, async (t) => {
    t.equal(key.kid, vector.kid)
    t.equal(key.publicKey.toString('hex'), vector.S_pub)
    t.equal(agreed.serverPublic.toString('hex'), vector.s_pub)
    t.equal(agreed.ss1.toString('hex'), vector.ss1)
    t.equal(agreed.ss2.toString('hex'), vector.ss2)
    t.equal(th.toString('hex'), vector.th)
    t.equal(keys.helloKey.toString('hex'), vector.hello_key)
    t.equal(keys.sessionKey.toString('hex'), vector.session_key)
    t.equal(keys.sessionIv.toString('hex'), vector.session_iv)
    const plaintext = Buffer.from(vector.hello_plaintext)
    t.equal(sealHello(suite, keys.helloKey, th, plaintext).toString('hex'), vector.hello_box)
    t.same(openHello(suite, keys.helloKey, th, hex(vector.hello_box)), plaintext)
  })

  t.test(`${suite}: the records equal the published vector, request and reply`, async (t) => {
    t.equal(records.confirmation.toString('hex'), vector.cnf)
    t.equal(sent.tokenHash.toString('hex'), request.ath)
    const plaintext = padded(request.plaintext.trimEnd())
    const { box, requestHash } = sealRequest(records, sent, plaintext)
    t.equal(box.toString('hex'), request.box)
    t.equal(requestHash.toString('hex'), request.rh)
    t.same(openRequest(records, sent, box), { plaintext, requestHash })
    const reply = padded(response.plaintext.trimEnd())
    t.equal(sealReply(records, answered, reply).toString('hex'), response.box)
    t.same(openReply(records, answered, hex(response.box)), reply)
  })

  t.test(`${suite}: a request opens under nothing but what it was sealed under`, async (t) => {
    const box = hex(request.box)
    const other = Buffer.alloc(32, 1)
    const elsewhere = recordKeys(
      suite,
      vector.session_id.replace(/^./, '0'),
      hex(vector.session_key),
      hex(vector.session_iv),
    )
    t.equal(openRequest(records, { ...sent, seq: 2 }, box), null, 'other seq')
    t.equal(openRequest(records, { ...sent, op: 'lease.issue' }, box), null, 'other op')
    t.equal(openRequest(records, { ...sent, tokenHash: other }, box), null, 'other token')
    t.equal(openRequest(records, { ...sent, salt: other.subarray(16) }, box), null, 'other salt')
    t.equal(openRequest(elsewhere, sent, box), null, 'other session')
    t.equal(openRequest(records, sent, box.subarray(0, -1)), null, 'truncated tag')
    t.equal(openRequest(records, sent, Buffer.alloc(0)), null, 'empty')
    t.equal(openReply(records, { ...sent, requestHash: hex(request.rh) }, box), null, 'reflected')
    t.equal(openReply(records, { ...answered, requestHash: other }, hex(response.box)), null, 'another reply')
    const flips = Array.from({ length: box.length * 8 }, (_, bit) => {
      const flipped = Buffer.from(box)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      return openRequest(records, sent, flipped)
    })
    t.ok(
      flips.every((opened) => opened === null),
      'any one bit flipped',
    )
  })

  t.test(
    `${suite}: both sides of a fresh handshake have the same keys, and no two handshakes do`,
    async (t) => {
      const seen = new Set<string>()
      for (let i = 0; i < 20; i++) {
        const { serverPublic, ss1, ss2 } = key.prepare()(hex(vector.c_pub)) as Agreed
        const own = { ...handshake, serverPublic }
        seen.add(schedule(suite, ss1, ss2, transcriptHash(own)).sessionKey.toString('hex'))
        if (suite === 'S3') t.same(xwingKey(hex(vector.client_eph_seed)).decapsulate(serverPublic), ss2)
        else
          t.same(
            staticKey(suite, hex(vector.client_eph_priv)).prepare(hex(vector.static_priv))(serverPublic)?.ss1,
            ss2,
          )
      }
      t.equal(seen.size, 20)
    },
  )
}

const LOW_ORDER = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ecff${'ff'.repeat(29)}7f`,
  `edff${'ff'.repeat(29)}7f`,
  `eeff${'ff'.repeat(29)}7f`,
]

t.test('S1: points of low order and shares of other lengths agree on nothing', async (t) => {
  const key = staticKey('S1', hex(vectors.S1.static_priv))
  for (const point of LOW_ORDER) t.equal(key.prepare()(hex(point)), null, point)
  for (const length of [0, 31, 33, 65])
    t.equal(key.prepare()(Buffer.alloc(length, 9)), null, `${length} bytes`)
})

t.test('S2: points off the curve, compressed, hybrid or at infinity agree on nothing', async (t) => {
  const key = staticKey('S2', hex(vectors.S2.static_priv))
  const point = hex(vectors.S2.c_pub)
  const off = Buffer.from(point)
  off[64]! ^= 1
  const compressed = Buffer.concat([Buffer.from([2 + (point[64]! & 1)]), point.subarray(1, 33)])
  const hybrid = Buffer.concat([Buffer.from([6 + (point[64]! & 1)]), point.subarray(1)])
  const huge = Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 0xff)])
  for (const bad of [off, compressed, hybrid, huge, Buffer.from([0]), Buffer.alloc(65), point.subarray(1)])
    t.equal(key.prepare()(bad), null, bad.toString('hex'))
  t.ok(key.prepare()(point))
})

t.test(
  'S3: shares of other lengths, a broken ML-KEM key and low-order points agree on nothing',
  async (t) => {
    const key = staticKey('S3', hex(vectors.S3.static_seed))
    const share = hex(vectors.S3.c_pub)
    const change = (from: number, to: number, byte: number) => Buffer.from(share).fill(byte, from, to)
    t.equal(key.prepare()(share.subarray(1)), null)
    t.equal(key.prepare()(Buffer.concat([share, Buffer.from([0])])), null)
    t.equal(key.prepare()(change(1120, 1120 + 1184, 0xff)), null, 'coefficients above q')
    t.equal(key.prepare()(change(1088, 1120, 0)), null, 'X25519 half of the ciphertext')
    t.equal(key.prepare()(change(1120 + 1184, 2336, 0)), null, 'X25519 half of the fresh key')
    t.ok(
      key.prepare()(change(0, 8, 0xaa)),
      'ML-KEM rejects a wrong ciphertext implicitly: other keys, no error',
    )
  },
)

t.test('A256CBC-HS512 equals RFC 7518 B.3', async (t) => {
  const key = hex(Array.from({ length: 64 }, (_, i) => i.toString(16).padStart(2, '0')).join(''))
  const iv = hex('1af38c2dc2b96ffdd86694092341bc04')
  const aad = Buffer.from('The second principle of Auguste Kerckhoffs')
  const plaintext = Buffer.from(
    'A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience',
  )
  const box = seal('S2', key, iv, aad, plaintext)
  t.equal(box.subarray(0, 16).toString('hex'), '4affaaadb78c31c5da4b1b590d10ffbd')
  t.equal(
    box.subarray(-32).toString('hex'),
    '4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5',
  )
  t.same(open('S2', key, iv, aad, box), plaintext)
  for (const length of [0, 15, 16, 31, 32, 33, 47])
    t.equal(open('S2', key, iv, aad, box.subarray(0, length)), null)
  t.throws(() => seal('S2', key.subarray(1), iv, aad, plaintext), RangeError)
  t.throws(() => open('S1', key.subarray(32), iv, aad, box), RangeError)
})

t.test('signing keys have the published thumbprints, and that of RFC 7638 3.1 is theirs', async (t) => {
  t.equal(ed25519Key(hex(vectors.keys.jwt_seed)).kid, vectors.keys.jwt_kid)
  t.equal(p256SigningKey(hex(vectors.keys.lease_priv)).kid, vectors.keys.lease_kid)
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw'
  t.equal(thumbprint({ kty: 'RSA', n, e: 'AQAB' }), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
})

t.test('a lease has the published header, payload and hardware, and its signature verifies', async (t) => {
  const { payload, salt, jws } = vectors.lease
  const key = p256SigningKey(hex(vectors.keys.lease_priv))
  const components = Object.fromEntries(
    Object.entries(vectors.hwid.digest_hex as Record<string, string[]>).map(([type, digests]) => [
      type,
      digests.map(hex),
    ]),
  )
  t.same(leaseHardware(components, hex(salt)), payload.hw.c)
  const signed = signEs256('dsk-lease+jwt', payload, key)
  const [header, body, signature = ''] = signed.split('.')
  t.same([header, body], jws.split('.').slice(0, 2))
  const publicKey = createPublicKey({ key: key.publicJwk, format: 'jwk' })
  const input = Buffer.from(`${header}.${body}`)
  t.ok(
    verify(
      'sha256',
      input,
      { key: publicKey, dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    ),
  )
})

t.test('a fingerprint equals the published vector, in whatever order its types come', async (t) => {
  const { tool, norm, fp } = vectors.hwid
  const components = Object.entries(norm as Record<string, string[]>).map(
    ([type, values]): [string, Buffer[]] => [type, values.map((value) => componentDigest(tool, type, value))],
  )
  t.equal(fingerprintOf(Object.fromEntries(components)).toString('hex'), fp)
  t.equal(fingerprintOf(Object.fromEntries(components.reverse())).toString('hex'), fp)
})
