import crypto, { createSecretKey, type KeyObject } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import fc from 'fast-check'
import t from 'tap'
import { open, seal } from '../../src/crypto/aead.ts'
import { fromB64u, lp, toB64u } from '../../src/crypto/encoding.ts'
import { CROCKFORD, formatLicenceKey, licenceKeyFrom, parseLicenceKey } from '../../src/crypto/licence-key.ts'
import {
  openReply,
  openRequest,
  padded,
  recordKeys,
  sealReply,
  sealRequest,
} from '../../src/crypto/records.ts'
import { unwrapSessionKey, wrapSessionKey } from '../../src/crypto/row-wrap.ts'
import { openHello, sealHello, transcriptHash } from '../../src/crypto/schedule.ts'
import { BOX_MAX_BYTES, SIZES } from '../../src/crypto/suites.ts'
import { derived, flipped } from '../support/bytes.ts'
import { bytes, holds, twoSplits } from '../support/properties.ts'

const SUITES = ['S1', 'S2', 'S3'] as const
const SESSION = derived('properties/session', 32).toString('hex')
const sessionKey = derived('properties/session_key', 32)

for (const suite of SUITES) {
  const sizes = SIZES[suite]

  t.test(`${suite}: what is sealed opens as it was, at every size up to the longest`, async (t) => {
    const roundTrip = fc.property(
      ...[bytes(sizes.key), bytes(sizes.nonce), fc.uint8Array({ maxLength: 300 })],
      fc.oneof(fc.nat(600), fc.nat(BOX_MAX_BYTES), fc.constantFrom(BOX_MAX_BYTES - 1, BOX_MAX_BYTES)),
      (key, nonce, aad, size) => {
        const plaintext = derived('properties/plaintext', size)
        return (
          open(suite, key, nonce, aad, seal(suite, key, nonce, aad, plaintext))?.equals(plaintext) === true
        )
      },
    )
    holds(t, roundTrip, 'open(seal(x)) = x', 400)
  })

  t.test(`${suite}: any one bit of a record or of what it is bound to, and it does not open`, async (t) => {
    const sent = {
      ...{ sessionId: SESSION, op: 'licence.check', sessionKey, seq: 7 },
      ...{ sessionIv: derived('properties/iv', sizes.nonce), salt: derived('properties/salt', 16) },
      boundTo: derived('properties/bound', 32),
    }
    type Sent = typeof sent & { readonly box: Buffer }
    const keysOf = (of: typeof sent) => recordKeys(suite, of.sessionId, of.sessionKey, of.sessionIv)
    const context = { ...sent, tokenHash: sent.boundTo, requestHash: sent.boundTo }
    const directions = [
      {
        box: sealRequest(keysOf(sent), context, padded('{}')).box,
        opens: (of: Sent) => openRequest(keysOf(of), { ...of, tokenHash: of.boundTo }, of.box) !== null,
      },
      {
        box: sealReply(keysOf(sent), context, padded('{}')),
        opens: (of: Sent) => openReply(keysOf(of), { ...of, requestHash: of.boundTo }, of.box) !== null,
      },
    ]
    for (const { box, opens } of directions) {
      const whole = { ...sent, box }
      t.ok(opens(whole))
      for (const field of ['sessionKey', 'sessionIv', 'salt', 'boundTo', 'box'] as const)
        for (let bit = 0; bit < 8 * whole[field].length; bit++)
          if (opens({ ...whole, [field]: flipped(whole[field], bit) })) t.fail(`${field}, bit ${bit}`)
      for (const field of ['sessionId', 'op'] as const)
        for (let bit = 0; bit < 8 * whole[field].length; bit++)
          if (opens({ ...whole, [field]: flipped(Buffer.from(whole[field]), bit).toString('latin1') }))
            t.fail(`${field}, bit ${bit}`)
      for (let seq = 0; seq <= 1000; seq++) t.equal(opens({ ...whole, seq }), seq === sent.seq, `seq ${seq}`)
    }
  })

  t.test(`${suite}: the session id is in the associated data, not only in the keys`, async (t) => {
    const keys = recordKeys(suite, SESSION, sessionKey, derived('properties/iv', sizes.nonce))
    const context = { seq: 1, op: 'ping', salt: derived('properties/salt', 16), tokenHash: sessionKey }
    const { box } = sealRequest(keys, context, padded('{}'))
    t.ok(openRequest(keys, context, box))
    t.equal(openRequest({ ...keys, sessionId: SESSION.replace(/^./, 'x') }, context, box), null)
  })

  t.test(
    `${suite}: any one bit of a hello box, its key or its transcript, and it does not open`,
    async (t) => {
      const [key, th] = [derived('properties/hello', sizes.key), derived('properties/th', 32)]
      const box = sealHello(suite, key, th, Buffer.from('{}'))
      t.ok(openHello(suite, key, th, box))
      const opened = [
        // S2's tag is of the first 32 bytes alone; a schedule never gives one half without the other.
        ...Array.from({ length: 8 * 32 }, (_, bit) => openHello(suite, flipped(key, bit), th, box)),
        ...Array.from({ length: 8 * th.length }, (_, bit) => openHello(suite, key, flipped(th, bit), box)),
        ...Array.from({ length: 8 * box.length }, (_, bit) => openHello(suite, key, th, flipped(box, bit))),
      ]
      t.ok(opened.every((plaintext) => plaintext === null))
    },
  )

  t.test(`${suite}: a transcript is cut in one way only`, async (t) => {
    const parts = ([kid, stat, client, sessionId, server]: readonly string[]) => ({
      ...{ suite, kid: kid ?? '', sessionId: sessionId ?? '', expiresInS: 300 },
      staticPublic: Buffer.from(stat ?? ''),
      clientPublic: Buffer.from(client ?? ''),
      serverPublic: Buffer.from(server ?? ''),
    })
    const injective = fc.property(twoSplits(5), ([one, other]) => {
      const [a, b] = [transcriptHash(parts(one)), transcriptHash(parts(other))]
      return a.equals(b) === (JSON.stringify(one) === JSON.stringify(other))
    })
    holds(t, injective, 'equal hashes, equal fields', 2000)
  })

  t.test(`${suite}: associated data and request hash are cut in one way only`, async (t) => {
    const keys = recordKeys(suite, SESSION, sessionKey, derived('properties/iv', sizes.nonce))
    const sealed = ([sessionId = '', op = '', tokenHash = '', salt = '']: readonly string[]) => {
      const bound = { tokenHash: Buffer.from(tokenHash), salt: Buffer.from(salt) }
      return sealRequest({ ...keys, sessionId }, { seq: 1, op, ...bound }, Buffer.from('{}'))
    }
    // One salt means one key and nonce: only the associated data can make the boxes differ.
    const aad = fc.property(twoSplits(3), ([one, other]) => {
      const [a, b] = [sealed([...one, 'salt']), sealed([...other, 'salt'])]
      return a.box.equals(b.box) === (JSON.stringify(one) === JSON.stringify(other))
    })
    holds(t, aad, 'equal boxes, equal fields', 1000)
    const requestHash = fc.property(twoSplits(4), ([one, other]) => {
      const [a, b] = [sealed(one), sealed(other)]
      return a.requestHash.equals(b.requestHash) === (JSON.stringify(one) === JSON.stringify(other))
    })
    holds(t, requestHash, 'equal hashes, equal fields', 1000)
  })
}

/** Salts of a generator that is broken in one way or another; all are distinct. */
const HOSTILE_SALTS = [
  ...[0x00, 0xff].map((byte) => Buffer.alloc(16, byte)),
  ...Array.from({ length: 46 }, (_, i) => flipped(Buffer.alloc(16), 128 - 1 - i)),
  // Those that would run into the number before or the length after them.
  ...Array.from({ length: 16 }, (_, i) => Buffer.alloc(i, 0)),
]

t.test('of a hundred thousand boxes no two share key and nonce, whatever the salts', async (t) => {
  const used = new Set<string>()
  let sealed = 0
  const original = crypto.createCipheriv as (...args: unknown[]) => unknown
  t.teardown(syncBuiltinESMExports)
  t.intercept(crypto, 'createCipheriv', {
    value: (...args: [string, KeyObject, Buffer]) => {
      used.add(args[1].export().toString('latin1') + args[2].toString('latin1'))
      sealed++
      return original(...args)
    },
  })
  syncBuiltinESMExports()
  const plaintext = Buffer.from('{}')
  for (const suite of SUITES) {
    const keys = recordKeys(suite, SESSION, sessionKey, derived('properties/iv', SIZES[suite].nonce))
    for (const salt of HOSTILE_SALTS)
      for (let seq = 1; seq <= 261; seq++) {
        const context = { seq, salt, op: 'ping', tokenHash: sessionKey, requestHash: sessionKey }
        sealRequest(keys, context, plaintext)
        sealReply(keys, context, plaintext)
      }
    // Two replies of one number and one salt, to two requests.
    for (let i = 0; i < 8 * 32; i++)
      sealReply(
        keys,
        { seq: 1, salt: HOSTILE_SALTS[0]!, op: 'ping', requestHash: flipped(sessionKey, i) },
        plaintext,
      )
  }
  t.equal(sealed, 3 * (64 * 261 * 2 + 256))
  t.equal(used.size, sealed)
})

/** Whole groups of four, then one byte in two characters or two bytes in three, the spare bits zero. */
const CANONICAL = /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/

t.test('the base64url decoder takes exactly the strings that the encoder writes', async (t) => {
  const alphabet = ['A', 'Z', '0', '=', '+', '/', ' ', '\n', '\0', '.', '%', 'é', 'Ａ']
  const ascii = Array.from({ length: 128 }, (_, i) => String.fromCharCode(i))
  const count = (strings: readonly string[]) => strings.filter((text) => fromB64u(text) !== null).length
  const pairs = ascii.flatMap((a) => ascii.map((b) => a + b))
  t.equal(count(['']), 1)
  t.equal(count(ascii), 0, 'one character is never enough')
  t.equal(count(pairs), 256, 'two characters: one byte')
  const usual = ascii.filter((character) => /[\w-]/.test(character))
  t.equal(count(pairs.flatMap((pair) => usual.map((c) => pair + c))), 65_536, 'three characters: two bytes')
  const decoded = fc.property(fc.uint8Array(), (value) => fromB64u(toB64u(value))?.equals(value) === true)
  holds(t, decoded, 'every encoding is decoded')
  const strict = fc.property(
    ...[fc.uint8Array({ maxLength: 40 }), fc.nat(60), fc.nat(2), fc.constantFrom(...alphabet, '')],
    (value, at, removed, added) => {
      const text = toB64u(value)
      const edited = text.slice(0, at) + added + text.slice(at + removed)
      const result = fromB64u(edited)
      return result === null ? !CANONICAL.test(edited) : CANONICAL.test(edited) && toB64u(result) === edited
    },
  )
  holds(t, strict, 'an edited string is decoded if it is an encoding', 5000)
})

t.test('two texts never come to the same bytes', async (t) => {
  const text = fc.string({ unit: 'binary', maxLength: 6 })
  const injective = fc.property(text, text, (a, b) => lp(a).equals(lp(b)) === (a === b))
  holds(t, injective, 'equal bytes, equal texts')
  for (const broken of ['\ud800', 'a\udfff', '\udc00\ud800']) t.throws(() => lp(broken), RangeError)
})

t.test('a plaintext is padded to whole 256 bytes, and is the same JSON', async (t) => {
  const same = fc.property(fc.jsonValue(), (value) => {
    const bytes = padded(JSON.stringify(value))
    return bytes.length % 256 === 0 && JSON.stringify(JSON.parse(bytes.toString())) === JSON.stringify(value)
  })
  holds(t, same, 'padding is not seen')
})

t.test('a wrapped key with any one character changed, cut out or put behind it does not open', async (t) => {
  const keks = new Map([['k1', createSecretKey(derived('properties/kek', 32))]])
  const context = { suite: 'S1', sessionId: SESSION, iv: derived('properties/iv', 12) } as const
  const wrapped = wrapSessionKey(keks.get('k1')!, 'k1', context, sessionKey, derived('properties/nonce', 12))
  t.same(unwrapSessionKey(keks, context, wrapped), sessionKey)
  const characters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.= \n']
  for (let at = 0; at <= wrapped.length; at++)
    for (const character of ['', ...characters]) {
      const edited = wrapped.slice(0, at) + character + wrapped.slice(at + 1)
      if (edited !== wrapped && unwrapSessionKey(keks, context, edited) !== null)
        t.fail(`${character} at ${at}`)
    }
})

t.test('a licence key reads back from how people write it', async (t) => {
  const typed = fc.property(bytes(15), fc.array(fc.nat(40)), fc.boolean(), (random, breaks, isLower) => {
    const key = licenceKeyFrom(random)
    let text: string = formatLicenceKey(key)
    for (const at of breaks) text = `${text.slice(0, at)} ${text.slice(at)}`
    return parseLicenceKey(isLower ? text.toLowerCase() : text) === key
  })
  holds(t, typed, 'spaces, dashes and lower case')
})

t.test('the check symbol catches 31 of 32 typing errors', async (t) => {
  const keys = Array.from({ length: 200 }, (_, i) => licenceKeyFrom(derived(`properties/licence/${i}`, 15)))
  const caught = (typos: readonly string[]) => typos.filter((typo) => parseLicenceKey(typo) === null).length
  const replaced = keys.flatMap((key) =>
    Array.from({ length: 24 }, (_, at) =>
      [...CROCKFORD]
        .filter((symbol) => symbol !== key[at])
        .map((symbol) => key.slice(0, at) + symbol + key.slice(at + 1)),
    ).flat(),
  )
  const swapped = keys.flatMap((key) =>
    Array.from(
      { length: 23 },
      (_, at) => key.slice(0, at) + key[at + 1] + key[at] + key.slice(at + 2),
    ).filter((typo) => typo !== key),
  )
  const lastOnes = keys.flatMap((key) =>
    [...CROCKFORD].filter((symbol) => symbol !== key[24]).map((symbol) => key.slice(0, 24) + symbol),
  )
  const rates = { 'a wrong symbol': replaced, 'two neighbours swapped': swapped }
  for (const [error, typos] of Object.entries(rates)) {
    const rate = caught(typos) / typos.length
    t.comment(`${error}: ${(100 * rate).toFixed(2)} % of ${typos.length} are caught`)
    t.ok(rate > 0.96, error)
    t.ok(rate < 1, `${error}: not all, or it were no hash`)
  }
  t.equal(caught(lastOnes), lastOnes.length, 'a wrong check symbol: all')
})
