import { createPublicKey, type JsonWebKey, verify } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { thumbprint } from '../../src/crypto/jwk.ts'
import { makeRootKey } from '../../src/store/root-key.ts'
import { json, kunci } from '../support/cli.ts'
import { DATABASES } from '../support/databases.ts'
import { install } from '../support/installation.ts'
import { ACTOR, type Bench, openBench } from '../support/legacy.ts'
import { injecting, openSession, pinOf } from '../support/sealed.ts'

const DAY_MS = 86_400_000

function partsOf(jws: string) {
  const [head = '', payload = '', signature = ''] = jws.split('.')
  const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
  return {
    ...{ header: read(head), payload: read(payload) },
    ...{ input: Buffer.from(`${head}.${payload}`), signature: Buffer.from(signature, 'base64url') },
  }
}

const publicKey = (jwk: JsonWebKey) => createPublicKey({ key: jwk, format: 'jwk' })

function isSignedBy(jwk: JsonWebKey, jws: string): boolean {
  const { input, signature } = partsOf(jws)
  if (jwk.kty === 'OKP') return verify(null, input, publicKey(jwk), signature)
  return verify('sha256', input, { key: publicKey(jwk), dsaEncoding: 'ieee-p1363' }, signature)
}

const fetchKeySet = ({ server }: Bench) => server.inject('/.well-known/dsk1-keys.jwt')
const kids = (keys: readonly { kid: string }[]) => keys.map(({ kid }) => kid)

for (const { name, freshConfig } of DATABASES) {
  t.test(`${name}: another server verifies our tokens by the keys that are published`, async (t) => {
    const bench = await openBench(t, await freshConfig(t))
    const reply = await bench.server.inject('/.well-known/jwks.json')
    t.match(reply.headers, {
      ...{ 'content-type': /^application\/jwk-set\+json\b/, 'cache-control': 'public, max-age=300' },
    })
    const { keys } = reply.json()
    t.match(keys, [{ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', use: 'sig' }])
    t.same(Object.keys(keys[0]).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x'], 'and nothing private')
    const { kty, crv, x } = keys[0]
    t.equal(keys[0].kid, thumbprint({ kty, crv, x }))
    const { token } = await openSession(injecting(bench), pinOf(bench.app))
    t.equal(partsOf(token).header.kid, keys[0].kid)
    t.ok(isSignedBy(keys[0], token))
  })

  t.test(`${name}: a key is published before it signs, and for as long as it is held`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0' }))
    const { app, server, clock } = bench
    const published = async () => kids((await server.inject('/.well-known/jwks.json')).json().keys)
    const signing = async () => {
      const { token } = await openSession(injecting(bench), pinOf(app))
      return partsOf(token).header.kid
    }
    const [first = ''] = await published()
    const { fromMs } = await app.keyRotation.rotate(ACTOR, 'jwt', clock() + DAY_MS)
    await app.keyWatch.look()
    const [, second = ''] = await published()
    t.same(await published(), [first, second])
    t.equal(await signing(), first)
    clock.advance(fromMs - clock())
    t.same(await published(), [second, first])
    t.equal(await signing(), second)
    clock.advance(DAY_MS)
    await app.keyRotation.retire(ACTOR, 'jwt', 'k1', false)
    await app.keyWatch.look()
    t.same(await published(), [second])
  })

  t.test(`${name}: a client gets the newest key set, and it names every key it may trust`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, { SEALED_S3: 'true' }))
    const { app, config, clock } = bench
    const none = await fetchKeySet(bench)
    t.equal(none.statusCode, 404)
    t.match(none.json(), { status: 'error', code: 'not_found', request_id: /./ })
    t.equal(none.headers['cache-control'], 'no-store')

    const root = makeRootKey(join(config.dataDir, 'root.pem'), config.keysDir)
    await app.keySets.sign(ACTOR, root)
    const reply = await fetchKeySet(bench)
    t.match(reply.headers, {
      ...{ 'content-type': /^application\/jwt\b/, 'cache-control': 'public, max-age=300' },
    })
    t.ok(isSignedBy(root.publicJwk, reply.body))
    const { header, payload } = partsOf(reply.body)
    t.same(header, { alg: 'ES256', typ: 'dsk-keyset+jwt', kid: root.kid })
    const { S1 = [], S2 = [], S3 = [] } = app.keys.pins()
    t.same(payload, {
      ...{ iss: app.issuer, seq: 1, iat: Math.floor(clock() / 1000) },
      kex: [
        ...[
          { suite: 'S1', ...S1[0] },
          { suite: 'S2', ...S2[0] },
        ],
        ...[{ suite: 'S3', ...S3[0] }],
      ],
      lease: app.keys.leaseJwks(),
      jwt: app.keys.jwtJwks(),
    })

    for (const ring of ['kex-s1', 'lease']) await app.keyRotation.rotate(ACTOR, ring, clock() + DAY_MS)
    await app.keyWatch.look()
    await app.keySets.sign(ACTOR, root)
    const waiting = partsOf((await fetchKeySet(bench)).body).payload
    t.equal(waiting.seq, 2)
    const [first, next, ...others] = kids(waiting.kex)
    t.same([first, others.length], [S1[0]?.kid, 2], 'the next key comes second')
    clock.advance(DAY_MS)
    await app.keySets.sign(ACTOR, root)
    const after = partsOf((await fetchKeySet(bench)).body).payload
    t.equal(after.seq, 3)
    t.equal(after.kex[0].kid, next)
    t.notOk(kids(after.kex).includes(first ?? ''), 'an earlier key is not to be trusted any more')
    t.same(kids(after.lease), kids(waiting.lease).reverse(), 'but leases of an earlier key are still out')
  })

  t.test(`${name}: of two who sign at once each gets a number of its own`, async (t) => {
    const bench = await openBench(t, await freshConfig(t))
    const { app, config } = bench
    const root = makeRootKey(join(config.dataDir, 'root.pem'), config.keysDir)
    const sets = await Promise.all([1, 2, 3].map(() => app.keySets.sign(ACTOR, root)))
    t.same(sets.map(({ seq }) => seq).sort(), [1, 2, 3])
    t.equal(partsOf((await fetchKeySet(bench)).body).payload.seq, 3)
    const events = await app.events.list({ type: 'key_set_signed', limit: 10 })
    t.same(events.map(({ detail }) => detail.seq).sort(), [1, 2, 3])
    t.same([...new Set(events.map(({ detail }) => detail.root))], [root.kid])
  })
}

t.test('without S3 no key of S3 is published', async (t) => {
  const { env, config } = await install(t, DATABASES[0]!, { SEALED_S3: 'true' })
  const root = join(config.dataDir, 'root.pem')
  await json(env, 'keys', 'root', '--out', root)
  const suites = async (env: Record<string, string>) => {
    await json(env, 'keys', 'sign', '--root', root)
    const bench = await openBench(t, config)
    const { payload } = partsOf((await fetchKeySet(bench)).body)
    return payload.kex.map(({ suite }: { suite: string }) => suite)
  }
  t.same(await suites({ ...env }), ['S1', 'S2', 'S3'])
  t.same(await suites({ ...env, SEALED_S3: 'false' }), ['S1', 'S2'])
  t.equal((await kunci(env, 'keys', 'list')).code, 0)
})
