import { createHmac, sign } from 'node:crypto'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { toB64u } from '../../src/crypto/encoding.ts'
import { p256SigningKey, type SigningKey } from '../../src/crypto/jwk.ts'
import { signEs256 } from '../../src/crypto/lease.ts'
import { scratchDirectory } from '../support/children.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { SUITES, startDriver, vectors } from '../support/example-client.ts'
import { ask, assertUnavailable, type Run } from '../support/example-client-runs.ts'
import { findPython } from '../support/languages.ts'
import { ACTOR, openBench } from '../support/legacy.ts'
import { pinOf } from '../support/sealed.ts'
import { freePort } from '../support/server.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const file = findPython() ?? 'python3'
const CLIENT = path('../../examples/python/kunci_client.py')
const DRIVER = { file, args: [path('python_driver.py')] }

const DAY_S = 86_400
const OTHER_HARDWARE = ['board=XYZ0001', 'disk=WD-WCC4N7654321', 'mac=3C:7C:3F:1A:2B:4C']
const OTHER_LICENCE = 'ABCDE-ABCDE-ABCDE-ABCDE-ABCDE'

const hex = (text: string) => Buffer.from(text, 'hex')
const leaseKeyOf = ({ publicJwk: jwk }: SigningKey) =>
  jwk.kty === 'EC' ? `${jwk.kid}:${jwk.x}:${jwk.y}` : ''

// What a lease says, by the functions of the client.

const SIGNER = p256SigningKey(hex(vectors.keys.lease_priv))
/** In base64url an id may begin like an option. */
const DASHED = { ...SIGNER, publicJwk: { ...SIGNER.publicJwk, kid: `-${SIGNER.kid.slice(1)}` } }
const PUBLISHED: string = vectors.lease.jws
const RAW = Object.entries(vectors.hwid.raw).flatMap(([type, values]) =>
  [values].flat().map((value) => [type, `${value}`] as const),
)

function verify(
  driver: ReturnType<typeof startDriver>,
  jws: string,
  { tool = 'demo', hardware = RAW, key = vectors.keys } = {},
) {
  const point = hex(key.lease_pub).subarray(1)
  const coordinates = [point.subarray(0, 32), point.subarray(32)] as const
  return driver('lease', jws, key.lease_kid, ...coordinates, tool, ...hardware.flat())
}

const resigned = (claims: object) =>
  signEs256('dsk-lease+jwt', { ...vectors.lease.payload, ...claims }, SIGNER)

const es256 = (input: string) =>
  sign('sha256', Buffer.from(input), { key: SIGNER.privateKey, dsaEncoding: 'ieee-p1363' }).toString(
    'base64url',
  )
const hs256 = (input: string) =>
  createHmac('sha256', hex(vectors.keys.lease_pub)).update(input).digest('base64url')

/** The published lease under another header, signed in this way. */
function underHeader(members: object, signatureOf: (input: string) => string = es256): string {
  const header = { alg: 'ES256', typ: 'dsk-lease+jwt', kid: vectors.keys.lease_kid, ...members }
  const input = `${toB64u(Buffer.from(JSON.stringify(header)))}.${PUBLISHED.split('.')[1]}`
  return `${input}.${signatureOf(input)}`
}

t.test('a lease is what its pinned key has signed, and nothing else', async (t) => {
  const driver = startDriver(t, DRIVER)
  const [claims, fits] = (await verify(driver, PUBLISHED)) as Buffer[]
  t.strictSame(JSON.parse(`${claims}`), vectors.lease.payload)
  t.equal(`${fits}`, 'true')
  t.not(await verify(driver, underHeader({ later: 1 })), 'refused', 'an unknown member does no harm')

  const [head = '', body = '', signature = ''] = PUBLISHED.split('.')
  const bytes = Buffer.from(signature, 'base64url')
  const changed = Buffer.from(bytes)
  changed[40]! ^= 1
  const refused: Record<string, string> = {
    'a signature with a bit changed': `${head}.${body}.${toB64u(changed)}`,
    'a signature cut short': `${head}.${body}.${toB64u(bytes.subarray(0, 63))}`,
    'a signature of zeros': `${head}.${body}.${toB64u(Buffer.alloc(64))}`,
    'no signature': `${head}.${body}.`,
    'a padded signature': `${PUBLISHED}==`,
    'a payload with a letter changed': `${head}.${body.replace('J', 'K')}.${signature}`,
    'two parts': `${head}.${body}`,
    'four parts': `${PUBLISHED}.${signature}`,
    nothing: '',
    'alg none': underHeader({ alg: 'none' }, () => ''),
    'alg HS256 under the public key': underHeader({ alg: 'HS256' }, hs256),
    'a header that says another alg': underHeader({ alg: 'EdDSA' }),
    'a header with crit': underHeader({ crit: ['b64'], b64: true }),
    'another type': underHeader({ typ: 'dsk-at+jwt' }),
    'a list for a key id': underHeader({ kid: [vectors.keys.lease_kid] }),
    'another tool': resigned({ aud: 'tool:other' }),
    'a list of tools': resigned({ aud: ['tool:demo'] }),
    'a time as text': resigned({ exp: '1767830400' }),
    'no time': resigned({ grace: undefined }),
    'more than 8 KiB': resigned({ feat: ['x'.repeat(6500)] }),
  }
  for (const [what, jws] of Object.entries(refused)) t.equal(await verify(driver, jws), 'refused', what)
  t.equal(await verify(driver, PUBLISHED, { tool: 'other' }), 'refused', 'asked for another tool')
  const stranger = { ...vectors.keys, lease_kid: vectors.keys.jwt_kid }
  t.equal(await verify(driver, PUBLISHED, { key: stranger }), 'refused', 'another key id pinned')
  const other = p256SigningKey(Buffer.alloc(32, 7))
  const imitation = signEs256('dsk-lease+jwt', vectors.lease.payload, { ...other, kid: SIGNER.kid })
  t.equal(await verify(driver, imitation), 'refused', 'another key under the pinned id')
})

t.test('a lease fits its machine after a repair, and no other machine', async (t) => {
  const driver = startDriver(t, DRIVER)
  const only = (...types: string[]) => RAW.filter(([type]) => types.includes(type))
  const fits = async (hardware: typeof RAW, jws = PUBLISHED) => {
    const [, answer] = (await verify(driver, jws, { hardware })) as Buffer[]
    return JSON.parse(`${answer}`)
  }
  t.equal(await fits(only('cpu', 'board', 'bios', 'mac', 'osid')), true, 'no disk: 11 of 14')
  t.equal(await fits(only('board', 'bios', 'disk')), true, 'nothing but anchors: 9 of 14')
  t.equal(await fits(only('board', 'bios', 'mac')), false, '8 of 14')
  t.equal(await fits([...only('cpu', 'osid'), ['board', 'ANOTHER']]), false, 'one of the same make')
  t.equal(await fits([]), false, 'nothing')

  const { hw } = vectors.lease.payload
  const { board, mac, osid, cpu } = hw.c
  const poor = resigned({ hw: { ...hw, c: { board, mac, osid, cpu } } })
  t.equal(await fits(only('board', 'mac'), poor), true, '5 of 8, with an anchor')
  t.equal(await fits(only('mac', 'osid', 'cpu'), poor), false, '5 of 8, without one')
})

const LEASE = { iat: 10_000, nbf: 9700, exp: 20_000, grace: 3000, run: 500 }

t.test('a lease ends by its times and by the seconds used, however the clock is set', async (t) => {
  const driver = startDriver(t, DRIVER)
  const step = async (state: object, now: number, ran: number) => {
    const [verdict, after] = (await driver(
      'clock',
      JSON.stringify(LEASE),
      JSON.stringify({ jti: 'j', ...state }),
      now,
      ran,
    )) as Buffer[]
    return [`${verdict}`, JSON.parse(`${after}`)]
  }
  const cases: readonly [string, { hwm: number; run: number }, number, number, string, object][] = [
    ['now', { hwm: 10_000, run: 0 }, 10_000, 60, 'lease', { hwm: 10_000, run: 60 }],
    ['a little later', { hwm: 10_000, run: 60 }, 15_000, 60, 'lease', { hwm: 15_000, run: 120 }],
    ['at its end', { hwm: 10_000, run: 0 }, 20_000, 0, 'lease', { hwm: 20_000, run: 0 }],
    ['just over', { hwm: 10_000, run: 0 }, 20_001, 0, 'grace', { hwm: 20_001, run: 0 }],
    ['the last of grace', { hwm: 10_000, run: 0 }, 23_000, 0, 'grace', { hwm: 23_000, run: 0 }],
    ['after grace', { hwm: 10_000, run: 0 }, 23_001, 0, 'expired', { hwm: 23_001, run: 0 }],
    ['set back a little', { hwm: 12_000, run: 0 }, 11_700, 0, 'lease', { hwm: 12_000, run: 0 }],
    ['set back', { hwm: 12_000, run: 0 }, 11_699, 9, 'clock_rollback', { hwm: 12_000, run: 9 }],
    ['before the lease', { hwm: 0, run: 0 }, 9399, 0, 'clock_rollback', { hwm: 10_000, run: 0 }],
    ['set back a little, over', { hwm: 20_200, run: 0 }, 19_950, 0, 'grace', { hwm: 20_200, run: 0 }],
    ['set back into it', { hwm: 23_200, run: 0 }, 22_950, 0, 'expired', { hwm: 23_200, run: 0 }],
    ['standing still', { hwm: 10_000, run: 440 }, 10_000, 60, 'lease', { hwm: 10_000, run: 500 }],
    ['still standing', { hwm: 10_000, run: 441 }, 10_000, 60, 'expired', { hwm: 10_000, run: 501 }],
  ]
  for (const [what, state, now, ran, verdict, after] of cases)
    t.strictSame(await step(state, now, ran), [verdict, { jti: 'j', ...after }], what)
})

// What a lease is good for, by the program itself.

type Shop = Awaited<ReturnType<typeof openShop>>

/** A server whose clock is `aheadS` seconds ahead, with a product and a licence, and a place for a lease. */
async function openShop(t: Test, { freshConfig }: TestDatabase, aheadS = 0) {
  const config = await freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0' })
  const bench = await openBench(t, config, Date.now() + aheadS * 1000)
  await bench.server.listen({ host: '127.0.0.1', port: 0 })
  await bench.app.products.create(ACTOR, 'demo', 'Demo')
  const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null }
  const { key, licence } = await bench.app.licences.create(ACTOR, wish)
  const server = `http://127.0.0.1:${(bench.server.server.address() as AddressInfo).port}`
  const leaseFile = join(mkdtempSync(join(scratchDirectory(), 'lease-')), 'demo.lease')
  const [leaseKey] = bench.app.keyPairs.lease()
  return {
    bench,
    server,
    away: `http://127.0.0.1:${await freePort()}`,
    key,
    licence,
    leaseFile,
    leaseKey: leaseKey!,
  }
}

type Wishes = {
  suite?: 'S1' | 'S2'
  licence?: string
  hardware?: readonly string[]
  signer?: SigningKey
}

function run(shop: Shop, server: string, wishes: Wishes = {}): Promise<Run> {
  const { suite = 'S1', licence = shop.key, signer = shop.leaseKey, hardware } = wishes
  const args = [CLIENT, '--lease', shop.leaseFile, '--lease-key', leaseKeyOf(signer)]
  const { kid, publicKey } = pinOf(shop.bench.app, suite)
  const question = { server, suite, licence, pins: [{ kid, pub: toB64u(publicKey) }] }
  return ask({ file, args }, hardware === undefined ? question : { ...question, hardware })
}

const allowed = { outcome: 'allowed', code: 'ok', support_code: /^[0-9A-Z]{5}-[0-9A-Z]{5}$/ }
const byLease = (code: 'lease' | 'grace') => ({ outcome: 'allowed', code, support_code: null })

function assertVerdict(t: Test, { code, verdict, stderr }: Run, expected: object, what: string): void {
  t.match(verdict, expected, what)
  t.equal(code, 0, `${what}: exit code`)
  t.equal(stderr, '', `${what}: no complaint`)
}

for (const database of DATABASES)
  for (const suite of SUITES)
    t.test(`${database.name}, ${suite}: a tool lives on its lease while nobody answers`, async (t) => {
      const shop = await openShop(t, database)
      assertUnavailable(t, await run(shop, shop.away, { suite }), 'before it has one')
      assertVerdict(t, await run(shop, shop.server, { suite }), allowed, 'asked')
      assertVerdict(t, await run(shop, shop.away, { suite }), byLease('lease'), 'away')
      t.match(readFileSync(shop.leaseFile, 'utf8'), /^[\w-]+\.[\w-]+\.[\w-]+\n$/, 'one line')
      for (const name of [shop.leaseFile, `${shop.leaseFile}.state`])
        t.equal(statSync(name).mode & 0o777, 0o600, 'for this user alone')
    })

const [onSqlite] = DATABASES as [TestDatabase]

t.test('a denial stands against the best of leases, and takes no lease away', async (t) => {
  const shop = await openShop(t, onSqlite)
  assertVerdict(t, await run(shop, shop.server), allowed, 'asked')
  await shop.bench.app.licences.suspend(ACTOR, shop.licence.id, 'unpaid')
  const { code, verdict } = await run(shop, shop.server)
  t.match(verdict, { outcome: 'denied', code: 'licence_invalid', support_code: /-/ })
  t.equal(code, 1)
  assertVerdict(t, await run(shop, shop.away), byLease('lease'), 'away')
})

t.test('a lease serves nobody but its machine, its licence and its pinned key', async (t) => {
  const shop = await openShop(t, onSqlite)
  assertVerdict(t, await run(shop, shop.server), allowed, 'asked')
  const refuses = async (reason: RegExp, wishes: Wishes) => {
    const refused = await run(shop, shop.away, wishes)
    assertUnavailable(t, refused, `${reason}`)
    t.match(refused.lines.join('\n'), reason)
  }
  await refuses(/No lease to live on: the lease is for another machine/, { hardware: OTHER_HARDWARE })
  await refuses(/No lease to live on: the state beside the lease was changed/, { licence: OTHER_LICENCE })
  await refuses(/No lease to live on: not signed by a pinned key/, { signer: DASHED })
  assertVerdict(t, await run(shop, shop.away), byLease('lease'), 'none of which did it any harm')
})

t.test('a lease counts with its own state only: the last one that came, and the time since', async (t) => {
  const shop = await openShop(t, onSqlite, -4 * DAY_S)
  const { leaseFile, away, server } = shop
  const state = `${leaseFile}.state`
  const refuses = async (reason: RegExp) => {
    const refused = await run(shop, away)
    assertUnavailable(t, refused, `${reason}`)
    t.match(refused.lines.join('\n'), reason)
  }
  await run(shop, server)
  copyFileSync(leaseFile, `${leaseFile}.first`)
  shop.bench.clock.advance(4 * DAY_S * 1000)
  assertVerdict(t, await run(shop, server), allowed, 'asked again, after more than half of its time')
  assertVerdict(t, await run(shop, away), byLease('lease'), 'away')

  copyFileSync(leaseFile, `${leaseFile}.second`)
  copyFileSync(`${leaseFile}.first`, leaseFile)
  await refuses(/No lease to live on: not the lease that came last/)
  copyFileSync(`${leaseFile}.second`, leaseFile)
  writeFileSync(state, readFileSync(state, 'utf8').replace('"run":', '"run":-'))
  await refuses(/No lease to live on: the state beside the lease was changed/)
  rmSync(state)
  await refuses(/No lease to live on: .*demo\.lease\.state/)
  assertVerdict(t, await run(shop, server), allowed, 'asked')
  assertVerdict(t, await run(shop, away), byLease('lease'), 'which mends it')
})

t.test('a lease warns after its end, ends after that, and does not count before its time', async (t) => {
  const after = async (aheadS: number) => {
    const shop = await openShop(t, onSqlite, aheadS)
    assertVerdict(t, await run(shop, shop.server), allowed, 'asked')
    return { shop, offline: await run(shop, shop.away) }
  }
  assertVerdict(t, (await after(-8 * DAY_S)).offline, byLease('grace'), 'eight days ago')
  const over = await after(-11 * DAY_S)
  assertUnavailable(t, over.offline, 'eleven days ago')
  t.ok(over.offline.lines.includes('The kept lease says: expired'))
  const early = await after(3600)
  assertUnavailable(t, early.offline, 'in an hour')
  t.ok(early.offline.lines.includes('The kept lease says: clock_rollback'))
})

t.test('a lease does not count under a clock that is behind what the server last said', async (t) => {
  const shop = await openShop(t, onSqlite)
  assertVerdict(t, await run(shop, shop.server), allowed, 'asked')
  const lease = readFileSync(shop.leaseFile, 'utf8')
  shop.bench.clock.advance(3_600_000)
  assertVerdict(t, await run(shop, shop.server), allowed, 'asked in an hour')
  t.equal(readFileSync(shop.leaseFile, 'utf8'), lease, 'the same lease')
  const rolledBack = await run(shop, shop.away)
  assertUnavailable(t, rolledBack, 'an hour ago')
  t.ok(rolledBack.lines.includes('The kept lease says: clock_rollback'))
  shop.bench.clock.advance(-3_600_000)
  assertVerdict(t, await run(shop, shop.server), allowed, 'asked, its own clock having been wrong')
  assertVerdict(t, await run(shop, shop.away), byLease('lease'), 'away')
})

t.test('a lease that cannot be kept changes no verdict', async (t) => {
  const shop = await openShop(t, onSqlite)
  const nowhere = { ...shop, leaseFile: join(shop.leaseFile, 'no', 'such', 'directory') }
  const kept = await run(nowhere, shop.server)
  assertVerdict(t, kept, allowed, 'asked')
  t.match(kept.lines.join('\n'), /Nothing kept for later: /)
  const strange = await run(shop, shop.server, { signer: SIGNER })
  assertVerdict(t, strange, allowed, 'asked, with another lease key pinned')
  t.match(strange.lines.join('\n'), /Nothing kept for later: not signed by a pinned key/)
  assertUnavailable(t, await run(shop, shop.away), 'away')
})
