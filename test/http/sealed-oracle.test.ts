import { createDecipheriv, createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto'
import t from 'tap'
import { median } from '../../bench/measure.ts'
import { seal } from '../../src/crypto/aead.ts'
import { fromB64u, toB64u } from '../../src/crypto/encoding.ts'
import { openRequest, padded, recordKeys, sealRequest } from '../../src/crypto/records.ts'
import { freshConfig } from '../support/databases.ts'
import { openBench } from '../support/legacy.ts'
import { injecting, openSession, pinOf } from '../support/sealed.ts'

const TAG_BYTES = 32
const BLOCK_BYTES = 16
const ROUNDS = 5
const SAMPLES = 10_000
/** The slowest are left out: what they measure is whatever else the machine was doing. */
const KEPT = 0.8
/** Of two equal distributions one round in a hundred thousand is beyond this. */
const T_MAX = 4.5
const T_CONTROL = 20

const PLAINTEXT = padded(JSON.stringify({ nonce: toB64u(randomBytes(16)), data: {} }))

function flipped(box: Uint8Array, at: number, bits: number): Buffer {
  const changed = Buffer.from(box)
  changed[changed.length + at]! ^= bits
  return changed
}

t.test('S2: no change and no truncation of a box is answered otherwise than any other', async (t) => {
  const bench = await openBench(t, freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0' }))
  const session = await openSession(injecting(bench), pinOf(bench.app, 'S2'))
  const message = session.seal('ping', null, { plaintext: PLAINTEXT })
  const box = fromB64u(message.body.box)!
  const answers = new Map<string, number>()
  const ask = async (changed: Uint8Array) => {
    const { statusCode, body, headers } = await bench.server.inject({
      ...{ method: 'POST', url: '/v1/call', payload: { ...message.body, box: toB64u(changed) } },
      headers: { authorization: `Bearer ${session.token}` },
    })
    const shape = Object.entries(headers).map(([name, value]) => `${name} ${String(value).length}`)
    const answer = JSON.stringify([statusCode, body, shape])
    answers.set(answer, (answers.get(answer) ?? 0) + 1)
  }
  for (const last of [-1, -TAG_BYTES - 1, -TAG_BYTES - BLOCK_BYTES - 1])
    for (let bits = 1; bits < 256; bits++) await ask(flipped(box, last, bits))
  for (let length = 0; length < box.length; length++) await ask(box.subarray(0, length))
  t.same([...answers.values()], [3 * 255 + box.length], 'one answer')
  t.match([...answers.keys()][0], /^\[401,"{\\"v\\":1,\\"error\\":\\"session\\"}"/)
  t.match(session.open(message, await session.send(message)), { code: 'ok' }, 'and nothing is used up')
})

/** Opens a box, or finds that it cannot. */
type Opener = { readonly box: Buffer; readonly open: (box: Buffer) => Buffer | null }

/** The server's own. */
function ours(): Opener {
  const keys = recordKeys('S2', 'ab'.repeat(32), randomBytes(32), randomBytes(16))
  const context = { seq: 1, op: 'licence.check', salt: randomBytes(16), tokenHash: randomBytes(32) }
  const { box } = sealRequest(keys, context, PLAINTEXT)
  return { box, open: (box) => openRequest(keys, context, box)?.plaintext ?? null }
}

/** What the server must not be: it decrypts before it compares the tag, and then says as little as the server. */
function decryptingFirst(): Opener {
  const [key, nonce, aad] = [randomBytes(64), randomBytes(16), randomBytes(146)]
  const aadBits = Buffer.alloc(8)
  aadBits.writeBigUInt64BE(8n * BigInt(aad.length))
  const [macKey, encKey] = [key.subarray(0, 32), key.subarray(32)].map((half) => createSecretKey(half))
  const open = (box: Buffer) => {
    const [ciphertext, claimed] = [box.subarray(0, -TAG_BYTES), box.subarray(-TAG_BYTES)]
    const mac = createHmac('sha512', macKey!).update(aad).update(nonce).update(ciphertext).update(aadBits)
    const tag = mac.digest().subarray(0, TAG_BYTES)
    const decipher = createDecipheriv('aes-256-cbc', encKey!, nonce)
    let plaintext: Buffer | null
    try {
      plaintext = Buffer.concat([decipher.update(ciphertext), decipher.final()])
    } catch {
      plaintext = null
    }
    return timingSafeEqual(tag, claimed) ? plaintext : null
  }
  return { box: seal('S2', key, nonce, aad, PLAINTEXT), open }
}

/** Welch's t of two samples. */
function welch(a: readonly number[], b: readonly number[]): number {
  const [[meanA, errorA], [meanB, errorB]] = [a, b].map((values) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)
    return [mean, variance / values.length]
  }) as [[number, number], [number, number]]
  return (meanA - meanB) / Math.sqrt(errorA + errorB)
}

/** How long a bad tag takes over a bad padding and over a good one, compared: t of one round. */
function compare({ box, open }: Opener): number {
  const badTag = flipped(box, -1, 1)
  // A last block that is all padding decrypts to 16 sixteens; the change makes the last one of them a 255.
  const boxes = [badTag, flipped(badTag, -TAG_BYTES - BLOCK_BYTES - 1, BLOCK_BYTES ^ 255)] as const
  // Both are read from the same place in memory.
  const read = Buffer.alloc(box.length)
  const order = randomBytes(2 * SAMPLES)
  const times: [number[], number[]] = [[], []]
  for (let i = 0; times[0].length < SAMPLES || times[1].length < SAMPLES; i++) {
    const which = ((order[i % order.length] ?? 0) & 1) as 0 | 1
    read.set(boxes[which])
    const startNs = process.hrtime.bigint()
    if (open(read) !== null) throw new Error('a bad tag opens nothing')
    times[which].push(Number(process.hrtime.bigint() - startNs))
  }
  const all = times.flat().sort((a, b) => a - b)
  const slowest = all[Math.floor(KEPT * all.length)] ?? Number.NaN
  const [good, bad] = times.map((own) => own.filter((time) => time <= slowest))
  return welch(good!, bad!)
}

function medianOfRounds(opener: () => Opener): { t: number; rounds: string } {
  const rounds = Array.from({ length: ROUNDS }, () => compare(opener()))
  return { t: median(rounds.map(Math.abs)), rounds: rounds.map((value) => value.toFixed(1)).join(' ') }
}

t.test('S2: a bad tag takes as long over a good padding as over a bad one', async (t) => {
  compare(ours())
  compare(decryptingFirst())
  const [server, control] = [medianOfRounds(ours), medianOfRounds(decryptingFirst)]
  t.comment(`the server: t ${server.rounds}; decrypting first: t ${control.rounds}`)
  t.ok(control.t > T_CONTROL, `what decrypts first is found: |t| ${control.t.toFixed(1)}`)
  t.ok(server.t < T_MAX, `the server tells nothing: |t| ${server.t.toFixed(1)}`)
})
