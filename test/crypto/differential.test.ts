import fc from 'fast-check'
import t from 'tap'
import { open, seal } from '../../src/crypto/aead.ts'
import { hmac, hmacKey, sha256 } from '../../src/crypto/digests.ts'
import { expand } from '../../src/crypto/expand.ts'
import { openLegacyPayload } from '../../src/crypto/legacy-payload.ts'
import { flipped } from '../support/bytes.ts'
import { forgeCbc, forgeCbcOpen, forgeGcm, forgeGcmOpen, forgeHash, forgeHmac } from '../support/forge.ts'
import { bytes, holds } from '../support/properties.ts'

const any = fc.uint8Array({ maxLength: 600 })

t.test('AES-256-GCM seals and opens as node-forge does', async (t) => {
  const same = fc.property(bytes(32), bytes(12), any, any, fc.nat(), (key, nonce, aad, plaintext, at) => {
    const box = seal('S1', key, nonce, aad, plaintext)
    const broken = flipped(box, at % (8 * box.length))
    return (
      box.equals(forgeGcm(key, nonce, aad, plaintext)) &&
      forgeGcmOpen(key, nonce, aad, box)?.equals(plaintext) === true &&
      open('S1', key, nonce, aad, broken) === forgeGcmOpen(key, nonce, aad, broken)
    )
  })
  holds(t, same, 'one box, opened or refused by both')
})

t.test('A256CBC-HS512 is what RFC 7518 5.2.2 makes of node-forge’s CBC and HMAC', async (t) => {
  const same = fc.property(bytes(32), bytes(32), bytes(16), any, any, (mac, enc, nonce, aad, plaintext) => {
    const ciphertext = forgeCbc(enc, nonce, plaintext)
    const aadBits = Buffer.alloc(8)
    aadBits.writeUInt32BE(8 * aad.length, 4)
    const tag = forgeHmac('sha512', mac, aad, nonce, ciphertext, aadBits).subarray(0, 32)
    const key = Buffer.concat([mac, enc])
    const box = seal('S2', key, nonce, aad, plaintext)
    const opened = open('S2', key, nonce, aad, Buffer.concat([ciphertext, tag]))
    return box.equals(Buffer.concat([ciphertext, tag])) && opened?.equals(plaintext) === true
  })
  holds(t, same, 'one box')
})

t.test(
  'an old payload is opened or refused as node-forge would, whatever its padding decrypts to',
  async (t) => {
    let refused = 0
    const same = fc.property(bytes(32), bytes(16), any, fc.nat(255), (key, iv, plaintext, change) => {
      const sealed = forgeCbc(key, iv, plaintext)
      // Before the last block, or in the IV: this decides what the last byte of the padding decrypts to.
      const chain = Buffer.concat([iv, sealed])
      chain[chain.length - 17]! ^= change
      const [changedIv, ciphertext] = [chain.subarray(0, 16), chain.subarray(16)]
      const [ours, theirs] = [
        openLegacyPayload(key, changedIv, ciphertext.toString('hex')),
        forgeCbcOpen(key, changedIv, ciphertext),
      ]
      if (ours === null) refused++
      return ours === null ? theirs === null : theirs?.equals(ours) === true
    })
    holds(t, same, 'one plaintext or none', 1000)
    t.ok(refused > 500, 'most are refused')
  },
)

t.test('HKDF-Expand is two HMACs of node-forge', async (t) => {
  const same = fc.property(bytes(32), any, fc.integer({ min: 1, max: 64 }), (prk, info, length) => {
    const first = forgeHmac('sha256', prk, info, Buffer.from([1]))
    const second = forgeHmac('sha256', prk, first, info, Buffer.from([2]))
    const expanded = expand(hmacKey(prk), info, length)
    return expanded.equals(Buffer.concat([first, second]).subarray(0, length))
  })
  holds(t, same, 'one output')
})

t.test('SHA-256 is that of node-forge, however its input is cut', async (t) => {
  const same = fc.property(any, any, (one, other) =>
    sha256(one, other).equals(forgeHash('sha256', Buffer.concat([one, other]))),
  )
  holds(t, same, 'one digest')
})

t.test('HMAC is that of node-forge, for keys and messages of any length', async (t) => {
  const key = fc.uint8Array({ maxLength: 300 })
  const same = fc.property(fc.constantFrom('sha256', 'sha512'), key, any, any, (algorithm, key, one, other) =>
    hmac(hmacKey(key, algorithm), one, other).equals(forgeHmac(algorithm, key, one, other)),
  )
  holds(t, same, 'one tag')
})
