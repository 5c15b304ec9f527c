import t from 'tap'
import {
  type ComponentType,
  canonicalHwid,
  componentDigest,
  hwidFingerprint,
  hwidOf,
  normalise,
} from '../../src/sdk/hwid.ts'
import { JUNK_VALUES } from '../../src/sdk/junk-values.ts'
import { asHex, node, pure, vectors, web } from './support.ts'

const { tool, raw, norm, digest_hex, jcs, fp } = vectors.hwid

t.test(
  'normal forms, digests, JSON and fingerprint equal the published vector on every backend',
  async (t) => {
    for (const backend of [node, web, pure]) {
      for (const [type, values] of Object.entries(norm) as [ComponentType, string[]][]) {
        const digests = await Promise.all(values.map((value) => componentDigest(backend, tool, type, value)))
        t.same(digests.map(asHex), digest_hex[type], type)
      }
      const hwid = await hwidOf(tool, raw, backend)
      t.equal(canonicalHwid(hwid), jcs)
      t.equal(JSON.stringify(hwid), jcs, 'it is built in that order')
      t.equal(await hwidFingerprint(hwid, backend), fp)
    }
  },
)

t.test('spelling, separators, order and repetition do not make another machine', async (t) => {
  const shuffled = Object.fromEntries(Object.entries(raw).reverse())
  const spelled = {
    ...shuffled,
    board: ['pf2abcde-l1hf65e00x9', ' PF2ABCDE / L1HF65E00X9 '],
    bios: '{4c4c4544-0051-3510-8052-b7c04f4e4733}',
    mac: ['3c7c.3f1a.2b4c', '3C:7C:3F:1A:2B:4D', '3c-7c-3f-1a-2b-4c'],
    cpu: '\uff22\uff26\uff25\uff22\uff26\uff22\uff26\uff26000906EA',
  }
  t.equal(await hwidFingerprint(await hwidOf(tool, spelled)), fp)
  t.not(await hwidFingerprint(await hwidOf('other', raw)), fp, 'another tool sees another machine')
  const scattered = JSON.parse(JSON.stringify({ v: 1, c: JSON.parse(jcs).c }))
  t.equal(await hwidFingerprint(scattered), fp, 'the fingerprint sorts')
})

t.test('what tells no machine from another is left out', async (t) => {
  for (const value of [
    '',
    '   ',
    'N/A',
    'abc',
    '0000000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    'To Be Filled By O.E.M.',
    'to be filled by O.E.M',
    'Default string',
    'System Serial Number',
    'None',
    '0123456789',
    '03000200-0400-0500-0006-000700080009',
    'MB-1234567890',
    '\u0410\u0411\u0412\u0413',
  ])
    t.equal(normalise('board', value), null, value)
  t.equal(normalise('board', 'PF2A'), 'PF2A')
  t.equal(normalise('disk', 'x1'.repeat(100)), 'X1'.repeat(64), 'the first 128 characters count')
  t.same(await hwidOf(tool, { board: 'None', disk: [], cpu: 'BFEBFBFF000906EA' }), {
    c: { cpu: JSON.parse(jcs).c.cpu },
    v: 1,
  })
})

t.test('of network addresses only those count that a maker gave to a card', async (t) => {
  t.equal(normalise('mac', '3c:7c:3f:1a:2b:4d'), '3C7C3F1A2B4D')
  for (const mac of [
    '02:00:4C:4F:4F:50',
    '0A:00:27:00:00:00',
    '01:00:5E:00:00:FB',
    '33:33:00:00:00:01',
    '00:50:56:C0:00:08',
    '00:00:00:00:00:00',
    'ff:ff:ff:ff:ff:ff',
    '3C:7C:3F:1A:2B',
    '3C:7C:3F:1A:2B:4D:00:00',
    'not an address',
  ])
    t.equal(normalise('mac', mac), null, mac)
})

t.test('the list of junk holds normal forms, none of them twice or in vain', async (t) => {
  t.ok(JUNK_VALUES.size > 250)
  for (const value of JUNK_VALUES) t.match(value, /^(?!(.)\1*$)[A-Z0-9]{4,}$/)
})

t.test('a type of hardware that there is not is a mistake and said', async (t) => {
  await t.rejects(hwidOf(tool, { gpu: 'GTX' } as object), RangeError)
  await t.rejects(hwidOf(tool, { constructor: 'x1y2z3' } as object), RangeError)
})
