import { hash, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fromB64u, toB64u } from '../../src/crypto/encoding.ts'
import { staticKey } from '../../src/crypto/kex.ts'
import {
  openReply,
  openRequest,
  padded,
  recordKeys,
  sealRequest,
  tokenHashOf,
} from '../../src/crypto/records.ts'
import { schedule, sealHello, transcriptHash } from '../../src/crypto/schedule.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { count, install, serve } from '../support/installation.ts'
import {
  layersOf,
  leaked,
  licenceSecrets,
  machineSecrets,
  type Secrets,
  sessionSecrets,
} from '../support/leaks.ts'
import { claimsOf, encrypt } from '../support/legacy.ts'
import { certifiedLoopback, type Exchange, startManInTheMiddle } from '../support/man-in-the-middle.ts'
import {
  checkData,
  furnish,
  type Opened,
  openSession,
  type Post,
  payloadOf,
  type SealedMessage,
  type SealedSession,
} from '../support/sealed.ts'
import { wireClient } from '../support/wire-client.ts'

const [SQLITE] = DATABASES as [TestDatabase]
const SUITES = ['S1', 'S2', 'S3'] as const
const LOGGED = 'The tool has crashed in module seventeen'
const HWID = 'Disk WX51A6480127'
const KEY_BYTES = 32

/** A server, and clients that trust the man in the middle, as the owner of their machine has told them to. */
async function openWiretap(t: Test) {
  const { env, config } = await install(t, SQLITE, { SEALED_S3: 'true', REQUEST_TIMEOUT_MS: '2000' })
  const { certPem, keyPem, ca } = certifiedLoopback('Kunci')
  const files = { TLS_CERT: join(config.dataDir, 'cert.pem'), TLS_KEY: join(config.dataDir, 'key.pem') }
  writeFileSync(files.TLS_CERT, certPem)
  writeFileSync(files.TLS_KEY, keyPem, { mode: 0o600 })
  const installation = { config, env: { ...env, ...files } }
  const { key, pin } = await furnish(installation)
  const { port } = await serve(t, installation)
  const middle = await startManInTheMiddle(t, { port, ca })
  const client = wireClient(middle.url, { ca: middle.ca, keepAlive: false })
  t.teardown(() => client.close())
  const post: Post = async (path, body, headers = {}) => {
    const wish = { headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
    const { status, text } = await client.send(path, wish)
    return { status, text }
  }
  return { installation, key, pin, middle, client, post }
}

const bytesOf = (seen: readonly Exchange[]) => seen.flatMap(({ request, reply }) => [request, reply])

function grantSecrets({ data }: Opened): Secrets {
  const [lease, message] = [String(data.lease), String(data.message)]
  const { sub, dev, jti } = payloadOf(lease)
  return { lease, message, 'licence id': sub, 'device id': dev, 'id of the lease': jti }
}

type Wiretap = Awaited<ReturnType<typeof openWiretap>>
type Suite = (typeof SUITES)[number]
type Sent = { readonly message: SealedMessage; readonly text: string; readonly opened: Opened }

/** What a tool does in one run, and everything that was seen of it. */
async function converse({ key, pin, post, middle }: Wiretap, suite: Suite) {
  const from = middle.seen.length
  const session = await openSession(post, pin(suite))
  const sent: Sent[] = []
  for (const [op, data] of [
    ['licence.check', checkData(key)],
    ['lease.issue', checkData(key)],
    ['log.push', { level: 'info', text: LOGGED }],
  ] as const) {
    const message = session.seal(op, data)
    const reply = await session.send(message)
    sent.push({ message, text: reply.text, opened: session.open(message, reply) })
  }
  return { session, sent, seen: middle.seen.slice(from) }
}

/** Every 32 bytes that whoever has seen these layers may try as a session key, and hashes. */
function guesses(layers: readonly Buffer[]): Buffer[] {
  return layers
    .filter(({ length }) => length >= KEY_BYTES)
    .flatMap((layer) => {
      const last = layer.length - KEY_BYTES
      const offsets = last < 100 ? Array.from({ length: last + 1 }, (_, i) => i) : [0, last]
      const windows = offsets.map((at) => layer.subarray(at, at + KEY_BYTES))
      return [...windows, hash('sha256', layer, 'buffer')]
    })
}

/** Whether a session key opens anything that was sent, with all that is public given. */
function opensAny({ records, secrets, token }: SealedSession, sessionKey: Buffer, sent: readonly Sent[]) {
  const keys = recordKeys(records.suite, records.sessionId, sessionKey, secrets.sessionIv)
  return sent.some(({ message: { body, requestHash }, text }) => {
    const { seq, op, salt, box } = body
    const reply = JSON.parse(text)
    const asked = { seq, op, salt: fromB64u(salt)!, tokenHash: tokenHashOf(token) }
    const answered = { seq, op, salt: fromB64u(reply.salt)!, requestHash }
    return (
      openRequest(keys, asked, fromB64u(box)!) !== null ||
      openReply(keys, answered, fromB64u(reply.box)!) !== null
    )
  })
}

/** What comes of it, or `null` when nothing came that opens. */
const attempt = <T>(work: () => Promise<T>): Promise<T | null> => work().catch(() => null)

const member = (name: string) => new RegExp(`"${name}":"?([^",}]*)`, 'd')
/** In each, the one group is a span of bytes of one class. */
const IN_ANY = {
  'first line': /^([^\r]+)/d,
  'name of a header': /\r\n(content-type)/di,
  'value of a header': /content-type: ([^\r]+)/di,
  length: /content-length: (\d+)/di,
  brace: /(\{)"v"/d,
  'name of a member': /"(session_id|suite)":/d,
  v: member('v'),
}
const members = (...names: string[]) => Object.fromEntries(names.map((name) => [name, member(name)]))
const TOKEN = {
  'head of the token': /Bearer ([^.]+)/d,
  'claims of the token': /Bearer [^.]+\.([^.]+)/d,
  'signature of the token': /Bearer [^.]+\.[^.]+\.([^\r]+)/d,
}
const PLACES = ['first', 'middle', 'last'] as const

/** Flips one bit of a span of bytes. */
function flipping(span: RegExp, place: (typeof PLACES)[number]) {
  return (bytes: Buffer): Buffer => {
    const [start, end] = span.exec(bytes.toString('latin1'))!.indices![1]!
    const changed = Buffer.from(bytes)
    changed[{ first: start, middle: (start + end) >> 1, last: end - 1 }[place]]! ^= 1
    return changed
  }
}

/** The same HTTP message with another body. */
function withBody(bytes: Buffer, change: (body: Record<string, unknown>) => object): Buffer {
  const [head = '', body = ''] = bytes.toString('latin1').split('\r\n\r\n')
  const text = JSON.stringify(change(JSON.parse(body)))
  return Buffer.from(`${head.replace(/(?<=content-length: )\d+/i, String(text.length))}\r\n\r\n${text}`)
}

/** Holds the first of two replies back until the second is there, and gives each in the place of the other. */
function swapping(relabel: (reply: Buffer, request: Buffer) => Buffer) {
  type Held = { reply: Buffer; request: Buffer; deliver: (reply: Buffer) => void }
  let held: Held | undefined
  return (reply: Buffer, request: Buffer) =>
    new Promise<Buffer>((deliver) => {
      if (held === undefined) held = { reply, request, deliver }
      else {
        held.deliver(relabel(reply, held.request))
        deliver(relabel(held.reply, request))
      }
    })
}

/** A reply that names the session and the number that were asked for, whatever its box belongs to. */
function relabelled(reply: Buffer, request: Buffer): Buffer {
  const { session_id, seq } = JSON.parse(request.toString('latin1').split('\r\n\r\n')[1] ?? '')
  return withBody(reply, (body) => ({ ...body, session_id, seq }))
}

/** A server that has no private key but one of its own, and knows everything that is public. */
function emulator({ pin }: Wiretap, suite: Suite, own = staticKey(suite, randomBytes(32))) {
  const { publicKey: pinned, kid } = pin(suite)
  const answer = (staticPublic: Uint8Array) => (_reply: Buffer, request: Buffer) => {
    const asked = JSON.parse(request.toString('latin1').split('\r\n\r\n')[1] ?? '')
    const clientPublic = fromB64u(asked.pub)!
    const { serverPublic, ss1, ss2 } = own.prepare()(clientPublic)!
    const [sessionId, expiresInS] = ['ab'.repeat(32), 300]
    const handshake = {
      suite,
      kid: asked.kid,
      staticPublic,
      clientPublic,
      sessionId,
      expiresInS,
      serverPublic,
    }
    const th = transcriptHash(handshake)
    const plaintext = JSON.stringify({ token: 'a.b.c', server_time: 1, max_seq: 1000 })
    const box = sealHello(suite, schedule(suite, ss1, ss2, th).helloKey, th, Buffer.from(plaintext))
    const said = {
      session_id: sessionId,
      expires_in: expiresInS,
      pub: toB64u(serverPublic),
      box: toB64u(box),
    }
    const text = JSON.stringify({ v: 1, suite, kid, ...said })
    return Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`)
  }
  return { own, posing: answer(pinned), avowed: answer(own.publicKey) }
}

t.test('a man in the middle whom the client trusts', async (t) => {
  const wiretap = await openWiretap(t)
  const { installation, key, pin, middle, client, post } = wiretap
  const logged = () => count(installation, 'kunci_events', "type = 'client_log'")

  t.test('reads the keys and the licence of the old contract in what he sees', async (t) => {
    const from = middle.seen.length
    const token: string = JSON.parse((await client.handOut()).text).session_token
    const claims = claimsOf(token)
    await client.check(token, { hwid: encrypt(claims, HWID), licence: key })
    const secrets = { token, licence: key, 'session key': Buffer.from(claims.key, 'hex') }
    t.same(leaked(layersOf(bytesOf(middle.seen.slice(from))), secrets), Object.keys(secrets))
  })

  for (const suite of SUITES) {
    t.test(`${suite}: finds no secret in it, and the token in its header alone`, async (t) => {
      const { session, sent, seen } = await converse(wiretap, suite)
      t.equal(seen.length, 1 + sent.length)
      const secrets = {
        ...{ ...machineSecrets(), ...licenceSecrets(key), ...sessionSecrets(session) },
        ...{ ...grantSecrets(sent[0]!.opened), 'another lease': String(sent[1]!.opened.data.lease) },
        ...{ text: LOGGED, 'part of a request': '"hwid":', 'part of a reply': '"valid":' },
      }
      t.same(leaked(layersOf(bytesOf(seen)), secrets), [])
      t.same(
        leaked(layersOf(bytesOf(seen)), { id: session.records.sessionId }),
        ['id'],
        'what is public is there',
      )

      const header = `authorization: Bearer ${session.token}\r\n`
      t.equal(seen.filter(({ request }) => request.includes(header)).length, sent.length)
      const rest = seen.map(({ request, reply }) => {
        return { request: Buffer.from(request.toString('latin1').replace(header, '')), reply }
      })
      const [, claims, signature] = session.token.split('.')
      t.same(
        leaked(layersOf(bytesOf(rest)), { token: session.token, claims: claims!, signature: signature! }),
        [],
      )
    })

    t.test(`${suite}: opens nothing and makes nothing with the token and all he has seen`, async (t) => {
      const { session, sent, seen } = await converse(wiretap, suite)
      const other = await converse(wiretap, suite)
      t.ok(opensAny(session, session.secrets.sessionKey, sent), 'the key itself opens')
      const keys = guesses(layersOf(bytesOf(seen)))
      t.same(
        keys.filter((guess) => opensAny(session, guess, sent)),
        [],
        `${keys.length} guesses`,
      )

      const before = await logged()
      const ask = (body: object) => post('/v1/call', body, { authorization: `Bearer ${session.token}` })
      const refused = { status: 401, text: '{"v":1,"error":"session"}' }
      const { records, secrets, token } = session
      for (const guess of keys.filter((_, i) => i % Math.ceil(keys.length / 10) === 0)) {
        const forged = recordKeys(suite, records.sessionId, guess, secrets.sessionIv)
        const salt = randomBytes(16)
        const context = { seq: 500, op: 'log.push', salt, tokenHash: tokenHashOf(token) }
        const data = { nonce: toB64u(salt), data: { level: 'info', text: 'forged' } }
        const { box } = sealRequest(forged, context, padded(JSON.stringify(data)))
        const body = { v: 1, session_id: records.sessionId, seq: 500, op: 'log.push' }
        t.same(await ask({ ...body, salt: toB64u(salt), box: toB64u(box) }), refused)
      }
      const [check, , log] = sent as [Sent, Sent, Sent]
      const { body } = log.message
      const { salt, box } = JSON.parse(log.text)
      for (const [what, spliced] of Object.entries({
        'under another number': { ...body, seq: 4 },
        'as another operation': { ...body, op: 'session.close' },
        'with the salt of another': { ...body, salt: check.message.body.salt },
        'with the box of another': { ...body, box: check.message.body.box },
        'with salt and box of another': { ...check.message.body, seq: 4 },
        'in another session': { ...body, session_id: other.session.records.sessionId },
        'of another session': { ...other.sent[2]!.message.body, session_id: body.session_id },
        'of another session as it is': other.sent[2]!.message.body,
        'its own reply': { ...body, salt, box },
      }))
        t.same(await ask(spliced), refused, what)
      const mirrored = JSON.stringify({ ...JSON.parse(log.text), salt: body.salt, box: body.box })
      t.throws(() => session.open(log.message, { status: 200, text: mirrored }), 'a request is no reply')
      t.equal(await logged(), before)
      t.match(await session.call('ping', {}), { code: 'ok' })
    })

    t.test(`${suite}: whatever byte he changes, nothing opens but what was sealed`, async (t) => {
      const session = await openSession(post, pin(suite))
      const before = await logged()
      let messages = 0
      const authentic = {
        request: { ...TOKEN, ...members('session_id', 'seq', 'op', 'salt', 'box') },
        reply: members('session_id', 'seq', 'salt', 'box'),
      }
      for (const side of ['request', 'reply'] as const)
        for (const [name, span] of Object.entries({ ...IN_ANY, ...authentic[side] }))
          for (const place of PLACES) {
            const message = session.seal('log.push', { level: 'info', text: `message ${++messages}` })
            const send = async () => session.open(message, await session.send(message))
            middle.meddle({ [side]: flipping(span, place) })
            const spoilt = await attempt(send)
            middle.meddle({})
            const genuine = await send()
            t.match(genuine, { code: 'ok' })
            const what = `${side}: ${place} byte of ${name}`
            if (name in authentic[side]) t.equal(spoilt, null, what)
            else if (spoilt !== null) t.same(spoilt, genuine, what)
          }
      t.equal(await logged(), before + messages, 'each was executed once')
    })

    t.test(`${suite}: no handshake survives a change of his, or is answered by another server`, async (t) => {
      const begin = (pinned: Parameters<typeof openSession>[1] = pin(suite)) =>
        attempt(() => openSession(post, pinned))
      const changes = {
        request: members('suite', 'kid', 'pub', 'v'),
        reply: members('session_id', 'expires_in', 'pub', 'box'),
      }
      for (const side of ['request', 'reply'] as const)
        for (const [name, span] of Object.entries(changes[side]))
          for (const place of PLACES) {
            middle.meddle({ [side]: flipping(span, place) })
            t.equal(await begin(), null, `${side}: ${place} byte of ${name}`)
          }
      middle.meddle({ request: (bytes) => withBody(bytes, (body) => ({ ...body, ext: 'x' })) })
      t.equal(await begin(), null, 'an extension')
      const recorded = middle.seen.findLast(({ reply }) => reply.includes(`"suite":"${suite}"`))
      middle.meddle({ reply: () => recorded!.reply })
      t.equal(await begin(), null, 'the reply to another handshake')
      const { own, posing, avowed } = emulator(wiretap, suite)
      middle.meddle({ reply: posing })
      t.equal(await begin(), null, 'an emulator')
      middle.meddle({ reply: avowed })
      t.ok(await begin({ ...own, kid: pin(suite).kid }), 'which fools whoever has pinned its key')
      middle.meddle({})
      t.ok(await begin())
    })

    t.test(`${suite}: swapped replies open for nobody, and what he replays has no effect`, async (t) => {
      const [a, b] = [await openSession(post, pin(suite)), await openSession(post, pin(suite))]
      const before = await logged()
      const log = (session: SealedSession, seq: number) => {
        const message = session.seal('log.push', { level: 'info', text: `number ${seq}` }, { as: seq })
        return { message, send: async () => session.open(message, await session.send(message)) }
      }
      const pairs = [
        [log(a, 101), log(a, 102)],
        [log(a, 103), log(b, 103)],
      ]
      for (const pair of pairs)
        for (const relabel of [(reply: Buffer) => reply, relabelled]) {
          middle.meddle({ reply: swapping(relabel) })
          t.same(await Promise.all(pair.map(({ send }) => attempt(send))), [null, null])
        }
      middle.meddle({})
      const from = middle.seen.length
      for (const { send } of pairs.flat()) t.match(await send(), { code: 'ok' })
      for (const { request, reply } of middle.seen.slice(from)) {
        const copies = await Promise.all(Array.from({ length: 5 }, () => middle.send(request)))
        for (const copy of copies)
          t.equal(copy.toString().split('\r\n\r\n')[1], reply.toString().split('\r\n\r\n')[1])
      }
      t.equal(await logged(), before + 4)
    })
  }
})
