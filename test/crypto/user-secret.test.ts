import { createCipheriv, createHmac, createSecretKey } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { openUserSecret, sealUserSecret } from '../../src/crypto/user-secret.ts'
import { bytes, holds } from '../support/properties.ts'

const PEPPER_BYTES = Buffer.from('a pepper of thirty-two bytes ...')
const PEPPER = createSecretKey(PEPPER_BYTES)
const SECRET = Buffer.from('twenty bytes of seed')
const NONCE = Buffer.from('nonce 12 by.')
const ANI = 373_582_347_660_812
const BUDI = ANI + 1
const peppers = new Map([['p7', PEPPER]])
const sealed = sealUserSecret(PEPPER, 'p7', ANI, SECRET, NONCE)

const lengthPrefixed = (text: string) => Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)])
const decoded = (text: string) => Buffer.from(text.split('.')[2] ?? '', 'base64url')
const encoded = (raw: Uint8Array, id = 'p7') => `u1.${id}.${Buffer.from(raw).toString('base64url')}`

t.test('a sealed secret is what RFC 5116 and RFC 5869 make of it, and nothing else', async (t) => {
  const label = lengthPrefixed('kunci/user-secret')
  const key = createHmac('sha256', PEPPER_BYTES)
    .update(label)
    .update(Buffer.from([1]))
    .digest()
  const cipher = createCipheriv('aes-256-gcm', key, NONCE)
  cipher.setAAD(Buffer.concat([label, lengthPrefixed('p7'), lengthPrefixed(String(ANI))]))
  const box = Buffer.concat([cipher.update(SECRET), cipher.final(), cipher.getAuthTag()])
  t.equal(sealed, encoded(Buffer.concat([NONCE, box])))
  t.notMatch(decoded(sealed).toString('latin1'), SECRET.toString('latin1'))
})

t.test('what was sealed for a user opens for him, whatever it is', async (t) => {
  const secret = fc.uint8Array({ minLength: 1, maxLength: 120 })
  const userId = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
  holds(
    t,
    fc.property(secret, userId, bytes(12), (secret, userId, nonce) => {
      const text = sealUserSecret(PEPPER, 'p7', userId, secret, nonce)
      return text.length <= 255 && openUserSecret(peppers, userId, text)?.equals(secret) === true
    }),
    'and fits the column',
  )
})

t.test('moved to another row, or under another pepper, it does not open', async (t) => {
  const other = createSecretKey(Buffer.from('another pepper of 32 bytes .....'))
  t.same(openUserSecret(peppers, ANI, sealed), SECRET)
  for (const userId of [BUDI, 0, -ANI, Number.parseInt(String(ANI).slice(0, -1), 10), Number.NaN])
    t.equal(openUserSecret(peppers, userId, sealed), null, `the row of ${userId}`)
  t.equal(openUserSecret(new Map([['p7', other]]), ANI, sealed), null, 'another pepper of the same name')
  t.equal(openUserSecret(new Map(), ANI, sealed), null, 'no pepper')
  const both = new Map([...peppers, ['p8', PEPPER]])
  t.equal(openUserSecret(both, ANI, encoded(decoded(sealed), 'p8')), null, 'the same pepper of another name')
  const ofOld = sealUserSecret(other, 'p6', ANI, SECRET, NONCE)
  t.same(openUserSecret(new Map([...peppers, ['p6', other]]), ANI, ofOld), SECRET, 'after a rotation')
})

t.test('not one bit of it can be another', async (t) => {
  const raw = decoded(sealed)
  for (let bit = 0; bit < raw.length * 8; bit++) {
    const altered = Buffer.from(raw)
    altered[bit >> 3]! ^= 1 << (bit & 7)
    t.equal(openUserSecret(peppers, ANI, encoded(altered)), null, `bit ${bit}`)
  }
  for (let length = 0; length < raw.length; length++)
    t.equal(openUserSecret(peppers, ANI, encoded(raw.subarray(0, length))), null, `${length} bytes`)
})

t.test('what is not in its form is no secret, and never an error', async (t) => {
  for (const text of [
    ...['', 'u1', 'u1.p7', 'u1.p7.', `${sealed}=`, `${sealed}\n`, ` ${sealed}`, `${sealed}.`, `${sealed}A`],
    ...[
      sealed.replace('u1', 'u2'),
      sealed.replace('p7', 'P7'),
      sealed.replace('p7', ''),
      sealed.toUpperCase(),
    ],
    ...[sealed.replace('p7', '__proto__'), sealed.replace('p7', 'a'.repeat(17)), `u1.p7.${'A'.repeat(201)}`],
    ...[encoded(Buffer.alloc(28)), encoded(Buffer.alloc(29)), 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', '\ud800'],
  ])
    t.equal(openUserSecret(peppers, ANI, text), null, JSON.stringify(text))
  holds(
    t,
    fc.property(fc.string({ unit: 'binary' }), (text) => openUserSecret(peppers, ANI, text) === null),
    'whatever stands there',
  )
})
