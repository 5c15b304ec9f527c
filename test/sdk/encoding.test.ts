import t from 'tap'
import { equal, fromB64u, fromHex, lp, toB64u, toHex, u32, u64 } from '../../src/sdk/encoding.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** So deep that it cannot be made a text of. */
const DEEP = JSON.parse(`${'['.repeat(30_000)}${']'.repeat(30_000)}`)

t.test('base64url: accepted strings are exactly the canonical ones', async (t) => {
  t.same(fromB64u(''), new Uint8Array(0))
  let accepted = 0
  for (const a of ALPHABET)
    for (const b of ALPHABET) {
      const bytes = fromB64u(a + b)
      t.equal(fromB64u(a), null, 'one character is no byte')
      if (bytes === null) continue
      accepted += 1
      t.equal(toB64u(bytes), a + b)
    }
  t.equal(accepted, 256, 'of 4,096 pairs those without spare bits')
  for (const text of ['YR', 'YQ==', 'YQ=', 'Y Q', 'Y+', 'Y/', '\u00e9', 'YQ\n', ' YQ', 'AAAAA'])
    t.equal(fromB64u(text), null, JSON.stringify(text))
  for (const value of [undefined, null, 1, ['YQ'], { toString: () => 'YQ' }, DEEP])
    t.equal(fromB64u(value), null, 'what only becomes a text')
  const long = Uint8Array.from({ length: 40_000 }, (_, i) => i * 7)
  t.same(fromB64u(toB64u(long)), long)
  t.equal(toB64u(long), Buffer.from(long).toString('base64url'))
})

t.test('hex: lower case, whole bytes and nothing else', async (t) => {
  t.same(fromHex('00ff7a'), Uint8Array.of(0, 0xff, 0x7a))
  t.equal(toHex(Uint8Array.of(0, 0xff, 0x7a)), '00ff7a')
  for (const text of ['0', '0F', 'zz', '0 ', '00\n']) t.equal(fromHex(text), null, JSON.stringify(text))
  for (const value of [undefined, null, 0, ['00'], DEEP]) t.equal(fromHex(value), null, 'no text')
})

t.test('integers are big-endian and lengths stand before what they measure', async (t) => {
  t.equal(toHex(u32(300)), '0000012c')
  t.equal(toHex(u64(2 ** 40 + 1)), '0000010000000001')
  t.equal(toHex(lp('ab')), '00026162')
  t.equal(toHex(lp('\u00e9')), '0002c3a9')
  t.throws(() => lp(new Uint8Array(65_536)), RangeError)
})

t.test('bytes are equal only where every bit and the length are', async (t) => {
  const bytes = Uint8Array.of(1, 2, 3)
  t.ok(equal(bytes, Uint8Array.of(1, 2, 3)))
  t.notOk(equal(bytes, Uint8Array.of(1, 2)))
  t.notOk(equal(Uint8Array.of(1, 2), bytes))
  t.notOk(equal(bytes, Uint8Array.of(1, 2, 3, 0)))
  for (let bit = 0; bit < 24; bit++) {
    const other = bytes.slice()
    other[bit >> 3]! ^= 1 << (bit & 7)
    t.notOk(equal(bytes, other))
  }
})
