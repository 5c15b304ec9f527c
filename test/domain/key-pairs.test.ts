import { readFileSync } from 'node:fs'
import t from 'tap'
import { secretKey32 } from '../../src/crypto/expand.ts'
import { createKeyPairs } from '../../src/domain/key-pairs.ts'
import type { Keyring } from '../../src/store/keyring.ts'
import { type Ring, ringOfOne } from '../../src/store/ring.ts'

const { keys, S1, S2, S3 } = JSON.parse(
  readFileSync(new URL('../vectors/dsk1.json', import.meta.url), 'utf8'),
)
const hex = (text: string) => Buffer.from(text, 'hex')
const key = (text: string) => secretKey32(hex(text))
const published = (hex: string): Ring => ringOfOne('k1', key(hex))

function keyring(changes: Partial<Keyring> = {}): Keyring {
  return {
    jwt: published(keys.jwt_seed),
    lease: published(keys.lease_priv),
    'kex-s1': published(S1.static_priv),
    'kex-s2': published(S2.static_priv),
    'kex-s3': published(S3.static_seed),
    ...changes,
  } as Keyring
}

t.test('each ring comes out as the published public keys, under their ids', async (t) => {
  const pairs = createKeyPairs({ keyring: keyring() })
  for (const [suite, vector] of Object.entries({ S1, S2, S3 })) {
    const [pair, ...others] = pairs.kex(suite as 'S1')
    t.same([pair?.kid, pair?.publicKey.toString('hex')], [vector.kid, vector.S_pub], suite)
    t.same(others, [])
    const agreed = pair?.prepare()(hex(vector.c_pub))
    t.equal(agreed?.ss1.toString('hex'), vector.ss1, 'and can be agreed with')
  }
  t.match(pairs.jwt(), [{ kid: keys.jwt_kid, publicJwk: { crv: 'Ed25519' } }])
  t.match(pairs.lease(), [{ kid: keys.lease_kid, publicJwk: { crv: 'P-256' } }])
})

t.test('a suite that is switched off has no keys', async (t) => {
  const { 'kex-s3': _, ...without } = keyring()
  t.same(createKeyPairs({ keyring: without }).kex('S3'), [])
})

t.test(
  'pairs are worked out once, and anew for a ring that has changed: current, next, earlier',
  async (t) => {
    const rings = { ...keyring() }
    const pairs = createKeyPairs({ keyring: rings })
    const first = pairs.kex('S1')
    t.equal(pairs.kex('S1'), first)
    const named = new Map(
      ['old', 'now', 'soon'].map((id) => [id, key(Buffer.from(id.padEnd(32, '.')).toString('hex'))]),
    )
    const kids = [...named].map(([id, key]) => {
      rings['kex-s1'] = ringOfOne(id, key)
      return pairs.kex('S1')[0]?.kid
    })
    rings['kex-s1'] = {
      ...ringOfOne('now', key(S1.static_priv)),
      keys: named,
      next: { id: 'soon', fromMs: 0 },
    }
    t.same(
      pairs.kex('S1').map(({ kid }) => kid),
      [kids[1], kids[2], kids[0]],
    )
  },
)
