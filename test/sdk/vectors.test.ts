import t from 'tap'
import { open, seal } from '../../src/sdk/aead.ts'
import { toB64u, utf8 } from '../../src/sdk/encoding.ts'
import { finishHandshake, readPin, startHandshake } from '../../src/sdk/handshake.ts'
import { kexKeyId } from '../../src/sdk/kex.ts'
import { openReply, sealRequest } from '../../src/sdk/records.ts'
import { expand, schedule, transcriptHash } from '../../src/sdk/schedule.ts'
import { asHex, hex, node, PAIRS, publishedKex, pure, vectors, web } from './support.ts'

const unopened = { name: 'UnavailableError', reason: 'unopened' }

for (const [suite, backend] of PAIRS) {
  const vector = vectors[suite]
  const { request, response } = vector
  const pin = { kid: vector.kid, pub: toB64u(hex(vector.S_pub)) }
  const plaintext = JSON.parse(request.plaintext)
  const content = {
    ...{ seq: request.seq, op: request.op, salt: hex(request.salt), data: plaintext.data },
    nonce: new Uint8Array(Buffer.from(plaintext.nonce, 'base64url')),
  }

  async function published() {
    const pinned = await readPin(backend, suite, pin)
    const hello = await startHandshake(backend, pinned, await publishedKex(backend, suite))
    const session = await finishHandshake(backend, hello, vector.http_hello_response)
    return { hello, session, sealed: await sealRequest(backend, session, content) }
  }

  t.test(`${suite} on ${backend.name}: the handshake equals the published vector`, async (t) => {
    const { hello, session } = await published()
    t.equal(await kexKeyId(backend, suite, hex(vector.S_pub)), vector.kid)
    t.equal(hello.body, vector.http_hello_request)
    t.equal(asHex(hello.kex.ss1), vector.ss1)
    const ss2 = await hello.kex.finish(hex(vector.s_pub))
    t.equal(asHex(ss2), vector.ss2)
    const th = await transcriptHash(backend, {
      ...{ suite, kid: vector.kid, staticPublic: hex(vector.S_pub), clientPublic: hex(vector.c_pub) },
      ...{ sessionId: vector.session_id, expiresInS: vector.expires_in, serverPublic: hex(vector.s_pub) },
    })
    t.equal(asHex(th), vector.th)
    const keys = await schedule(backend, suite, hello.kex.ss1, ss2, th)
    t.equal(asHex(keys.helloKey), vector.hello_key)
    t.equal(asHex(keys.sessionKey), vector.session_key)
    t.equal(asHex(keys.sessionIv), vector.session_iv)
    t.equal(asHex(session.clientToServer), vector.k_c2s)
    t.equal(asHex(session.serverToClient), vector.k_s2c)
    t.equal(asHex(session.tokenHash), request.ath)
    t.match(session, { token: vector.access_token, maxSeq: 1000, expiresInS: 300, serverTime: 1767225600 })
  })

  t.test(`${suite} on ${backend.name}: request and reply equal the published vector`, async (t) => {
    const { session, sealed } = await published()
    t.equal(sealed.body, request.http_body)
    t.equal(asHex(sealed.requestHash), request.rh)
    const answer = await openReply(backend, session, sealed, response.http_body)
    const { status, code, server_time: serverTime, data } = JSON.parse(response.plaintext)
    t.same(answer, { status, code, serverTime, data })
  })

  t.test(`${suite} on ${backend.name}: the nine published negatives do not open`, async (t) => {
    const { session, sealed } = await published()
    const reply = JSON.parse(response.http_body)
    const box = Buffer.from(reply.box, 'base64url')
    const send = (change: object) => JSON.stringify({ ...reply, ...change })
    const flipped = Buffer.from(box)
    flipped[5]! ^= 1
    const otherIv = session.sessionIv.slice()
    otherIv[0]! ^= 1
    const otherId = session.sessionId.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
    const moved = { ...session, sessionId: otherId }
    const { salt, box: sent } = JSON.parse(request.http_body)
    const otherToken = await sealRequest(backend, { ...session, tokenHash: hex('00'.repeat(32)) }, content)
    const otherRequest = await sealRequest(backend, session, { ...content, salt: hex('00'.repeat(16)) })
    const negatives = {
      'flipped bit in box': [session, sealed, send({ box: flipped.toString('base64url') })],
      'other seq': [session, { ...sealed, seq: 2 }, send({ seq: 2 })],
      'other op': [session, { ...sealed, op: 'lease.issue' }, response.http_body],
      'other token': [session, otherToken, response.http_body],
      'request reflected as reply': [session, sealed, send({ salt, box: sent })],
      'reply for another request': [session, otherRequest, response.http_body],
      'truncated tag': [session, sealed, send({ box: box.subarray(0, -1).toString('base64url') })],
      'row moved to another session_id': [moved, sealed, send({ session_id: otherId })],
      'row IV changed': [{ ...session, sessionIv: otherIv }, sealed, response.http_body],
    } as const
    t.same(
      Object.keys(negatives),
      vector.negative.map((line: string) => line.replace(/: .*/, '')),
    )
    for (const [name, [keys, sealedRequest, text]] of Object.entries(negatives))
      await t.rejects(openReply(backend, keys, sealedRequest, text), unopened, name)
  })

  t.test(`${suite} on ${backend.name}: a hello from anybody else does not open`, async (t) => {
    const { hello } = await published()
    const reply = JSON.parse(vector.http_hello_response)
    const again = await startHandshake(backend, hello.pinned)
    t.not(again.body, hello.body, 'each handshake has a share of its own')
    await t.rejects(finishHandshake(backend, again, vector.http_hello_response), unopened, 'a recorded hello')
    const zero = 'A'.repeat(reply.pub.length)
    for (const change of [
      { v: 2 },
      { suite: suite === 'S1' ? 'S2' : 'S1' },
      { kid: '0'.repeat(16) },
      { session_id: reply.session_id.toUpperCase() },
      { session_id: reply.session_id.replace(/^./, (digit: string) => (digit === '0' ? '1' : '0')) },
      { expires_in: 301 },
      { expires_in: '300' },
      { expires_in: 0 },
      { pub: reply.pub.slice(4) },
      { pub: zero },
      { pub: undefined },
      { box: `${reply.box}=` },
      { box: '' },
      { box: null },
    ])
      await t.rejects(
        finishHandshake(backend, hello, JSON.stringify({ ...reply, ...change })),
        unopened,
        JSON.stringify(change).slice(0, 60),
      )
    for (const text of ['', 'null', '[]', '{}', '<html>', vector.http_hello_response.slice(0, -1)])
      await t.rejects(finishHandshake(backend, hello, text), unopened, text.slice(0, 20))
  })
}

t.test('a pin of another suite, another id or another form is refused before anything is sent', async (t) => {
  const pub = (suite: string) => toB64u(hex(vectors[suite].S_pub))
  const good = { kid: vectors.S1.kid, pub: pub('S1') }
  t.equal((await readPin(node, 'S1', good)).kid, good.kid)
  for (const pin of [
    { ...good, kid: vectors.S2.kid },
    { ...good, pub: pub('S2') },
    { ...good, pub: `${good.pub}=` },
    { ...good, pub: `${good.pub.slice(0, -1)}x` },
    { ...good, pub: '' },
  ])
    await t.rejects(readPin(node, 'S1', pin), RangeError)
  await t.rejects(readPin(node, 'S2', good), RangeError)
})

const LOW_ORDER = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ecff${'ff'.repeat(29)}7f`,
]

t.test('S1 and S3 agree on nothing with a point of low order, S2 with nothing off the curve', async (t) => {
  for (const backend of [node, web]) {
    const s1 = await publishedKex(backend, 'S1')
    for (const point of LOW_ORDER) await t.rejects(s1.finish(hex(point)), point)
    const s3 = await publishedKex(backend, 'S3')
    await t.rejects(s3.finish(hex(vectors.S3.s_pub.slice(0, -64) + LOW_ORDER[0])))
    await t.rejects(s3.finish(hex(vectors.S3.s_pub.slice(2))))
  }
  for (const backend of [node, web, pure]) {
    const { finish } = await publishedKex(backend, 'S2')
    const point = vectors.S2.s_pub
    const odd = Number.parseInt(point.slice(-1), 16) & 1
    for (const bad of [
      `${point.slice(0, -1)}${point.endsWith('0') ? '1' : '0'}`,
      `0${2 + odd}${point.slice(2, 66)}`,
      `0${6 + odd}${point.slice(2)}`,
      `04${'ff'.repeat(64)}`,
      '00'.repeat(65),
      '00',
      point.slice(2),
    ])
      await t.rejects(finish(hex(bad)), bad)
  }
})

t.test(
  'A256CBC-HS512 equals RFC 7518 B.3 on every backend, and compares the tag before it decrypts',
  async (t) => {
    const key = Uint8Array.from({ length: 64 }, (_, i) => i)
    const iv = hex('1af38c2dc2b96ffdd86694092341bc04')
    const aad = utf8('The second principle of Auguste Kerckhoffs')
    const plaintext = utf8(
      'A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience',
    )
    for (const backend of [node, web, pure]) {
      const box = await seal(backend, 'S2', key, iv, aad, plaintext)
      t.equal(asHex(box.subarray(0, 16)), '4affaaadb78c31c5da4b1b590d10ffbd')
      t.equal(asHex(box.subarray(-32)), '4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5')
      t.same(await open(backend, 'S2', key, iv, aad, box), plaintext)
      for (const length of [0, 15, 16, 31, 32, 33, 47])
        t.equal(await open(backend, 'S2', key, iv, aad, box.slice(0, length)), null)
      let decrypted = 0
      const watched: typeof backend = {
        ...backend,
        cbcDecrypt: (...given) => {
          decrypted += 1
          return backend.cbcDecrypt(...given)
        },
      }
      const forged = box.slice()
      forged[3]! ^= 1
      t.equal(await open(watched, 'S2', key, iv, aad, forged), null)
      t.equal(decrypted, 0, 'no block of a forged box is decrypted')
      t.same(await open(watched, 'S2', key, iv, aad, box), plaintext)
      t.equal(decrypted, 1)
      await t.rejects(seal(backend, 'S2', key.slice(1), iv, aad, plaintext), RangeError)
    }
  },
)

t.test('HKDF-Expand equals RFC 5869 A.1 on every backend, over two blocks', async (t) => {
  const prk = hex('077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5')
  for (const backend of [node, web, pure])
    t.equal(
      asHex(await expand(backend, prk, hex('f0f1f2f3f4f5f6f7f8f9'), 42)),
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    )
})
