import { createECDH, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { pinsText } from '../../src/cli/pin-formats.ts'
import type { Config } from '../../src/config.ts'
import { p256SigningKey, thumbprint } from '../../src/crypto/jwk.ts'
import { kexKeyId } from '../../src/crypto/kex.ts'
import { failure, json, kunci } from '../support/cli.ts'
import { type ManualClock, manualClock } from '../support/clock.ts'
import { DATABASES } from '../support/databases.ts'
import { asOperator, type Installation, install } from '../support/installation.ts'
import { ACTOR } from '../support/legacy.ts'

const MINUTE_MS = 60_000
const S3 = { SEALED_S3: 'true' }

type RingFile = {
  current: string
  keys: Record<string, string>
  next?: { id: string; from: string }
  made: Record<string, string>
  retired?: Record<string, string>
}

function ringFile({ keysDir }: Config, ring: string): RingFile {
  return JSON.parse(readFileSync(join(keysDir, `${ring}.json`), 'utf8'))
}

function secretOf(config: Config, ring: string, id = 'k1'): Buffer {
  return Buffer.from(ringFile(config, ring).keys[id] ?? '', 'base64url')
}

function x25519PublicKey(secret: Buffer): string {
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), secret])
  const { x } = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({
    format: 'jwk',
  })
  return x ?? ''
}

function p256PublicKey(secret: Buffer): string {
  const ecdh = createECDH('prime256v1')
  ecdh.setPrivateKey(secret)
  return ecdh.getPublicKey('base64url')
}

const fileText = ({ keysDir }: Config, ring: string) => readFileSync(join(keysDir, `${ring}.json`), 'utf8')

/** Rotates by a clock that the test moves. */
function rotateAt(installation: Installation, clock: ManualClock, ring: string) {
  return asOperator(installation, (app) => app.keyRotation.rotate(ACTOR, ring, clock() + MINUTE_MS), {
    clock,
  })
}

/** Retires by a clock that the test moves; as a code and its detail where it is refused. */
function retireAt(installation: Installation, clock: ManualClock, ring: string, id: string, yes = false) {
  return asOperator(installation, (app) => app.keyRotation.retire(ACTOR, ring, id, yes), { clock }).catch(
    ({ code, detail }) => `${code}: ${detail}`,
  )
}

for (const database of DATABASES) {
  t.test(`on ${database.name}`, async (t) => {
    t.test('clients are given the public halves of the keys that the server holds to pin', async (t) => {
      const { env, config } = await install(t, database)
      const pins = await json(env, 'keys', 'pins')
      t.same(Object.keys(pins), ['S1', 'S2', 'lease'])
      const s1 = x25519PublicKey(secretOf(config, 'kex-s1'))
      const s2 = p256PublicKey(secretOf(config, 'kex-s2'))
      t.same(pins.S1, [{ kid: kexKeyId('S1', Buffer.from(s1, 'base64url')), pub: s1 }])
      t.same(pins.S2, [{ kid: kexKeyId('S2', Buffer.from(s2, 'base64url')), pub: s2 }])
      const { alg, use, ...jwk } = p256SigningKey(secretOf(config, 'lease')).publicJwk
      t.same(pins.lease, [jwk])
      t.same(JSON.parse((await kunci(env, 'keys', 'pins')).stdout), pins, 'the plain text is the same JSON')
      t.same(await json(env, 'keys', 'pins', '--suite', 'S2'), { S2: pins.S2, lease: pins.lease })
    })

    t.test('S3 has keys and pins where it is switched on, and nowhere else', async (t) => {
      const { env } = await install(t, database, S3)
      t.match(await json(env, 'keys', 'pins', '--suite', 'S3'), {
        S3: [{ kid: /^[0-9a-f]{16}$/, pub: /^[\w-]{1622}$/ }],
      })
      const off = { ...env, SEALED_S3: 'false' }
      t.same(Object.keys(await json(off, 'keys', 'pins')), ['S1', 'S2', 'lease'])
      t.match(await failure(off, 'keys', 'pins', '--suite', 'S3'), {
        ...{ exitCode: 2, code: 'invalid_argument', detail: /S3 is switched off/ },
      })
    })

    t.test('the list names every key by what others know it by, and no secret', async (t) => {
      const { env, config } = await install(t, database)
      const { S1, lease } = await json(env, 'keys', 'pins')
      const keys: { ring: string; kid: string | null }[] = await json(env, 'keys', 'list')
      t.same(
        keys.map(({ ring }) => ring),
        ['kek', 'hwid-pepper', 'licence-pepper', 'legacy-jwt', 'jwt', 'lease', 'kex-s1', 'kex-s2'],
      )
      const kidOf = (name: string) => keys.find(({ ring }) => ring === name)?.kid
      t.same([kidOf('kex-s1'), kidOf('lease'), kidOf('kek')], [S1[0].kid, lease[0].kid, null])
      for (const { ring, ...key } of keys) {
        const { made } = ringFile(config, ring)
        t.match(key, { id: 'k1', state: 'current', made_at: made.k1, since: made.k1 }, ring)
      }
      const told = [keys, (await kunci(env, 'keys', 'list')).stdout, await json(env, 'keys', 'pins')]
      for (const { ring } of keys)
        t.notMatch(JSON.stringify(told), secretOf(config, ring).toString('base64url'), ring)
    })

    t.test('a JWT_SECRET from outside is listed as the key it is', async (t) => {
      const secret = 'a secret of the old server, 32+ bytes'
      const { env } = await install(t, database, { JWT_SECRET: secret })
      const listed = await kunci(env, 'keys', 'list')
      t.match(listed.stdout, /^legacy-jwt +env +- +current +-$/m)
      t.notMatch(listed.stdout, secret)
    })

    t.test('a new key waits for a minute, then takes over; the earlier one stays', async (t) => {
      const installation = await install(t, database)
      const { env, config } = installation
      const beforeMs = Date.now()
      const added = await json(env, 'keys', 'rotate', 'kek')
      t.match(added, { ring: 'kek', id: 'k2' })
      const fromMs = Date.parse(added.from)
      t.ok(fromMs >= beforeMs + MINUTE_MS - 5000 && fromMs <= Date.now() + MINUTE_MS + 5000, added.from)
      const { keys, ...rest } = ringFile(config, 'kek')
      t.match(rest, { current: 'k1', next: { id: 'k2', from: added.from } })
      t.same(Object.keys(keys), ['k1', 'k2'])
      t.not(keys.k1, keys.k2)
      t.equal(statSync(join(config.keysDir, 'kek.json')).mode & 0o777, 0o600)
      const kek = async (clock = manualClock(fromMs - 1)) => {
        const all = await asOperator(installation, async (app) => app.keys.list(), { clock })
        return all.filter(({ ring }) => ring === 'kek').map(({ id, state, sinceMs }) => [id, state, sinceMs])
      }
      t.match(await kek(), [
        ['k1', 'current'],
        ['k2', 'next', fromMs],
      ])
      t.same(await kek(manualClock(fromMs)), [
        ['k2', 'current', fromMs],
        ['k1', 'retired', fromMs],
      ])
      t.match(await json(env, 'events', 'list', '--type', 'key_rotated'), [
        { actor: /^cli/, detail: { ring: 'kek', id: 'k2', from: added.from } },
      ])
      t.match(await failure(env, 'keys', 'rotate', 'kek'), {
        ...{ exitCode: 4, code: 'key_state', detail: /next key already: k2/ },
      })
      t.equal((await rotateAt(installation, manualClock(fromMs), 'kek')).id, 'k3', 'once it took over')
      t.same(Object.entries(ringFile(config, 'kek').retired ?? {}), [['k1', added.from]])
    })

    t.test('a key takes over when it is told to, also at once', async (t) => {
      const { env, config } = await install(t, database)
      t.same(await json(env, 'keys', 'rotate', 'kex-s1', '--at', '2040-01-01T07:00:00+07:00'), {
        ...{ ring: 'kex-s1', id: 'k2', from: '2040-01-01T00:00:00.000Z' },
      })
      const { S1 } = await json(env, 'keys', 'pins')
      const pinned = ['k1', 'k2'].map((id) => x25519PublicKey(secretOf(config, 'kex-s1', id)))
      t.same(
        S1.map(({ pub }: { pub: string }) => pub),
        pinned,
        'a client is given both to pin, the current one first',
      )
      await json(env, 'keys', 'rotate', 'lease', '--now')
      const { current, next, retired } = ringFile(config, 'lease')
      t.match([current, next, Object.keys(retired ?? {})], ['k2', undefined, ['k1']])
      const { lease } = await json(env, 'keys', 'pins')
      t.same(
        lease.map(({ x }: { x: string }) => x),
        ['k2', 'k1'].map((id) => p256SigningKey(secretOf(config, 'lease', id)).publicJwk.x),
        'leases of the earlier key are still out',
      )
      const wrong: [string[], RegExp][] = [
        [['kek', '--at', '2020-01-01'], /is past/],
        [['kek', '--at', '2040-01-01', '--now'], /exclude each other/],
        [['kekse'], /there are: kek, hwid-pepper/],
      ]
      for (const [argv, detail] of wrong)
        t.match(await failure(env, 'keys', 'rotate', ...argv), { exitCode: 2, detail })
      t.match(await failure(env, 'keys', 'rotate', 'kex-s3'), { exitCode: 4, detail: /SEALED_S3 is off/ })
      const withSecret = { ...env, JWT_SECRET: 'a secret of the old server, 32+ bytes' }
      t.match(await failure(withSecret, 'keys', 'rotate', 'legacy-jwt'), { detail: /JWT_SECRET is set/ })
    })

    t.test('of two who rotate at once one makes the key, and the other finds it waiting', async (t) => {
      const { env, config } = await install(t, database)
      const codes = await Promise.all(
        [1, 2, 3].map(async () => (await kunci(env, 'keys', 'rotate', 'jwt')).code),
      )
      t.same(codes.sort(), [0, 4, 4])
      t.same(Object.keys(ringFile(config, 'jwt').keys), ['k1', 'k2'])
      t.equal((await kunci(env, 'keys', 'list')).code, 0, 'the database knows the key that is in the file')
    })

    t.test('a node that has not got the other node’s key makes none of the same name', async (t) => {
      const { env, config } = await install(t, database)
      await json(env, 'keys', 'list')
      const keysDir = join(config.dataDir, 'other-keys')
      cpSync(config.keysDir, keysDir, { recursive: true })
      await json(env, 'keys', 'rotate', 'kek')
      const before = fileText({ ...config, keysDir }, 'kek')
      t.match(await failure({ ...env, KEYS_DIR: keysDir }, 'keys', 'rotate', 'kek'), {
        ...{ exitCode: 5, message: /met key k2 of kek.*\nCopy KEYS_DIR/ },
      })
      t.equal(fileText({ ...config, keysDir }, 'kek'), before)
    })

    t.test('a file that cannot be written leaves no trace of a key in the database', async (t) => {
      const { env, config } = await install(t, database)
      await json(env, 'keys', 'list')
      const file = join(config.keysDir, 'kek.json')
      // A name so long that no draft fits beside it.
      const elsewhere = join(config.keysDir, `${'long'.repeat(60)}.json`)
      renameSync(file, elsewhere)
      symlinkSync(elsewhere, file)
      const before = readdirSync(config.keysDir)
      t.match(await failure(env, 'keys', 'rotate', 'kek'), {
        ...{ exitCode: 5, message: /kek\.json cannot be written: ENAMETOOLONG/ },
      })
      t.same(Object.keys(ringFile(config, 'kek').keys), ['k1'])
      t.same(readdirSync(config.keysDir), before)
      renameSync(elsewhere, file)
      t.same(await json(env, 'events', 'list', '--type', 'key_rotated'), [])
      t.match(await json(env, 'keys', 'rotate', 'kek'), { id: 'k2' }, 'the database has met no k2')
    })

    t.test('a key is retired once nothing can need it any more, and its file forgets it', async (t) => {
      const installation = await install(t, database)
      const { config } = installation
      const clock = manualClock(Date.now())
      for (const ring of ['kek', 'jwt', 'legacy-jwt']) {
        const { fromMs } = await rotateAt(installation, clock, ring)
        const before = fileText(config, ring)
        const refused = async (id: string, why: RegExp) => {
          t.match(await retireAt(installation, clock, ring, id, true), why, `${ring} ${id}`)
          t.equal(fileText(config, ring), before)
        }
        await refused('k1', /^key_state: k1 is the current key/)
        await refused('k2', /^key_state: k2 is the next key/)
        await refused('k3', /^key_not_found: .* no key "k3"/)
        clock.advance(fromMs + 10 * MINUTE_MS - 1 - clock())
        await refused('k1', /^key_state: .* still needed.* until /)
        clock.advance(1)
        t.equal(await retireAt(installation, clock, ring, 'k1'), ring)
        const { current, next, keys, made, retired } = ringFile(config, ring)
        t.same([current, next, Object.keys(keys), Object.keys(made)], ['k2', undefined, ['k2'], ['k2']])
        t.same(Object.keys(retired ?? {}), ['k1'])
        t.match(await retireAt(installation, clock, ring, 'k1'), /^key_not_found/)
        t.equal((await rotateAt(installation, clock, ring)).id, 'k3', 'an id is not used twice')
      }
      const events = await json(installation.env, 'events', 'list', '--type', 'key_retired')
      t.match(
        events.map(({ detail }: { detail: unknown }) => detail),
        ['kek', 'jwt', 'legacy-jwt'].map((ring) => ({ ring, id: 'k1' })),
      )
    })

    t.test('sessions that live longer keep their keys longer', async (t) => {
      const installation = await install(t, database, { SESSION_KEY_TTL_S: '3600' })
      const clock = manualClock(Date.now())
      const { fromMs } = await rotateAt(installation, clock, 'kek')
      clock.advance(fromMs + 65 * MINUTE_MS - 1 - clock())
      t.match(await retireAt(installation, clock, 'kek', 'k1'), /^key_state/)
      clock.advance(1)
      t.equal(await retireAt(installation, clock, 'kek', 'k1'), 'kek')
    })

    t.test('a key that clients depend on is retired only by who says yes, a pepper by nobody', async (t) => {
      const installation = await install(t, database)
      const clock = manualClock(Date.now())
      for (const ring of ['kex-s1', 'kex-s2', 'lease', 'hwid-pepper', 'licence-pepper'])
        await rotateAt(installation, clock, ring)
      clock.advance(400 * 24 * 60 * MINUTE_MS)
      for (const ring of ['kex-s1', 'kex-s2', 'lease']) {
        t.match(await retireAt(installation, clock, ring, 'k1'), /^invalid_argument: without --yes it stays/)
        t.equal(await retireAt(installation, clock, ring, 'k1', true), ring)
      }
      for (const ring of ['hwid-pepper', 'licence-pepper'])
        t.match(
          await retireAt(installation, clock, ring, 'k1', true),
          /^key_state: a pepper is needed for ever/,
        )
    })
  })
}

t.test('a root key is made for its owner alone, and never where the server reads its keys', async (t) => {
  const { env, config } = await install(t, DATABASES[0]!)
  await json(env, 'keys', 'list')
  const file = join(config.dataDir, 'root.pem')
  const jwk = await json(env, 'keys', 'root', '--out', file)
  t.equal(statSync(file).mode & 0o777, 0o600)
  const pem = readFileSync(file, 'utf8')
  const { kty, crv, x, y } = createPublicKey(pem).export({ format: 'jwk' })
  t.same(jwk, { kty, crv, kid: thumbprint({ kty: 'EC', crv: 'P-256', x: x!, y: y! }), x, y })
  const link = join(config.dataDir, 'link')
  symlinkSync(config.keysDir, link)
  const refused: [string, RegExp][] = [
    [join(config.keysDir, 'root.pem'), /inside KEYS_DIR/],
    [join(config.keysDir, '..', 'keys', 'root.pem'), /inside KEYS_DIR/],
    [join(link, 'root.pem'), /inside KEYS_DIR/],
    [file, /is there already/],
  ]
  const before = readdirSync(config.keysDir)
  for (const [out, detail] of refused)
    t.match(await failure(env, 'keys', 'root', '--out', out), { exitCode: 2, detail }, out)
  t.match(await failure(env, 'keys', 'root', '--out', join(config.dataDir, 'no', 'root.pem')), {
    ...{ exitCode: 5, message: /cannot be written/ },
  })
  t.same(readdirSync(config.keysDir), before)
  t.equal(readFileSync(file, 'utf8'), pem)
})

t.test('a key set is signed by a root key alone, which nobody else can read', async (t) => {
  const { env, config } = await install(t, DATABASES[0]!)
  const file = join(config.dataDir, 'root.pem')
  const { kid } = await json(env, 'keys', 'root', '--out', file)
  t.match(await json(env, 'keys', 'sign', '--root', file), { seq: 1, root_kid: kid })
  t.match(await json(env, 'keys', 'sign', '--root', file), { seq: 2, root_kid: kid })
  const sign = (root: string) => failure(env, 'keys', 'sign', '--root', root)
  chmodSync(file, 0o640)
  t.match(await sign(file), { exitCode: 5, message: /can be read by others\. Run: chmod 600/ })
  t.match(await sign(join(config.dataDir, 'none.pem')), { exitCode: 5, message: /is missing/ })
  const { privateKey } = generateKeyPairSync('ed25519')
  for (const text of ['no key', privateKey.export({ format: 'pem', type: 'pkcs8' })]) {
    const other = join(config.dataDir, 'other.pem')
    writeFileSync(other, text, { mode: 0o600 })
    t.match(await sign(other), { exitCode: 5, message: /holds no ES256 private key/ })
  }
  t.equal((await json(env, 'events', 'list', '--type', 'key_set_signed')).length, 2)
})

t.test('a key file stays its owner’s, and a link a link', { skip: process.getuid?.() !== 0 }, async (t) => {
  const { env, config } = await install(t, DATABASES[0]!)
  await json(env, 'keys', 'list')
  const [file, elsewhere] = [join(config.keysDir, 'kek.json'), join(config.dataDir, 'elsewhere.json')]
  chownSync(file, 4711, 4712)
  renameSync(file, elsewhere)
  symlinkSync(elsewhere, file)
  await json(env, 'keys', 'rotate', 'kek')
  t.ok(lstatSync(file).isSymbolicLink())
  const { uid, gid, mode } = statSync(elsewhere)
  t.same([uid, gid, mode & 0o777], [4711, 4712, 0o600])
  t.same(Object.keys(ringFile(config, 'kek').keys), ['k1', 'k2'])
})

t.test('pins come as constants of the languages that clients are written in', async (t) => {
  const pins = {
    S1: [
      { kid: '00', pub: 'AA' },
      { kid: '11', pub: 'BB' },
    ],
    lease: [{ kty: 'EC', crv: 'P-256', kid: 'k', x: 'X', y: 'Y' }],
  } as const
  t.equal(
    pinsText(pins, 'csharp'),
    [
      '// Suite S1: kid, public key.',
      'static readonly string[][] PinsS1 =',
      ...['{', '    new[] { "00", "AA" },', '    new[] { "11", "BB" },', '};', ''],
      '// Leases, P-256: kid, x, y.',
      'static readonly string[][] LeaseKeys =',
      ...['{', '    new[] { "k", "X", "Y" },', '};'],
    ].join('\n'),
  )
  t.equal(
    pinsText(pins, 'cpp'),
    [
      '// Suite S1: kid, public key.',
      'constexpr const char* pins_s1[][2] = {',
      ...['    { "00", "AA" },', '    { "11", "BB" },', '};', ''],
      '// Leases, P-256: kid, x, y.',
      'constexpr const char* lease_keys[][3] = {',
      ...['    { "k", "X", "Y" },', '};'],
    ].join('\n'),
  )
  t.equal(
    pinsText(pins, 'python'),
    [
      '# Suite S1: kid, public key.',
      ...['PINS_S1 = [', '    ("00", "AA"),', '    ("11", "BB"),', ']', ''],
      '# Leases, P-256: kid, x, y.',
      ...['LEASE_KEYS = [', '    ("k", "X", "Y"),', ']'],
    ].join('\n'),
  )
  t.equal(
    pinsText(pins, 'java'),
    [
      '// Suite S1: kid, public key.',
      ...['static final String[][] PINS_S1 = {', '    { "00", "AA" },', '    { "11", "BB" },', '};', ''],
      '// Leases, P-256: kid, x, y.',
      ...['static final String[][] LEASE_KEYS = {', '    { "k", "X", "Y" },', '};'],
    ].join('\n'),
  )
})
