import { createECDH, createPrivateKey, createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { pinsText } from '../../src/cli/pin-formats.ts'
import type { Config } from '../../src/config.ts'
import { p256SigningKey } from '../../src/crypto/jwk.ts'
import { kexKeyId } from '../../src/crypto/kex.ts'
import { failure, json, kunci } from '../support/cli.ts'
import { DATABASES } from '../support/databases.ts'
import { install } from '../support/installation.ts'

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
  })
}

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
