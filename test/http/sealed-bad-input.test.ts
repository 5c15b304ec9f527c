import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import t, { type Test } from 'tap'
import { toB64u } from '../../src/crypto/encoding.ts'
import { ed25519Key } from '../../src/crypto/jwk.ts'
import { freshConfig } from '../support/databases.ts'
import { ACTOR, handOut, openBench } from '../support/legacy.ts'
import { checkData, injecting, openSession, pinOf } from '../support/sealed.ts'

const REQUEST = { status: 400, text: '{"v":1,"error":"request"}' }
const KEX = { status: 400, text: '{"v":1,"error":"kex"}' }
const SESSION = { status: 401, text: '{"v":1,"error":"session"}' }
const SIZE = { status: 413, text: '{"v":1,"error":"size"}' }
const TYPE = { status: 415, text: '{"v":1,"error":"type"}' }

async function openShop(t: Test) {
  const bench = await openBench(t, freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0', SEALED_S3: 'true' }))
  const post = injecting(bench)
  return { bench, post, pin: pinOf(bench.app) }
}

t.test('a handshake that is not exactly in form is refused as such', async (t) => {
  const { post, pin } = await openShop(t)
  const good = { v: 1, suite: 'S1', kid: pin.kid, pub: toB64u(pin.publicKey), ext: '' }
  const { ext, ...withoutExt } = good
  t.equal(ext, '')
  for (const [what, body] of Object.entries({
    'no body': '',
    'broken JSON': '{',
    'broken UTF-8': Buffer.from([0x7b, 0xff, 0xfe, 0x7d]),
    null: 'null',
    'an array': [],
    'a number': '1',
    'an unknown member': { ...good, more: 1 },
    'a missing member': withoutExt,
    __proto__: `{"__proto__":1,${JSON.stringify(good).slice(1)}`,
    'version 2': { ...good, v: 2 },
    'a version in quotes': { ...good, v: '1' },
    'an extension': { ...good, ext: 'x' },
    'a kid of another length': { ...good, kid: pin.kid.slice(1) },
    'a kid in upper case': { ...good, kid: 'ABCDEF0123456789' },
    'a share with padding': { ...good, pub: `${good.pub}=` },
    'a share with spare bits': {
      ...good,
      pub: `${good.pub.slice(0, -1)}${good.pub.endsWith('_') ? '-' : '_'}`,
    },
    'a share in the other alphabet': { ...good, pub: '+'.repeat(43) },
    'a share of 31 bytes': { ...good, pub: 'A'.repeat(42) },
    'a share of 33 bytes': { ...good, pub: 'A'.repeat(44) },
    'no share': { ...good, pub: '' },
    'a suite that is no text': { ...good, suite: 1 },
    'a bomb': '['.repeat(8000),
    'another bomb': `{"v":${'{"v":'.repeat(1300)}`,
  }))
    t.same(await post('/v1/session', body), REQUEST, what)
  for (const suite of ['S4', 's1', 'L0', '__proto__', 'constructor'])
    t.same(await post('/v1/session', { ...good, suite }), KEX, suite)
  t.same(await post('/v1/session', { ...good, kid: '0'.repeat(16) }), KEX, 'an unknown kid')
  for (const point of ['00'.repeat(32), `01${'00'.repeat(31)}`, `ecff${'ff'.repeat(29)}7f`])
    t.same(await post('/v1/session', { ...good, pub: toB64u(Buffer.from(point, 'hex')) }), KEX, point)
  t.same(await post('/v1/session', { ...good, ext: 'x'.repeat(8192) }), SIZE)
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/xml'])
    t.same(await post('/v1/session', JSON.stringify(good), { 'content-type': type }), TYPE, type)
})

t.test('P-256 and X-Wing shares that are no keys are refused as such', async (t) => {
  const { bench, post } = await openShop(t)
  for (const suite of ['S2', 'S3'] as const) {
    const { kid, publicKey } = pinOf(bench.app, suite)
    const ask = (pub: Uint8Array) => post('/v1/session', { v: 1, suite, kid, pub: toB64u(pub), ext: '' })
    t.same(await ask(publicKey.subarray(1)), REQUEST, 'another length')
    if (suite === 'S3') {
      t.same(await ask(Buffer.alloc(2336, 0xff)), KEX, 'no ML-KEM key')
      continue
    }
    const off = Buffer.from(publicKey)
    off[64]! ^= 1
    t.same(await ask(off), KEX, 'off the curve')
    t.same(await ask(Buffer.concat([Buffer.from([2]), publicKey.subarray(1, 33)])), REQUEST, 'compressed')
    t.same(await ask(Buffer.concat([Buffer.from([6]), publicKey.subarray(1)])), KEX, 'hybrid')
    t.same(await ask(Buffer.alloc(65)), KEX, 'infinity')
  }
})

t.test('a call that is not exactly in form is refused before anything else is asked', async (t) => {
  const { post, pin } = await openShop(t)
  const session = await openSession(post, pin)
  const { body } = session.seal('ping', {})
  const headers = { authorization: `Bearer ${session.token}` }
  for (const [what, changed] of Object.entries({
    'an unknown member': { ...body, more: 1 },
    'version 2': { ...body, v: 2 },
    'an id of another length': { ...body, session_id: body.session_id.slice(1) },
    'an id in upper case': { ...body, session_id: 'A'.repeat(64) },
    'seq 0': { ...body, seq: 0 },
    'seq -1': { ...body, seq: -1 },
    'seq 1.5': { ...body, seq: 1.5 },
    'seq 1001': { ...body, seq: 1001 },
    'seq 1e21': { ...body, seq: 1e21 },
    'seq in quotes': { ...body, seq: '1' },
    'seq null': { ...body, seq: null },
    'no op': { ...body, op: '' },
    'a long op': { ...body, op: 'a'.repeat(33) },
    'an op in upper case': { ...body, op: 'Ping' },
    'a salt of 15 bytes': { ...body, salt: 'A'.repeat(20) },
    'a salt of 17 bytes': { ...body, salt: 'A'.repeat(23) },
    'a salt with spare bits': { ...body, salt: `${body.salt.slice(0, -1)}_` },
    'a box with padding': { ...body, box: `${body.box}=` },
    'a box with a space': { ...body, box: ` ${body.box}` },
    'a box of one character': { ...body, box: 'A' },
    'a box that is no text': { ...body, box: [body.box] },
  }))
    t.same(await post('/v1/call', changed, headers), REQUEST, what)
  t.same(await post('/v1/call', { ...body, box: 'A'.repeat(43_692) }, headers), SIZE, 'a box of 32,769 bytes')
  t.same(await post('/v1/call', JSON.stringify(body), { ...headers, 'content-type': 'text/plain' }), TYPE)
})

t.test('whatever does not authenticate has one answer, headers and length alike', async (t) => {
  const { bench, post, pin } = await openShop(t)
  const [session, other] = [await openSession(post, pin), await openSession(post, pin)]
  const { body } = session.seal('ping', {})
  const { token: legacy } = await handOut(bench)
  const shapes = new Set<string>()
  const ask = async (
    what: string,
    changed: object,
    authorization: string | undefined = `Bearer ${session.token}`,
  ) => {
    const {
      statusCode,
      body: text,
      headers,
    } = await bench.server.inject({
      ...{ method: 'POST', url: '/v1/call', payload: { ...body, ...changed } },
      headers: authorization === '' ? {} : { authorization },
    })
    t.same({ status: statusCode, text }, SESSION, what)
    const { date, 'x-request-id': id, ...rest } = headers
    shapes.add(JSON.stringify([String(date).length, String(id).length, rest]))
  }
  for (const length of [0, 1, 15, 16, 17, 31, 32, 100])
    await ask(`a box of ${length} bytes`, { box: toB64u(Buffer.alloc(length, 7)) })
  await ask('another number', { seq: 2 })
  await ask('another operation', { op: 'session.close' })
  await ask('another salt', { salt: 'A'.repeat(22) })
  await ask('no such session', { session_id: '0'.repeat(64) })
  await ask('the id of another session', { session_id: other.records.sessionId })
  await ask('the token of another session', {}, `Bearer ${other.token}`)
  await ask('no token', {}, '')
  await ask('another scheme', {}, `Basic ${session.token}`)
  await ask('a token of the legacy contract', {}, `Bearer ${legacy}`)
  await ask('rubbish', {}, 'Bearer rubbish')
  await ask('a token of 8 KiB', {}, `Bearer ${'a'.repeat(8192)}`)
  t.equal(shapes.size, 1)
  const message = session.seal('ping', {})
  t.match(session.open(message, await session.send(message)), { code: 'ok' }, 'nothing was used up')
})

t.test(
  'tokens that we did not sign for this session are refused, whatever they say of themselves',
  async (t) => {
    const { bench, post, pin } = await openShop(t)
    const session = await openSession(post, pin)
    const { body } = session.seal('ping', {})
    const [head = '', payload = '', signature = ''] = session.token.split('.')
    const [header, claims] = [head, payload].map((part) =>
      JSON.parse(Buffer.from(part, 'base64url').toString()),
    )
    const part = (value: unknown) => toB64u(Buffer.from(JSON.stringify(value)))
    const [own] = bench.app.keyPairs.jwt()
    const stranger = generateKeyPairSync('ed25519').privateKey
    const signed = (changedHeader: object, changedClaims: object, key = own!.privateKey) => {
      const input = `${part({ ...header, ...changedHeader })}.${part({ ...claims, ...changedClaims })}`
      return `${input}.${toB64u(sign(null, Buffer.from(input), key))}`
    }
    const hs256 = (secret: string | Buffer) => {
      const input = `${part({ ...header, alg: 'HS256' })}.${payload}`
      return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
    }
    const publicKey = createPublicKey(own!.privateKey)
    const without = (name: string) => signed({}, { [name]: undefined })
    const tokens: Record<string, string> = {
      'alg none': `${part({ ...header, alg: 'none' })}.${payload}.`,
      'alg None': `${part({ ...header, alg: 'None' })}.${payload}.${signature}`,
      'no signature': `${head}.${payload}.`,
      'HS256 under the public key in PEM': hs256(
        publicKey.export({ format: 'pem', type: 'spki' }).toString(),
      ),
      'HS256 under the raw public key': hs256(Buffer.from(own!.publicJwk.x, 'base64url')),
      'HS256 under nothing': hs256(''),
      'another key': signed({}, {}, stranger),
      'another key under its own kid': signed({ kid: ed25519Key(Buffer.alloc(32, 5)).kid }, {}),
      'kid __proto__': signed({ kid: '__proto__' }, {}),
      'kid constructor': signed({ kid: 'constructor' }, {}),
      'no kid': signed({ kid: undefined }, {}),
      'another type': signed({ typ: 'dsk-lease+jwt' }, {}),
      'no type': signed({ typ: undefined }, {}),
      'a critical member': signed({ crit: ['x'], x: 1 }, {}),
      'another issuer': signed({}, { iss: 'urn:kunci:other' }),
      'another audience': signed({}, { aud: 'dsk-admin' }),
      expired: signed({}, { exp: Math.floor(bench.clock() / 1000) - 31 }),
      'exp as a text': signed({}, { exp: '9999999999' }),
      'another suite': signed({}, { ste: 'S2' }),
      'suite L0': signed({}, { ste: 'L0' }),
      'another session': signed({}, { sid: '0'.repeat(64) }),
      'another confirmation': signed({}, { cnf: { dsk1: toB64u(Buffer.alloc(32)) } }),
      'an empty confirmation': signed({}, { cnf: { dsk1: '' } }),
      'confirmation null': signed({}, { cnf: null }),
      'a changed claim under the old signature': `${head}.${part({ ...claims, exp: claims.exp + 1 })}.${signature}`,
      ...Object.fromEntries(
        ['sid', 'ste', 'cnf', 'jti', 'iat', 'exp', 'iss', 'aud', 'sub'].map((name) => [
          `no ${name}`,
          without(name),
        ]),
      ),
    }
    for (const [what, token] of Object.entries(tokens))
      t.same(await post('/v1/call', body, { authorization: `Bearer ${token}` }), SESSION, what)
    // Well signed, and bound to the request by its hash: another token of the same session opens no box of this one.
    t.same(await post('/v1/call', body, { authorization: `Bearer ${signed({}, { jti: 'x' })}` }), SESSION)
    t.match(await session.call('ping', {}), { code: 'ok' })
  },
)

t.test(
  'a token outlives its session by half a minute, and a clock that is a little off by as much',
  async (t) => {
    const { bench, post, pin } = await openShop(t)
    const session = await openSession(post, pin)
    bench.clock.advance(359_000)
    t.match(await session.call('ping', {}), { code: 'session_expired' })
    bench.clock.advance(1000)
    t.same(await session.send(session.seal('ping', {})), SESSION)
  },
)

t.test('refused tokens are counted by address, and a good one still passes', async (t) => {
  const bench = await openBench(t, freshConfig(t))
  const post = injecting(bench)
  const session = await openSession(post, pinOf(bench.app))
  const { body } = session.seal('ping', {})
  for (let i = 0; i < 30; i++) t.same(await post('/v1/call', body, { authorization: 'Bearer x' }), SESSION)
  t.same(await post('/v1/call', body, { authorization: 'Bearer x' }), {
    status: 429,
    text: '{"v":1,"error":"rate"}',
  })
  t.match(await session.call('ping', {}), { code: 'ok' })
})

t.test('handshakes are counted with hand-outs, and refused in the words of their contract', async (t) => {
  const bench = await openBench(t, freshConfig(t))
  const post = injecting(bench)
  const { kid, publicKey } = pinOf(bench.app)
  const body = { v: 1, suite: 'S1', kid, pub: toB64u(publicKey), ext: '' }
  for (let i = 0; i < 10; i++) {
    await handOut(bench)
    t.equal((await post('/v1/session', body)).status, 200)
  }
  t.same(await post('/v1/session', body), { status: 429, text: '{"v":1,"error":"rate"}' })
  t.same(await post('/api/auth/get-session-key', body), {
    status: 429,
    text: '{"success":false,"v":1,"error":"rate"}',
  })
  t.equal(
    (await post('/api/auth/get-session-key', '')).text,
    '{"error":"Too many requests","retry_after":60}',
  )
})

t.test('a database that is away is told plainly, and the same bytes may be sent again', async (t) => {
  const { bench, post, pin } = await openShop(t)
  await bench.app.products.create(ACTOR, 'demo', 'Demo')
  const session = await openSession(post, pin)
  const message = session.seal('licence.check', checkData('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'))
  await bench.app.close()
  const busy = '{"v":1,"error":"busy"}'
  t.same(await session.send(message), { status: 503, text: busy })
  t.same(await session.send(message, '/api/licence/check'), {
    status: 503,
    text: busy.replace('{', '{"success":false,'),
  })
  const { kid, publicKey } = pin
  t.same(await post('/v1/session', { v: 1, suite: 'S1', kid, pub: toB64u(publicKey), ext: '' }), {
    status: 503,
    text: busy,
  })
})
