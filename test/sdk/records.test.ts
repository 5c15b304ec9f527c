import { randomBytes, webcrypto } from 'node:crypto'
import t from 'tap'
import { sealReply, recordKeys as serverKeys } from '../../src/crypto/records.ts'
import { open, seal } from '../../src/sdk/aead.ts'
import type { Backend } from '../../src/sdk/backend.ts'
import { type Bytes, toB64u } from '../../src/sdk/encoding.ts'
import { openReply, padded, recordKeys, sealRequest } from '../../src/sdk/records.ts'
import { type SealedSuite, SIZES } from '../../src/sdk/suites.ts'
import { hex, node, PAIRS, pure, vectors, web } from './support.ts'

const unopened = { name: 'UnavailableError', reason: 'unopened' }
const random = (length: number): Bytes => new Uint8Array(randomBytes(length))

async function exchange(backend: Backend, suite: SealedSuite, plaintext: Uint8Array) {
  const { session_id: sessionId, access_token: token, session_key, session_iv } = vectors[suite]
  const secrets = { sessionKey: hex(session_key), sessionIv: hex(session_iv) }
  const keys = await recordKeys(backend, suite, sessionId, secrets, token)
  const request = await sealRequest(backend, keys, {
    ...{ seq: 7, op: 'ping', salt: random(16), nonce: random(16), data: {} },
  })
  const own = serverKeys(suite, sessionId, secrets.sessionKey, secrets.sessionIv)
  const salt = random(16)
  const box = sealReply(own, { seq: 7, op: 'ping', salt, requestHash: request.requestHash }, plaintext)
  const envelope = {
    v: 1,
    session_id: sessionId,
    seq: 7,
    salt: toB64u(salt),
    box: toB64u(new Uint8Array(box)),
  }
  return { keys, request, envelope }
}

const OK = '{"status":200,"code":"ok","server_time":1,"data":{}}'

for (const [suite, backend] of PAIRS)
  t.test(`${suite} on ${backend.name}: a reply with any one bit flipped does not open`, async (t) => {
    const { keys, request, envelope } = await exchange(backend, suite, padded(OK))
    t.match(await openReply(backend, keys, request, JSON.stringify(envelope)), { code: 'ok' })
    let opened = 0
    let flips = 0
    for (const field of ['salt', 'box'] as const) {
      const bytes = Buffer.from(envelope[field], 'base64url')
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = Buffer.from(bytes)
        flipped[bit >> 3]! ^= 1 << (bit & 7)
        const text = JSON.stringify({ ...envelope, [field]: flipped.toString('base64url') })
        flips += 1
        opened += await openReply(backend, keys, request, text).then(
          () => 1,
          () => 0,
        )
      }
    }
    t.equal(opened, 0)
    const boxBytes = suite === 'S2' ? 272 + 32 : 256 + 16
    t.equal(flips, 8 * (16 + boxBytes), 'every bit was flipped once')
  })

t.test('the backends seal alike and open what the others sealed', async (t) => {
  for (const [suite, backends] of [
    ['S1', [node, web]],
    ['S2', [node, web, pure]],
  ] as const)
    for (const size of [0, 1, 15, 16, 17, 255, 256, 4096]) {
      const key = random(SIZES[suite].key)
      const nonce = random(SIZES[suite].nonce)
      const given = [key, nonce, random(size % 50), random(size)] as const
      const boxes = await Promise.all(backends.map((backend) => seal(backend, suite, ...given)))
      for (const box of boxes) t.same(box, boxes[0])
      for (const backend of backends)
        t.same(await open(backend, suite, key, nonce, given[2], boxes[0]!), given[3])
    }
})

t.test('a reply in a wrong envelope is not opened', async (t) => {
  const { keys, request, envelope } = await exchange(node, 'S1', padded(OK))
  const send = (change: object) => JSON.stringify({ ...envelope, ...change })
  t.match(await openReply(node, keys, request, send({ news: 'a member of a later version' })), {
    status: 200,
  })
  for (const change of [
    { v: 2 },
    { v: '1' },
    { session_id: '0'.repeat(64) },
    { seq: 8 },
    { seq: '7' },
    { salt: `${envelope.salt}=` },
    { box: undefined },
    { box: ` ${envelope.box}` },
    { box: toB64u(random(32_769)) },
  ])
    await t.rejects(
      openReply(node, keys, request, send(change)),
      unopened,
      JSON.stringify(change).slice(0, 40),
    )
})

t.test('an opened reply that is no reply is no verdict', async (t) => {
  for (const text of [
    '',
    'null',
    '[]',
    '{}',
    '{"status":"200","code":"ok","server_time":1,"data":{}}',
    '{"status":200,"server_time":1,"data":{}}',
    '{"status":200,"code":"ok","data":{}}',
    '{"status":200,"code":"ok","server_time":-1,"data":{}}',
    '{"status":200,"code":"ok","server_time":1,"data":[]}',
    OK.slice(0, -1),
  ]) {
    const { keys, request, envelope } = await exchange(node, 'S1', padded(text))
    await t.rejects(openReply(node, keys, request, JSON.stringify(envelope)), unopened, text)
  }
  const { keys, request, envelope } = await exchange(node, 'S1', Buffer.from([0x7b, 0xff, 0x7d]))
  await t.rejects(openReply(node, keys, request, JSON.stringify(envelope)), unopened, 'no UTF-8')
})

t.test('requests are padded to 256 bytes, and one that is too long is not sent', async (t) => {
  const { keys } = await exchange(node, 'S1', padded(OK))
  const request = { seq: 1, op: 'log.push', salt: random(16), nonce: random(16) }
  const boxOf = async (text: string) =>
    Buffer.from(
      JSON.parse((await sealRequest(node, keys, { ...request, data: { text } })).body).box,
      'base64url',
    ).length
  for (const length of [0, 1, 100, 199, 200, 201, 3000])
    t.equal((await boxOf('x'.repeat(length))) % 256, 16, `${length}`)
  await t.rejects(boxOf('x'.repeat(32_768)), RangeError)
})

t.test('a client with a stuck random generator still never repeats key and nonce', async (t) => {
  const { keys } = await exchange(node, 'S1', padded(OK))
  const seen = new Set<string>()
  const watched: Backend = {
    ...node,
    gcm: {
      ...node.gcm!,
      seal: (key, nonce, aad, plaintext) => {
        seen.add(`${toB64u(key)} ${toB64u(nonce)}`)
        return node.gcm!.seal(key, nonce, aad, plaintext)
      },
    },
  }
  const stuck = new Uint8Array(16)
  for (let seq = 1; seq <= 1000; seq++)
    await sealRequest(watched, keys, { seq, op: 'ping', salt: stuck, nonce: stuck, data: {} })
  t.equal(seen.size, 1000)
  webcrypto.getRandomValues(stuck)
  await sealRequest(watched, keys, { seq: 1, op: 'ping', salt: stuck, nonce: stuck, data: {} })
  t.equal(seen.size, 1001, 'a used number is safe while the salt is another')
})
