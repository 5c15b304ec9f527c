import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { open, seal } from '../../src/crypto/aead.ts'
import { hmacKey } from '../../src/crypto/digests.ts'
import { expand } from '../../src/crypto/expand.ts'
import { staticKey } from '../../src/crypto/kex.ts'
import { openLegacyPayload } from '../../src/crypto/legacy-payload.ts'
import type { SealedSuite } from '../../src/crypto/suites.ts'
import { hex } from '../support/bytes.ts'
import { forgeHmac } from '../support/forge.ts'

/** The hostile vectors of C2SP's Wycheproof, run where KUNCI_WYCHEPROOF names its directory `testvectors_v1`. */
const directory = process.env.KUNCI_WYCHEPROOF

type Vector = Readonly<Record<string, string>> & {
  readonly tcId: number
  readonly size: number
  readonly result: 'valid' | 'acceptable' | 'invalid'
}
type Group = {
  readonly keySize?: number
  readonly ivSize?: number
  readonly tagSize?: number
  readonly tests: readonly Vector[]
}

const UNCOMPRESSED_BYTES = 65
const EXPAND_MAX_BYTES = 64
const field = (vector: Vector, name: string) => hex(vector[name] ?? '')
const toScalar = (text: string) => hex(BigInt(`0x${text}`).toString(16).padStart(64, '0'))

function agreesOn(suite: SealedSuite, secret: Buffer, peer: Buffer, shared: Buffer | null): boolean {
  const ss1 = staticKey(suite, secret).prepare()(peer)?.ss1 ?? null
  return shared === null ? ss1 === null : ss1?.equals(shared) === true
}

function sealsAndOpens(suite: SealedSuite, vector: Vector): boolean {
  const [key, iv, aad] = [field(vector, 'key'), field(vector, 'iv'), field(vector, 'aad')]
  const box = Buffer.concat([field(vector, 'ct'), field(vector, 'tag')])
  const plaintext = open(suite, key, iv, aad, box)
  if (vector.result === 'invalid') return plaintext === null
  return plaintext?.equals(field(vector, 'msg')) === true && seal(suite, key, iv, aad, plaintext).equals(box)
}

function expands(vector: Vector): boolean {
  const prk = hmacKey(forgeHmac('sha256', field(vector, 'salt'), field(vector, 'ikm')))
  try {
    return expand(prk, field(vector, 'info'), vector.size).equals(field(vector, 'okm'))
  } catch (error) {
    return error instanceof RangeError && vector.size > EXPAND_MAX_BYTES
  }
}

type Check = {
  readonly promise: string
  readonly ours?: (group: Group) => boolean
  readonly holds: (vector: Vector) => boolean
}

const CHECKS: Readonly<Record<string, Check>> = {
  x25519_test: {
    promise: 'X25519 is right on curve and twist, reduced or not, and refuses a result of zero',
    holds: (vector) => {
      const shared = field(vector, 'shared')
      const isZero = shared.equals(Buffer.alloc(32))
      return agreesOn('S1', field(vector, 'private'), field(vector, 'public'), isZero ? null : shared)
    },
  },
  ecdh_secp256r1_ecpoint_test: {
    promise: 'P-256 is right for every uncompressed point, and refuses all else',
    holds: (vector) => {
      const peer = field(vector, 'public')
      const isPoint = vector.result !== 'invalid' && peer.length === UNCOMPRESSED_BYTES
      const shared = isPoint ? field(vector, 'shared') : null
      return agreesOn('S2', toScalar(vector.private ?? ''), peer, shared)
    },
  },
  aes_gcm_test: {
    promise: 'AES-256-GCM seals and opens, and refuses every changed tag',
    ours: ({ keySize, ivSize, tagSize }) => keySize === 256 && ivSize === 96 && tagSize === 128,
    holds: (vector) => sealsAndOpens('S1', vector),
  },
  a256cbc_hs512_test: {
    promise: 'A256CBC-HS512 seals and opens, and refuses every changed tag',
    holds: (vector) => sealsAndOpens('S2', vector),
  },
  aes_cbc_pkcs5_test: {
    promise: 'an old payload opens, and is refused for every wrong padding',
    ours: ({ keySize }) => keySize === 256,
    holds: (vector) => {
      const plaintext = openLegacyPayload(field(vector, 'key'), field(vector, 'iv'), vector.ct ?? '')
      return vector.result === 'invalid'
        ? plaintext === null
        : plaintext?.equals(field(vector, 'msg')) === true
    },
  },
  hkdf_sha256_test: {
    promise: 'HKDF-Expand is right up to two blocks, and refuses more',
    holds: expands,
  },
}

for (const [name, { promise, ours = () => true, holds }] of Object.entries(CHECKS)) {
  const path = directory === undefined ? '' : join(directory, `${name}.json`)
  const absent = existsSync(path) ? false : `no ${name}.json there`
  const skip = directory === undefined ? 'KUNCI_WYCHEPROOF names no directory' : absent

  t.test(`${name}: ${promise}`, { skip }, async (t) => {
    const { testGroups }: { testGroups: Group[] } = JSON.parse(readFileSync(path, 'utf8'))
    const vectors = testGroups.filter(ours).flatMap(({ tests }) => tests)
    const wrong = vectors.filter((vector) => !holds(vector)).map(({ tcId }) => tcId)
    t.comment(`${vectors.length - wrong.length} of ${vectors.length}`)
    t.ok(vectors.length > 0)
    t.same(wrong, [], 'each vector comes out as it says')
  })
}
