/**
 * Does what is cryptography in one request, over and over, and prints the figures as JSON:
 * `node crypto-loop.ts handshake|record S1|S2|S3 SECONDS`. See crypto-alone.ts.
 */
import { randomBytes } from 'node:crypto'
import { secretKey32 } from '../src/crypto/expand.ts'
import { staticKey } from '../src/crypto/kex.ts'
import {
  openRequest,
  padded,
  recordKeys,
  sealReply,
  sealRequest,
  tokenHashOf,
} from '../src/crypto/records.ts'
import { unwrapSessionKey, wrapSessionKey } from '../src/crypto/row-wrap.ts'
import { schedule, sealHello, transcriptHash } from '../src/crypto/schedule.ts'
import { type SealedSuite, SIZES } from '../src/crypto/suites.ts'
import { pooledRandom } from '../src/random.ts'
import { clientShare } from '../test/support/sealed.ts'
import { REPLY_BYTES, REQUEST_BYTES, TOKEN_BYTES } from './crypto-alone.ts'
import type { Figures } from './load/load.ts'

const WARM_UP_MS = 500
const EXPIRES_IN_S = 300
const random = pooledRandom()
const kek = secretKey32(randomBytes(32))

/** From the client's share to the wrapped row and the sealed hello. */
function handshake(suite: SealedSuite): () => void {
  const { kid, publicKey: staticPublic, prepare } = staticKey(suite, randomBytes(32))
  const { clientPublic } = clientShare(suite, staticPublic)
  const plaintext = Buffer.alloc(TOKEN_BYTES, 'a')
  return () => {
    const agreed = prepare()(clientPublic)
    if (agreed === null) throw new Error('no agreement')
    const sessionId = random(32).toString('hex')
    const { serverPublic, ss1, ss2 } = agreed
    const shares = { staticPublic, clientPublic, serverPublic }
    const th = transcriptHash({ suite, kid, sessionId, expiresInS: EXPIRES_IN_S, ...shares })
    const { helloKey, sessionKey, sessionIv: iv } = schedule(suite, ss1, ss2, th)
    recordKeys(suite, sessionId, sessionKey, iv)
    wrapSessionKey(kek, 'bench', { suite, sessionId, iv }, sessionKey, random(12))
    sealHello(suite, helloKey, th, plaintext)
    for (const secret of [ss1, ss2, helloKey, sessionKey]) secret.fill(0)
  }
}

/** From the row and the request's box to the reply's. */
function record(suite: SealedSuite): () => void {
  const keks = new Map([['bench', kek]])
  const context = { suite, sessionId: random(32).toString('hex'), iv: random(SIZES[suite].nonce) }
  const key = random(32)
  const wrapped = wrapSessionKey(kek, 'bench', context, key, random(12))
  const token = 'a'.repeat(TOKEN_BYTES)
  const message = { seq: 1, op: 'licence.check' }
  const salt = random(16)
  const clientKeys = recordKeys(suite, context.sessionId, key, context.iv)
  const request = { ...message, salt, tokenHash: tokenHashOf(token) }
  const { box } = sealRequest(clientKeys, request, Buffer.alloc(REQUEST_BYTES, 'a'))
  const answer = 'a'.repeat(REPLY_BYTES)
  return () => {
    const sessionKey = unwrapSessionKey(keks, context, wrapped)
    if (sessionKey === null) throw new Error('the row does not open')
    const keys = recordKeys(suite, context.sessionId, sessionKey, context.iv)
    sessionKey.fill(0)
    const opened = openRequest(keys, { ...message, salt, tokenHash: tokenHashOf(token) }, box)
    if (opened === null) throw new Error('the request does not open')
    sealReply(keys, { ...message, salt: random(16), requestHash: opened.requestHash }, padded(answer))
  }
}

function measured(once: () => void, seconds: number): Figures {
  for (const endMs = performance.now() + WARM_UP_MS; performance.now() < endMs; ) once()
  const timesMs: number[] = []
  const startMs = performance.now()
  let nowMs = startMs
  for (const endMs = startMs + seconds * 1000; nowMs < endMs; ) {
    once()
    const lastMs = nowMs
    nowMs = performance.now()
    timesMs.push(nowMs - lastMs)
  }
  timesMs.sort((a, b) => a - b)
  const percentile = (share: number) => timesMs[Math.ceil(timesMs.length * share) - 1] ?? 0
  return {
    ...{ requests: timesMs.length, seconds: (nowMs - startMs) / 1000 },
    ...{ p50Ms: percentile(0.5), p99Ms: percentile(0.99), errors: {} },
  }
}

const [kind, suite, seconds] = process.argv.slice(2)
const work = kind === 'handshake' ? handshake : record
console.log(JSON.stringify(measured(work(suite as SealedSuite), Number(seconds))))
