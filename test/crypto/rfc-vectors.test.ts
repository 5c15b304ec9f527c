import { createSecretKey, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { hmac, hmacKey, hmacKeyOf } from '../../src/crypto/digests.ts'
import { expand } from '../../src/crypto/expand.ts'
import { ed25519Key } from '../../src/crypto/jwk.ts'
import { staticKey } from '../../src/crypto/kex.ts'
import { x25519, x25519Private, x25519Public, x25519PublicOf } from '../../src/crypto/x25519.ts'
import { xwingEncapsulate, xwingKey } from '../../src/crypto/xwing.ts'
import { hex } from '../support/bytes.ts'
import { forgeHmac } from '../support/forge.ts'

function scalarMultiple(secret: Uint8Array, u: Uint8Array): Buffer {
  return x25519(x25519Private(secret), x25519Public(u)) as Buffer
}

t.test('X25519 is that of RFC 7748 5.2', async (t) => {
  for (const [scalar, u, result] of [
    [
      'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
      'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
      'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
    ],
    [
      '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
      'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
      '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
    ],
  ] as const)
    t.equal(scalarMultiple(hex(scalar), hex(u)).toString('hex'), result)
})

t.test('X25519 is still that of RFC 7748 5.2 after a thousand rounds on its own results', async (t) => {
  let [scalar, u]: Buffer[] = [hex(`09${'00'.repeat(31)}`), hex(`09${'00'.repeat(31)}`)]
  for (let round = 1; round <= 1000; round++) {
    ;[scalar, u] = [scalarMultiple(scalar!, u!), scalar]
    if (round === 1)
      t.equal(scalar.toString('hex'), '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079')
  }
  t.equal(scalar!.toString('hex'), '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51')
})

t.test('S1: two sides agree on the secret of RFC 7748 6.1', async (t) => {
  const alice = hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a')
  const bob = hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb')
  const alicePublic = '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a'
  const bobPublic = 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f'
  const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742'
  t.equal(x25519PublicOf(x25519Private(alice)).toString('hex'), alicePublic)
  const key = staticKey('S1', bob)
  t.equal(key.publicKey.toString('hex'), bobPublic)
  t.equal(key.prepare()(hex(alicePublic))?.ss1.toString('hex'), shared)
  t.equal(scalarMultiple(alice, hex(bobPublic)).toString('hex'), shared)
})

t.test('S2: two sides agree on the secret of RFC 5903 8.1', async (t) => {
  const initiator = hex('c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433')
  const responder = hex('c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53')
  const initiatorPublic =
    '04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3'
  const responderPublic =
    '04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab'
  const shared = 'd6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de'
  const key = staticKey('S2', responder)
  t.equal(key.publicKey.toString('hex'), responderPublic)
  t.equal(key.prepare()(hex(initiatorPublic))?.ss1.toString('hex'), shared)
  t.equal(key.prepare(initiator)(hex(responderPublic))?.ss2.toString('hex'), shared)
})

t.test('X-Wing keys and secrets are those of draft-connolly-cfrg-xwing-kem-10 appendix C', async (t) => {
  const vectors: Record<'seed' | 'pk' | 'ct' | 'ss', string>[] = JSON.parse(
    readFileSync(new URL('../vectors/xwing.json', import.meta.url), 'utf8'),
  )
  t.equal(vectors.length, 3)
  for (const { seed, pk, ct, ss } of vectors) {
    const { publicKey, decapsulate } = xwingKey(hex(seed))
    t.equal(publicKey.toString('hex'), pk)
    t.equal(decapsulate(hex(ct))?.toString('hex'), ss)
    const fresh = xwingEncapsulate(hex(pk))!
    t.not(fresh.ciphertext.toString('hex'), ct)
    t.same(decapsulate(fresh.ciphertext), fresh.sharedSecret)
  }
})

/** `okm` is cut after two blocks, which is as far as ours goes. */
const HKDF = [
  {
    test: 'A.1',
    prk: '077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5',
    info: 'f0f1f2f3f4f5f6f7f8f9',
    okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    test: 'A.2',
    prk: '06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244',
    info: Buffer.from(Array.from({ length: 80 }, (_, i) => 0xb0 + i)).toString('hex'),
    okm: 'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71',
  },
  {
    test: 'A.3',
    prk: '19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04',
    info: '',
    okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
]

t.test('HKDF-Expand is that of RFC 5869 A.1 to A.3, for every length up to two blocks', async (t) => {
  for (const { test, prk, info, okm } of HKDF) {
    const key = hmacKey(hex(prk))
    for (let length = 1; length <= okm.length / 2; length++)
      t.equal(
        expand(key, hex(info), length).toString('hex'),
        okm.slice(0, 2 * length),
        `${test}, ${length} bytes`,
      )
    t.throws(() => expand(key, hex(info), 65), RangeError)
  }
})

/** RFC 4231 4.2 to 4.8, without 4.6, whose results are cut short. */
const HMAC = [
  {
    key: '0b'.repeat(20),
    message: Buffer.from('Hi There').toString('hex'),
    sha256: 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
    sha512:
      '87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854',
  },
  {
    key: Buffer.from('Jefe').toString('hex'),
    message: Buffer.from('what do ya want for nothing?').toString('hex'),
    sha256: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    sha512:
      '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737',
  },
  {
    key: 'aa'.repeat(20),
    message: 'dd'.repeat(50),
    sha256: '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
    sha512:
      'fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb',
  },
  {
    key: '0102030405060708090a0b0c0d0e0f10111213141516171819',
    message: 'cd'.repeat(50),
    sha256: '82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b',
    sha512:
      'b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd',
  },
  {
    key: 'aa'.repeat(131),
    message: Buffer.from('Test Using Larger Than Block-Size Key - Hash Key First').toString('hex'),
    sha256: '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    sha512:
      '80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598',
  },
  {
    key: 'aa'.repeat(131),
    message:
      '5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a65206b657920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520484d414320616c676f726974686d2e',
    sha256: '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2',
    sha512:
      'e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58',
  },
]

t.test('HMAC is that of RFC 4231, as is the one that ours is held against', async (t) => {
  for (const { key, message, sha256, sha512 } of HMAC) {
    t.equal(forgeHmac('sha256', hex(key), hex(message)).toString('hex'), sha256)
    t.equal(forgeHmac('sha512', hex(key), hex(message)).toString('hex'), sha512)
    t.equal(hmac(hmacKey(hex(key)), hex(message)).toString('hex'), sha256)
    t.equal(hmac(hmacKey(hex(key), 'sha512'), hex(message)).toString('hex'), sha512)
    const made = createSecretKey(hex(key))
    for (const time of ['first', 'second'])
      t.equal(hmac(hmacKeyOf(made), hex(message)).toString('hex'), sha256, `a KeyObject, ${time} time`)
  }
})

/** RFC 8032 7.1: TEST 1, TEST 2, TEST 3 and TEST SHA(abc). */
const ED25519 = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  {
    seed: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    message: 'af82',
    signature:
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
  {
    seed: '833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42',
    publicKey: 'ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf',
    message:
      'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    signature:
      'dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704',
  },
]

t.test('a token key signs as RFC 8032 7.1 does', async (t) => {
  for (const { seed, publicKey, message, signature } of ED25519) {
    const key = ed25519Key(hex(seed))
    t.equal(Buffer.from(key.publicJwk.x, 'base64url').toString('hex'), publicKey)
    t.equal(sign(null, hex(message), key.privateKey).toString('hex'), signature)
  }
})
