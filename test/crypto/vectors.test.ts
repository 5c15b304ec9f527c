import { createSecretKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { hmacKey } from '../../src/crypto/digests.ts'
import { fromB64u, lp, toB64u } from '../../src/crypto/encoding.ts'
import { expand32, secretKey32 } from '../../src/crypto/expand.ts'
import { componentAtRest, componentDigest, normaliseVolume } from '../../src/crypto/fingerprint.ts'
import {
  formatLicenceKey,
  licenceKeyAtRest,
  licenceKeyFrom,
  parseLicenceKey,
} from '../../src/crypto/licence-key.ts'
import { unwrapSessionKey, wrapSessionKey } from '../../src/crypto/row-wrap.ts'
import type { Suite } from '../../src/crypto/suites.ts'

const vectors = JSON.parse(readFileSync(new URL('../vectors/dsk1.json', import.meta.url), 'utf8'))
const hex = (text: string) => Buffer.from(text, 'hex')
const key = (text: string) => createSecretKey(hex(text))

for (const suite of ['S1', 'S2', 'S3'] as Suite[]) {
  const { session_id: sessionId, session_key, session_iv, row } = vectors[suite]
  const context = { suite, sessionId, iv: hex(session_iv) }
  const keks = new Map([[row.kek_id, key(row.kek)]])

  t.test(`${suite}: a wrapped row equals the published vector and opens again`, async (t) => {
    const column = wrapSessionKey(key(row.kek), row.kek_id, context, hex(session_key), hex(row.nonce))
    t.equal(column, row.session_key_column)
    t.equal(unwrapSessionKey(keks, context, column)?.toString('hex'), session_key)
  })

  t.test(`${suite}: a wrapped key opens nowhere but in its own row, suite, IV and key id`, async (t) => {
    const column: string = row.session_key_column
    const otherId = `${sessionId.slice(0, -1)}${sessionId.endsWith('0') ? '1' : '0'}`
    const otherIv = Buffer.from(context.iv)
    otherIv[0]! ^= 1
    t.equal(unwrapSessionKey(keks, { ...context, sessionId: otherId }, column), null, 'another row')
    t.equal(unwrapSessionKey(keks, { ...context, iv: otherIv }, column), null, 'another IV')
    t.equal(unwrapSessionKey(keks, { ...context, suite: 'L0' }, column), null, 'another suite asked for')
    t.equal(unwrapSessionKey(keks, context, column.replace(`.${suite}.`, '.L0.')), null, 'suite edited')
    const twoIds = new Map([...keks, ['k2', key(row.kek)]])
    t.equal(unwrapSessionKey(twoIds, context, column.replace('.k1.', '.k2.')), null, 'key id edited')
    t.equal(
      unwrapSessionKey(new Map([['k1', key(`${'5a'.repeat(31)}00`)]]), context, column),
      null,
      'another key',
    )
    t.equal(unwrapSessionKey(new Map(), context, column), null, 'no such key')
    t.equal(unwrapSessionKey(keks, context, session_key), null, 'a plain key')
  })

  t.test(`${suite}: a wrapped key with any one bit flipped does not open`, async (t) => {
    const [head, tail] = [row.session_key_column.slice(0, 9), row.session_key_column.slice(9)]
    const sealed = Buffer.from(tail, 'base64url')
    const opened = Array.from({ length: sealed.length * 8 }, (_, bit) => {
      const flipped = Buffer.from(sealed)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      return unwrapSessionKey(keks, context, head + toB64u(flipped))
    })
    t.ok(opened.every((result) => result === null))
    t.equal(opened.length, 480)
  })
}

t.test('fingerprint digests equal the published vectors', async (t) => {
  const { tool, norm, digest_hex, at_rest, pepper } = vectors.hwid
  for (const [type, values] of Object.entries(norm) as [string, string[]][]) {
    const digests = values.map((value) => componentDigest(tool, type, value))
    t.same(
      digests.map((digest) => digest.toString('hex')),
      digest_hex[type],
      `${type}: digest`,
    )
    t.same(
      digests.map((digest) => componentAtRest(key(pepper), tool, type, digest).toString('hex')),
      at_rest[type],
      `${type}: at rest`,
    )
  }
})

t.test('an old hardware id keeps letters and digits in their case, and nothing else', async (t) => {
  t.equal(normaliseVolume(' 12-34 aBc\u00e9\u0000\n'), '1234aBc')
  t.equal(normaliseVolume('--- \u0661'), '')
})

t.test('a licence key equals the published vector, from random bytes to the hash at rest', async (t) => {
  const { rand, key: text, normalised, pepper, at_rest } = vectors.licence
  const made = licenceKeyFrom(hex(rand))
  t.equal(made, normalised)
  t.equal(formatLicenceKey(made), text)
  t.equal(licenceKeyAtRest(key(pepper), made).toString('hex'), at_rest)
})

t.test('a licence key is read as people type it, and a wrong symbol is caught', async (t) => {
  const { key: text, normalised } = vectors.licence
  for (const typed of [
    text,
    text.toLowerCase(),
    ` ${text.replace(/-/g, ' ')} `,
    text.replace(/0/g, 'O'),
    normalised,
  ])
    t.equal(parseLicenceKey(typed), normalised, typed)
  t.equal(parseLicenceKey(normalised.replace(/1/g, 'l')), normalised, 'l is 1')
  const last = normalised.at(-1) === '0' ? '1' : '0'
  for (const typed of [
    '',
    text.slice(0, -1),
    `${text}0`,
    normalised.slice(0, 24) + last,
    text.replace('Z', 'U'),
  ])
    t.equal(parseLicenceKey(typed), null, typed)
})

t.test('strict decoders accept exactly what their encoders write', async (t) => {
  t.same(fromB64u('YQ'), Buffer.from('a'))
  for (const text of ['YR', 'YQ==', 'YQ=', 'Y', 'Y Q', 'Y+', 'Y/', '\u00e9'])
    t.equal(fromB64u(text), null, text)
})

t.test('length prefixes keep neighbouring fields apart', async (t) => {
  const seen = new Set<string>()
  const text = 'abcdefgh'
  for (let i = 0; i <= text.length; i++)
    for (let j = i; j <= text.length; j++)
      seen.add(Buffer.concat([lp(text.slice(0, i)), lp(text.slice(i, j)), lp(text.slice(j))]).toString('hex'))
  t.equal(seen.size, 45)
  t.throws(() => lp(Buffer.alloc(65536)), RangeError)
})

t.test('HKDF-Expand equals RFC 5869 A.1 for its first block, and a key must be 32 real bytes', async (t) => {
  const prk = hmacKey(hex('077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5'))
  const okm = expand32(prk, hex('f0f1f2f3f4f5f6f7f8f9'))
  t.equal(okm.toString('hex'), '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf')
  t.throws(() => secretKey32(Buffer.alloc(32)), RangeError)
  t.throws(() => secretKey32(Buffer.alloc(31, 'ab')), RangeError)
})
