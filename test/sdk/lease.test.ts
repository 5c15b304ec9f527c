import { createHmac } from 'node:crypto'
import t from 'tap'
import { p256SigningKey } from '../../src/crypto/jwk.ts'
import { leaseHardware, signEs256 } from '../../src/crypto/lease.ts'
import { type Hwid, hwidOf } from '../../src/sdk/hwid.ts'
import { fitsMachine, type LeaseKey, requireLeaseKey, verifyLease } from '../../src/sdk/lease.ts'
import { hex, node, pure, vectors, web } from './support.ts'

const { payload, jws } = vectors.lease
const { tool, raw } = vectors.hwid
const ours = p256SigningKey(hex(vectors.keys.lease_priv))
const key = ours.publicJwk as LeaseKey
const hwid = await hwidOf(tool, raw)
const now: number = payload.iat
const good = { keys: [key], tool, issuer: payload.iss, hwid, now }

const b64u = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const signed = (change: object) => signEs256('dsk-lease+jwt', { ...payload, ...change }, ours)
const fault = (name: string) => ({ name: 'LeaseError', fault: name })

for (const backend of [node, web]) {
  t.test(`the published lease counts on ${backend.name}`, async (t) => {
    t.same(await verifyLease(jws, good, backend), payload)
    t.same(await verifyLease(`${jws}\n`, good, backend), payload, 'as it lies in its file')
    t.same(await verifyLease(signed({ blob: { a: 1 } }), good, backend), { ...payload, blob: { a: 1 } })
  })

  t.test(`on ${backend.name} nothing but the pinned key's ES256 makes a lease count`, async (t) => {
    const [head, body, mark = ''] = jws.split('.')
    const signature = Buffer.from(mark, 'base64url')
    const other = p256SigningKey(hex('11'.repeat(32)))
    const input = (header: object) => `${b64u({ typ: 'dsk-lease+jwt', kid: key.kid, ...header })}.${body}`
    const hmac = (secret: string) => {
      const hs256 = input({ alg: 'HS256' })
      return `${hs256}.${createHmac('sha256', secret).update(hs256).digest('base64url')}`
    }
    const forged = {
      'another key under the pinned id': signEs256('dsk-lease+jwt', payload, { ...other, kid: key.kid }),
      'alg none': `${input({ alg: 'none' })}.`,
      'alg none with the signature': `${input({ alg: 'none' })}.${mark}`,
      'HS256 with the public key as its secret': hmac(JSON.stringify(key)),
      'HS256 with a coordinate as its secret': hmac(key.x),
      'a signature in DER': `${head}.${body}.${Buffer.concat([Buffer.from('3044', 'hex'), signature]).toString('base64url')}`,
      'a signature of zeros': `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`,
      'a signature cut short': `${head}.${body}.${signature.subarray(0, 63).toString('base64url')}`,
      'another payload': `${head}.${b64u({ ...payload, exp: payload.exp + 1 })}.${mark}`,
    }
    for (const [name, lease] of Object.entries(forged))
      await t.rejects(verifyLease(lease, good, backend), fault('bad_signature'), name)
    await t.rejects(
      verifyLease(signEs256('dsk-lease+jwt', payload, other), good, backend),
      fault('unknown_key'),
    )
    await t.rejects(verifyLease(jws, { ...good, keys: [] }, backend), fault('unknown_key'))
    let counted = 0
    for (let bit = 0; bit < 512; bit++) {
      const flipped = Buffer.from(signature)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      counted += await verifyLease(`${head}.${body}.${flipped.toString('base64url')}`, good, backend).then(
        () => 1,
        () => 0,
      )
    }
    t.equal(counted, 0, 'any one bit of the signature flipped')
  })
}

t.test('a lease of another tool, issuer, machine, time or turn does not count', async (t) => {
  const other = await hwidOf(tool, { board: 'OTHER0001', disk: 'OTHER0002', cpu: raw.cpu, osid: raw.osid })
  await t.rejects(verifyLease(jws, { ...good, tool: 'other' }, node), fault('wrong_tool'))
  await t.rejects(verifyLease(signed({ aud: 'demo' }), good, node), fault('wrong_tool'))
  await t.rejects(verifyLease(jws, { ...good, issuer: 'https://other.example' }, node), fault('wrong_issuer'))
  t.ok(await verifyLease(jws, { ...good, issuer: undefined }, node), 'any issuer where none is named')
  await t.rejects(verifyLease(jws, { ...good, hwid: other }, node), fault('other_machine'))
  await t.rejects(verifyLease(jws, { ...good, hwid: { c: {}, v: 1 } }, node), fault('other_machine'))
  await t.rejects(
    verifyLease(jws, { ...good, hwid: await hwidOf('other', raw) }, node),
    fault('other_machine'),
  )
  await t.rejects(verifyLease(jws, { ...good, now: payload.nbf - 301 }, node), fault('not_yet_valid'))
  t.ok(await verifyLease(jws, { ...good, now: payload.nbf - 300 }, node), 'clocks may differ by 300 s')
  await t.rejects(verifyLease(jws, { ...good, floor: payload.seq + 1 }, node), fault('superseded'))
  t.ok(await verifyLease(jws, { ...good, floor: payload.seq }, node))
})

t.test('a lease that is too long or in another form does not count', async (t) => {
  const [head, body, mark] = jws.split('.')
  const typ = (header: object) =>
    `${b64u({ alg: 'ES256', typ: 'dsk-lease+jwt', kid: key.kid, ...header })}.${body}.${mark}`
  for (const [name, text] of Object.entries({
    empty: '',
    'two parts': `${head}.${body}`,
    'four parts': `${jws}.${mark}`,
    padding: `${head}.${body}.${mark}==`,
    'a token of another kind': typ({ typ: 'dsk-at+jwt' }),
    'no typ': typ({ typ: undefined }),
    crit: typ({ crit: ['exp'] }),
    oversized: signed({ blob: 'x'.repeat(8192) }),
    'no end': signed({ exp: undefined }),
    'an end as text': signed({ exp: String(payload.exp) }),
    'a time past the year 9999': signed({ exp: 253_402_300_800 }),
    'a negative grace': signed({ grace: -1 }),
    'a fraction': signed({ run: 0.5 }),
    'no seq': signed({ seq: null }),
    'no hardware': signed({ hw: undefined }),
    'hardware of another salt': signed({ hw: { ...payload.hw, s: 'AAAA' } }),
    'nothing has to fit': signed({ hw: { ...payload.hw, m: 0 } }),
    'more than all has to fit': signed({ hw: { ...payload.hw, m: 6 } }),
    'a component that is no list': signed({ hw: { ...payload.hw, c: { cpu: payload.hw.c.cpu[0] } } }),
    'a feature that is no name': signed({ feat: [1] }),
  }))
    await t.rejects(verifyLease(text, good, node), fault('malformed'), name)
  t.same((await verifyLease(signed({ feat: undefined }), good, node)).feat, [], 'features may be missing')
})

t.test('a lease fits a machine by weight, and by one of tpm, board, bios and disk at least', async (t) => {
  const salt = Buffer.from(payload.hw.s, 'base64url')
  const digests = (machine: Hwid) =>
    Object.fromEntries(
      Object.entries(machine.c).map(([type, values]) => [
        type,
        values.map((value) => Buffer.from(value, 'base64url')),
      ]),
    )
  const hw = { ...payload.hw, c: leaseHardware(digests(hwid), salt) }
  t.same(hw, payload.hw, 'the server makes the published one')
  const machine = (change: object) => hwidOf(tool, { ...raw, ...change })
  const fits = async (change: object) => fitsMachine(node, hw, await machine(change))
  t.ok(await fits({}))
  t.ok(await fits({ disk: 'ANOTHERDISK' }), 'disk swapped: 11 of 14')
  t.ok(await fits({ disk: 'ANOTHERDISK', mac: [] }), '9 of 14 are 45 of 70, and 42 are needed')
  t.notOk(await fits({ disk: 'ANOTHERDISK', board: 'ANOTHERBOARD' }), '8 of 14: 40 of 70')
  t.ok(await fits({ mac: '3C:7C:3F:1A:2B:4D' }), 'one of two adapters is enough')
  t.ok(await fits({ tpm: 'A0B1C2D3E4F5' }), 'what the lease does not know counts neither way')
  t.notOk(await fits({ board: [], bios: [], disk: [] }), 'equal processor and system: 5 of 14')
  const light = { ...hw, m: 1, n: 3 }
  t.notOk(
    await fitsMachine(node, light, await machine({ board: 'NEW1', bios: 'NEW2', disk: 'NEW3' })),
    'enough weight, but no anchor',
  )
  t.ok(await fitsMachine(node, light, await machine({ board: 'NEW1', disk: 'NEW3' })))
  t.notOk(await fitsMachine(node, { ...hw, c: {} }, hwid), 'a lease for no machine fits none')
  for (const backend of [web, pure]) t.ok(await fitsMachine(backend, hw, hwid), backend.name)
})

t.test('a pinned lease key is a P-256 key under its own thumbprint', async (t) => {
  await requireLeaseKey(node, key)
  for (const change of [{ kid: 'x' }, { crv: 'P-384' }, { kty: 'RSA' }, { x: key.y }, { y: '' }])
    await t.rejects(requireLeaseKey(node, { ...key, ...change } as LeaseKey), RangeError)
})

t.test('node-forge cannot verify a lease and says so', async (t) => {
  await t.rejects(verifyLease(jws, good, pure), { message: 'node-forge has no ES256' })
})
