import { sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { open, seal } from '../../src/crypto/aead.ts'
import { hmac, hmacKey } from '../../src/crypto/digests.ts'
import { expand } from '../../src/crypto/expand.ts'
import { ed25519Key } from '../../src/crypto/jwk.ts'
import { staticKey } from '../../src/crypto/kex.ts'
import { openLegacyPayload } from '../../src/crypto/legacy-payload.ts'
import { x25519, x25519Private, x25519Public } from '../../src/crypto/x25519.ts'
import { hex } from '../support/bytes.ts'
import { forgeHmac } from '../support/forge.ts'
import { findPublishedVectors, type PublishedCase, publishedCases } from '../support/published-vectors.ts'

const directory = findPublishedVectors()
const skip = directory === undefined && 'no python3-cryptography-vectors here'

const field = (vector: PublishedCase, name: string) => hex(vector[name] ?? '')
const OUR_SIZES = 'IVlen = 96, '
const OUR_TAG = 'Taglen = 128'

t.test('AES-256-GCM opens what NIST says it opens, at our sizes, and nothing else', { skip }, async (t) => {
  const vectors = publishedCases('ciphers/AES/GCM/gcmDecrypt256.rsp').filter(
    ({ section }) => section.includes(OUR_SIZES) && section.includes(OUR_TAG),
  )
  t.equal(vectors.length, 375)
  for (const vector of vectors) {
    const [key, iv, aad] = [field(vector, 'key'), field(vector, 'iv'), field(vector, 'aad')]
    const box = Buffer.concat([field(vector, 'ct'), field(vector, 'tag')])
    const plaintext = open('S1', key, iv, aad, box)
    const name = `${vector.section} ${vector.count}`
    if (vector.fail === undefined) t.same(plaintext, field(vector, 'pt'), name)
    else t.equal(plaintext, null, `${name}, which is to fail`)
  }
  t.ok(vectors.some(({ fail }) => fail === undefined))
  t.ok(vectors.some(({ fail }) => fail !== undefined))
})

t.test('AES-256-GCM seals as NIST says, at our sizes', { skip }, async (t) => {
  const vectors = publishedCases('ciphers/AES/GCM/gcmEncryptExtIV256.rsp').filter(
    ({ section }) => section.includes(OUR_SIZES) && section.includes(OUR_TAG),
  )
  t.equal(vectors.length, 375)
  for (const vector of vectors)
    t.same(
      seal('S1', field(vector, 'key'), field(vector, 'iv'), field(vector, 'aad'), field(vector, 'pt')),
      Buffer.concat([field(vector, 'ct'), field(vector, 'tag')]),
      `${vector.section} ${vector.count}`,
    )
})

t.test('AES-256-GCM opens nothing by a shorter tag, even a right one of NIST', { skip }, async (t) => {
  const vectors = publishedCases('ciphers/AES/GCM/gcmDecrypt256.rsp').filter(
    ({ section, fail }) => section.includes(OUR_SIZES) && !section.includes(OUR_TAG) && fail === undefined,
  )
  const opened = vectors.filter((vector) => {
    const box = Buffer.concat([field(vector, 'ct'), field(vector, 'tag')])
    return open('S1', field(vector, 'key'), field(vector, 'iv'), field(vector, 'aad'), box) !== null
  })
  t.ok(vectors.length > 1000)
  t.equal(opened.length, 0)
})

for (const name of ['CBCMMT256', 'CBCGFSbox256', 'CBCKeySbox256', 'CBCVarKey256', 'CBCVarTxt256'])
  t.test(`AES-256-CBC is that of NIST's ${name}, in S2 and in the old payload`, { skip }, async (t) => {
    const vectors = publishedCases(`ciphers/AES/CBC/${name}.rsp`)
    t.ok(vectors.some(({ section }) => section === 'ENCRYPT'))
    t.ok(vectors.some(({ section }) => section === 'DECRYPT'))
    for (const vector of vectors) {
      const [key, iv, plaintext] = [field(vector, 'key'), field(vector, 'iv'), field(vector, 'plaintext')]
      // NIST's have no padding; ours is a block more.
      const box = seal('S2', Buffer.concat([Buffer.alloc(32, 1), key]), iv, Buffer.alloc(0), plaintext)
      const ciphertext = box.subarray(0, plaintext.length + 16)
      const label = `${vector.section} ${vector.count}`
      t.same(ciphertext.subarray(0, -16), field(vector, 'ciphertext'), label)
      t.same(openLegacyPayload(key, iv, ciphertext.toString('hex')), plaintext, label)
    }
  })

t.test('P-256 agrees on what NIST says, and on nothing with a point off the curve', { skip }, async (t) => {
  for (const role of ['init', 'resp']) {
    const vectors = publishedCases(
      `asymmetric/ECDH/KASValidityTest_ECCStaticUnified_NOKC_ZZOnly_${role}.fax`,
    ).filter(({ section }) => section === 'EC - SHA256')
    t.equal(vectors.length, 30)
    for (const vector of vectors) {
      const key = staticKey('S2', field(vector, 'dsiut'))
      const own = Buffer.concat([Buffer.from([4]), field(vector, 'qsiutx'), field(vector, 'qsiuty')])
      const peer = Buffer.concat([Buffer.from([4]), field(vector, 'qscavsx'), field(vector, 'qscavsy')])
      const secret = key.prepare()(peer)?.ss1 ?? null
      const label = `${role} ${vector.count}: ${vector.result}`
      const code = /\((\d+) /.exec(vector.result ?? '')?.[1] ?? ''
      if (['1', '2'].includes(code)) t.equal(secret, null, label)
      else if (['5', '6', '7'].includes(code)) t.notSame(key.publicKey, own, label)
      else if (code === '8') t.notSame(secret, field(vector, 'z'), label)
      else t.same([key.publicKey, secret], [own, field(vector, 'z')], label)
    }
  }
})

t.test('X25519 is that of the published RFC 7748 file', { skip }, async (t) => {
  const vectors = publishedCases('asymmetric/X25519/rfc7748.txt').filter(({ output_u }) => output_u)
  t.ok(vectors.length >= 3)
  for (const vector of vectors)
    t.same(
      x25519(x25519Private(field(vector, 'input_scalar')), x25519Public(field(vector, 'input_u'))),
      field(vector, 'output_u'),
    )
})

t.test('HKDF-Expand is that of the published RFC 5869 file, as far as two blocks go', { skip }, async (t) => {
  const vectors = publishedCases('KDF/rfc-5869-HKDF-SHA256.txt')
  t.equal(vectors.length, 3)
  for (const vector of vectors) {
    const okm = field(vector, 'okm').subarray(0, 64)
    t.same(expand(hmacKey(field(vector, 'prk')), field(vector, 'info'), okm.length), okm)
  }
})

t.test('HMAC is that of the published RFC 4231 file', { skip }, async (t) => {
  const vectors = publishedCases('HMAC/rfc-4231-sha256.txt')
  t.equal(vectors.length, 6)
  for (const vector of vectors) {
    const [key, message] = [field(vector, 'key'), field(vector, 'msg')]
    t.same(forgeHmac('sha256', key, message), field(vector, 'md'))
    t.same(hmac(hmacKey(key), message), field(vector, 'md'))
  }
})

t.test('Ed25519 signs all 1,024 messages of sign.input as it was first published', { skip }, async (t) => {
  const lines = readFileSync(join(directory as string, 'asymmetric/Ed25519/sign.input'), 'utf8')
    .trim()
    .split('\n')
  const wrong = lines.filter((line) => {
    const [secret = '', publicKey, message = '', signed = ''] = line.split(':')
    const key = ed25519Key(hex(secret.slice(0, 64)))
    const signature = sign(null, hex(message), key.privateKey).toString('hex')
    const x = Buffer.from(key.publicJwk.x, 'base64url').toString('hex')
    return x !== publicKey || signature + message !== signed
  })
  t.equal(lines.length, 1024)
  t.same(wrong, [])
})
