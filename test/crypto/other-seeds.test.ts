import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Agreed, staticKey } from '../../src/crypto/kex.ts'
import {
  openReply,
  openRequest,
  padded,
  recordKeys,
  sealReply,
  sealRequest,
  tokenHashOf,
} from '../../src/crypto/records.ts'
import { openHello, type Schedule, schedule, sealHello, transcriptHash } from '../../src/crypto/schedule.ts'
import type { SealedSuite } from '../../src/crypto/suites.ts'
import { x25519, x25519Private, x25519Public, x25519PublicOf } from '../../src/crypto/x25519.ts'
import { xwingEncapsulate, xwingKey } from '../../src/crypto/xwing.ts'
import { derived } from '../support/bytes.ts'
import { referenceHandshake, referenceRecord, referenceSecret } from '../support/dsk1-reference.ts'

const SESSIONS = 200
const OPS = ['ping', 'log.push', 'lease.issue', 'licence.check', 'session.close']
const vectors = JSON.parse(readFileSync(new URL('../vectors/dsk1.json', import.meta.url), 'utf8'))

t.test('the published seeds are what their names derive', async (t) => {
  t.equal(derived('S1/static', 32).toString('hex'), vectors.S1.static_priv)
  t.equal(derived('S2/client-eph', 32).toString('hex'), vectors.S2.client_eph_priv)
  t.equal(derived('S3/static', 32).toString('hex'), vectors.S3.static_seed)
})

type Secrets = { readonly ss1: Buffer; readonly ss2: Buffer }
/** The client's side of a key exchange: its share, and what it has once it knows the server's. */
type Client = { readonly share: Buffer; readonly agree: (serverPublic: Buffer) => Secrets }

const CLIENTS: Readonly<Record<SealedSuite, (secret: Buffer, staticPublic: Buffer) => Client>> = {
  S1: (secret, staticPublic) => {
    const own = x25519Private(secret)
    const secretWith = (peer: Buffer) => x25519(own, x25519Public(peer)) as Buffer
    return {
      share: x25519PublicOf(own),
      agree: (serverPublic) => ({ ss1: secretWith(staticPublic), ss2: secretWith(serverPublic) }),
    }
  },
  S2: (secret, staticPublic) => {
    const own = staticKey('S2', secret)
    const secretWith = (peer: Buffer) => own.prepare()(peer)?.ss1 as Buffer
    return {
      share: own.publicKey,
      agree: (serverPublic) => ({ ss1: secretWith(staticPublic), ss2: secretWith(serverPublic) }),
    }
  },
  S3: (seed, staticPublic) => {
    const own = xwingKey(seed)
    const { ciphertext, sharedSecret } = xwingEncapsulate(staticPublic) as NonNullable<
      ReturnType<typeof xwingEncapsulate>
    >
    return {
      share: Buffer.concat([ciphertext, own.publicKey]),
      agree: (serverPublic) => ({ ss1: sharedSecret, ss2: own.decapsulate(serverPublic) as Buffer }),
    }
  },
}

type Random = (name: string, length: number) => Buffer
type Session = { readonly suite: SealedSuite; readonly sessionId: string; readonly token: string }
type Sides = { readonly server: Schedule; readonly client: Schedule }

/** A handshake, from the static key to the opened hello box. */
function shakeHands(t: Test, suite: SealedSuite, random: Random): Session & Sides {
  const [staticSecret, clientSecret] = [random('static', 32), random('client-eph', 32)]
  const key = staticKey(suite, staticSecret)
  const { share, agree } = CLIENTS[suite](clientSecret, key.publicKey)
  const { serverPublic, ...atServer } = key.prepare(random('server-eph', 32))(share) as Agreed
  const atClient = agree(serverPublic)
  t.same(atServer, atClient)
  t.same(atServer, {
    ss1: referenceSecret(suite, staticSecret, suite === 'S3' ? share.subarray(0, 1120) : share),
    ss2: referenceSecret(suite, clientSecret, serverPublic),
  })

  const hello = {
    ...{ suite, kid: key.kid, staticPublic: key.publicKey, clientPublic: share, serverPublic },
    sessionId: random('session', 32).toString('hex'),
    expiresInS: random('expiry', 3).readUIntBE(0, 3),
  }
  const th = transcriptHash(hello)
  const server = schedule(suite, atServer.ss1, atServer.ss2, th)
  const client = schedule(suite, atClient.ss1, atClient.ss2, th)
  const reference = referenceHandshake(hello, atClient.ss1, atClient.ss2)
  t.same(
    [key.kid, th, server.sessionKey, server.sessionIv],
    [reference.kid, reference.th, reference.sessionKey, reference.sessionIv],
  )
  const token = random('token', 300).toString('base64url')
  const greeting = Buffer.from(JSON.stringify({ token, server_time: 1767225600, max_seq: 1000 }))
  const box = sealHello(suite, server.helloKey, th, greeting)
  t.same(box, reference.helloBox(greeting))
  t.same(openHello(suite, client.helloKey, th, box), greeting)
  return { suite, sessionId: hello.sessionId, token, server, client }
}

/** One request, from the client's plaintext to the server's, and its reply. */
function call(t: Test, { suite, sessionId, token, server, client }: Session & Sides, random: Random): void {
  const recordsOf = (keys: Schedule) => recordKeys(suite, sessionId, keys.sessionKey, keys.sessionIv)
  const [atServer, atClient] = [recordsOf(server), recordsOf(client)]
  const message = {
    seq: 1 + (random('seq', 2).readUInt16BE() % 1000),
    op: OPS[random('op', 1).readUInt8() % OPS.length] as string,
    token,
    salts: [random('salt', 16), random('reply-salt', 16)],
    plaintexts: [
      padded(JSON.stringify({ nonce: random('nonce', 16).toString('base64url'), data: {} })),
      padded(
        JSON.stringify({
          status: 200,
          data: random('data', random('size', 1).readUInt8() * 3).toString('hex'),
        }),
      ),
    ],
  } as const
  const reference = referenceRecord({ suite, sessionId, ...server }, message)
  t.same(atServer.confirmation, reference.confirmation)

  const sent = { ...message, salt: message.salts[0], tokenHash: tokenHashOf(token) }
  const { box, requestHash } = sealRequest(atClient, sent, message.plaintexts[0])
  t.same([box, requestHash], [reference.request, reference.requestHash])
  t.same(openRequest(atServer, sent, box), { plaintext: message.plaintexts[0], requestHash })

  const answered = { ...message, salt: message.salts[1], requestHash }
  t.same(sealReply(atServer, answered, message.plaintexts[1]), reference.reply)
  t.same(openReply(atClient, answered, reference.reply), message.plaintexts[1])
}

for (const suite of ['S1', 'S2', 'S3'] as const)
  t.test(`${suite}: client, server and a second implementation agree, whatever the secrets`, async (t) => {
    const sessionKeys = new Set<string>()
    for (let i = 0; i < SESSIONS; i++) {
      // X-Wing's encapsulations alone draw fresh randomness each time.
      const random = (name: string, length: number) => derived(`other/${i}/${suite}/${name}`, length)
      const session = shakeHands(t, suite, random)
      call(t, session, random)
      sessionKeys.add(session.server.sessionKey.toString('hex'))
    }
    t.equal(sessionKeys.size, SESSIONS, 'no two sessions have one key')
  })
