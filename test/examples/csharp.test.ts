import { createHmac } from 'node:crypto'
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { toB64u } from '../../src/crypto/encoding.ts'
import { p256SigningKey } from '../../src/crypto/jwk.ts'
import { signEs256 } from '../../src/crypto/lease.ts'
import { DATABASES } from '../support/databases.ts'
import { keepsTheProtocol, type Program, startDriver, vectors } from '../support/example-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'
import { ask, assertUnavailable, believesNoStranger, runWith } from '../support/example-client-runs.ts'
import { asksTheServer, openShop, question } from '../support/example-client-server.ts'
import { asOperator } from '../support/installation.ts'
import { ACTOR } from '../support/legacy.ts'
import {
  compile,
  csharpClient,
  directory,
  freshHome,
  libraries,
  runDriver,
  runtime,
  SOURCE,
} from './csharp-client.ts'

t.test('it compiles with the flags at its head, as C# 5, without a word', async (t) => {
  t.equal(libraries.length, 4)
  const { isBuilt, said } = compile('client.exe', SOURCE)
  t.strictSame({ isBuilt, said }, { isBuilt: true, said: '' })
  const run = await runWith({ file: runtime, args: [join(directory, 'client.exe')] }, [])
  t.equal(run.code, 64)
  t.match(run.stderr, /Usage: KunciClient/)
})

const JSON_TEXTS = {
  '{}': '{}',
  ' \t\r\n{ "a" : [ 1 , -2 , 3.5 , 1e3 , -0.5E-1 ] } ': '{"a":[1,-2,3.5,1000,-0.05]}',
  '{"":{"a":[[],{},true,false,null]}}': '{"":{"a":[[],{},true,false,null]}}',
  '{"a":"\\u00e9\\ud83d\\ude00\\n\\"\\\\\\/é"}': '{"a":"\\u00e9\\ud83d\\ude00\\u000a\\"\\\\/\\u00e9"}',
  '{"a":9223372036854775807}': '{"a":9223372036854775807}',
}
const NO_JSON_TEXTS = [
  ...['', ' ', '{', '}', '[]', 'null', '"a"', '{} {}', '{}x', '{}\u0000', '\ufeff{}', '{"a"}', '{"a":}'],
  ...['{"a":1,}', '{"a" 1}', '{a:1}', '{1:1}', "{'a':1}", '{"a":1 "b":2}', '{"a":1}}', '{"a":[1,]}'],
  ...['{"a":[,1]}', '{"a":[1 2]}', '{"a":[}', '{"a":01}', '{"a":+1}', '{"a":1.}', '{"a":.5}', '{"a":1e}'],
  ...['{"a":-}', '{"a":0x1}', '{"a":NaN}', '{"a":tru}', '{"a":True}', '{"a":truefalse}', '{"a":"'],
  ...['{"a":"\\"}', '{"a":"\\x"}', '{"a":"\\u12"}', '{"a":"\\u12G4"}', '{"a":"\\u 123"}', '{"a":"\n"}'],
  ...['{"a":"\u0000"}', '/**/{}', '{"a":1,"a":1}', `{"a":${'['.repeat(16)}${']'.repeat(16)}}`],
  ...[`{"a":${'['.repeat(9999)}`],
]

t.test('its JSON reader takes one object and nothing else', async (t) => {
  const ask = startDriver(t, csharpClient.driver)
  for (const [json, expected] of Object.entries(JSON_TEXTS)) t.equal(`${await ask('json', json)}`, expected)
  for (const json of NO_JSON_TEXTS)
    t.equal(await ask('json', json), 'refused', JSON.stringify(json).slice(0, 60))
  t.equal(await ask('json', Buffer.from('{"a":"\xe9"}', 'latin1')), 'refused', 'not UTF-8')
})

const LEASE = vectors.lease.payload
const signer = p256SigningKey(Buffer.from(vectors.keys.lease_priv, 'hex'))
const point = Buffer.from(vectors.keys.lease_pub, 'hex')
const signed = (change: object, typ = 'dsk-lease+jwt', key = signer) =>
  signEs256(typ, { ...LEASE, ...change }, key)
const SERIALS = Object.entries<string | string[]>(vectors.hwid.raw).flatMap(([type, values]) =>
  [values].flat().map((value) => [type, value] as const),
)

type Asked = { jws?: string; kid?: string; key?: Buffer; tool?: string; serials?: typeof SERIALS }

function startLeases(t: Test) {
  const ask = startDriver(t, csharpClient.driver)
  const read = async ({
    jws = vectors.lease.jws,
    kid = signer.kid,
    key = point,
    tool = 'demo',
    serials = SERIALS,
  }: Asked) => `${await ask('lease', jws, kid, key, tool, ...serials.flat())}`
  return { ask, read }
}

t.test('a lease counts when a pinned key signed it for this tool', async (t) => {
  const { read } = startLeases(t)
  t.equal(await read({}), 'fits', 'the published one')
  t.equal(await read({ jws: signed({ later: 1 }) }), 'fits', 'one signed now')
  const [header = '', payload = '', signature = ''] = vectors.lease.jws.split('.')
  const encoded = (value: object) => toB64u(Buffer.from(JSON.stringify(value)))
  const none = `${encoded({ alg: 'none', typ: 'dsk-lease+jwt', kid: signer.kid })}.${payload}.`
  const hs256 = `${encoded({ alg: 'HS256', typ: 'dsk-lease+jwt', kid: signer.kid })}.${payload}`
  const mac = (key: Buffer) => `${hs256}.${createHmac('sha256', key).update(hs256).digest('base64url')}`
  const flipped = Buffer.from(signature, 'base64url')
  flipped[40]! ^= 1
  const other = p256SigningKey(Buffer.alloc(32, 7))
  const bad: Record<string, Asked> = {
    'alg none': { jws: none },
    'a MAC under the public key': { jws: mac(point) },
    'a MAC under its x': { jws: mac(point.subarray(1, 33)) },
    'another typ': { jws: signed({}, 'dsk-at+jwt') },
    'another key': { jws: signed({}, 'dsk-lease+jwt', other) },
    'another key of that name': { jws: signed({}, 'dsk-lease+jwt', { ...other, kid: signer.kid }) },
    'no pinned key': { kid: other.kid },
    'a changed signature': { jws: `${header}.${payload}.${toB64u(flipped)}` },
    'a changed claim': { jws: `${header}.${encoded({ ...LEASE, exp: LEASE.exp + 1 })}.${signature}` },
    'a signature of zeros': { jws: `${header}.${payload}.${toB64u(Buffer.alloc(64))}` },
    'half a signature': { jws: `${header}.${payload}.${signature.slice(0, 43)}` },
    'no signature': { jws: `${header}.${payload}` },
    'a fourth part': { jws: `${vectors.lease.jws}.` },
    'another tool': { tool: 'other' },
    'no seq': { jws: signed({ seq: undefined }) },
    'a text for exp': { jws: signed({ exp: '1767830400' }) },
    'more than 8 KiB': { jws: signed({ more: 'x'.repeat(8192) }) },
  }
  for (const [what, asked] of Object.entries(bad)) t.equal(await read(asked), 'refused', what)
})

t.test('a lease fits most of the machine it was made for, by weight, and an anchor of it', async (t) => {
  const { read } = startLeases(t)
  const without = (...types: string[]) => ({ serials: SERIALS.filter(([type]) => !types.includes(type)) })
  t.equal(await read(without('disk')), 'fits')
  t.equal(await read(without('disk', 'osid')), 'fits', '9 of 14')
  t.equal(await read(without('disk', 'bios')), 'does not fit', '8 of 14')
  t.equal(await read(without('cpu', 'mac')), 'fits', '11 of 14')
  t.equal(await read(without('board', 'bios', 'disk')), 'does not fit')
  const { c } = LEASE.hw
  const noAnchor = signed({ hw: { ...LEASE.hw, c: { mac: c.mac, osid: c.osid, cpu: c.cpu } } })
  t.equal(await read({ jws: noAnchor }), 'does not fit', 'all of it, but no anchor')
  t.equal(await read({ serials: SERIALS.map(([type, value]) => [type, `${value}0`]) }), 'does not fit')
})

const STATE = { jti: LEASE.jti, seq: LEASE.seq, hwm: LEASE.iat, run: 0, mono: 1000 }
const HOUR_S = 3600
const DAY_S = 24 * HOUR_S
/** What is remembered, the two clocks (seconds after the lease began, seconds after the last step), and the verdict. */
const CLOCKS: readonly [string, Partial<typeof STATE>, number, number, string][] = [
  ['a minute later', {}, 60, 60, 'lease'],
  ['the last second', {}, 7 * DAY_S, 60, 'lease'],
  ['over', {}, 7 * DAY_S + 1, 60, 'grace'],
  ['the last second of grace', {}, 10 * DAY_S, 60, 'grace'],
  ['all over', {}, 10 * DAY_S + 1, 60, 'expired'],
  ['set back a little', { hwm: LEASE.iat + 600 }, 300, 60, 'lease'],
  ['set back', { hwm: LEASE.iat + 600 }, 299, 60, 'clock_rollback'],
  ['set back before the lease', { hwm: 0 }, -601, 60, 'clock_rollback'],
  ['set back within the slack, after its end', { hwm: LEASE.exp + 200 }, 7 * DAY_S - 50, 60, 'grace'],
  ['standing still, in use for 100 h', { run: 99 * HOUR_S }, 60, HOUR_S, 'lease'],
  ['standing still, in use for longer', { run: 99 * HOUR_S }, 60, HOUR_S + 1, 'expired'],
]

t.test('a clock that is set back, or stands still, does not lengthen a lease', async (t) => {
  const { ask } = startLeases(t)
  const lease = [vectors.lease.jws, signer.kid, point, 'demo'] as const
  const step = async (state: typeof STATE, now: number, mono: number) => {
    const [verdict, after] = await ask('clock', ...lease, JSON.stringify(state), LEASE.iat + now, mono)
    return { verdict: `${verdict}`, after: JSON.parse(`${after}`) as typeof STATE }
  }
  for (const [what, remembered, now, passed, expected] of CLOCKS) {
    const state = { ...STATE, ...remembered }
    const { verdict, after } = await step(state, now, state.mono + passed)
    t.equal(verdict, expected, what)
    const hwm = Math.max(state.hwm, LEASE.iat, LEASE.iat + now)
    t.strictSame(after, { ...state, hwm, run: state.run + passed, mono: state.mono + passed }, what)
  }
  const { after } = await step({ ...STATE, run: 50, mono: 90_000 }, 60, 20)
  t.strictSame([after.run, after.mono], [70, 20], 'a restart of the machine: the time since counts')
})

/** A shop, and its client with a lease of its own on a machine that remembers. */
async function openLeaseShop(t: Test) {
  const shop = await openShop(t, DATABASES[0]!)
  const [key] = await asOperator(shop.installation, async (app) => app.keyPairs.lease())
  const { kid, x, y } = key!.publicJwk as { kid: string; x: string; y: string }
  const home = freshHome()
  const file = join(home, 'demo.lease')
  const keeping = (name = file, keys = `${kid}:${x}:${y}`) =>
    runDriver(['client', '--lease', name, '--lease-key', keys], home)
  const online = question(shop, 'S2')
  return { shop, file, keeping, online, offline: { ...online, server: 'http://127.0.0.1:1' } }
}

t.test('a lease is lived on while the server is unavailable, and only then', async (t) => {
  const { shop, file, keeping, online, offline } = await openLeaseShop(t)
  assertUnavailable(t, await ask(keeping(), offline), 'before the first check')
  t.notOk(existsSync(file))
  t.match((await ask(keeping(), online)).verdict, { outcome: 'allowed', code: 'ok' })
  t.match(readFileSync(file, 'utf8'), /^eyJ[\w-]+\.[\w-]+\.[\w-]{86}\n$/, 'one line')
  t.notMatch(readFileSync(`${file}.state`, 'latin1'), /hwm|seq/, 'its state is not for everybody to read')
  for (const what of ['offline', 'offline again']) {
    const run = await ask(keeping(), offline)
    t.equal(run.code, 0, what)
    t.strictSame(run.verdict, { outcome: 'allowed', code: 'lease', support_code: null }, what)
  }
  await asOperator(shop.installation, (app) => app.licences.suspend(ACTOR, shop.licenceId, 'unpaid'))
  t.match(
    (await ask(keeping(), online)).verdict,
    { outcome: 'denied', code: 'licence_invalid' },
    'a denial counts',
  )
})

t.test('a lease without its state, or of something else, is none', async (t) => {
  const { shop, file, keeping, online, offline } = await openLeaseShop(t)
  await ask(keeping(), online)
  const copy = (name: string, from = file) => {
    const to = join(directory, name)
    cpSync(from, to)
    cpSync(`${from}.state`, `${to}.state`)
    return to
  }
  const denied = async (program: Program, wishes: object, what: string) =>
    assertUnavailable(t, await ask(program, { ...offline, ...wishes }), what)
  t.equal((await ask(keeping(copy('whole.lease')), offline)).code, 0, 'a copy counts')

  const noState = copy('no-state.lease')
  rmSync(`${noState}.state`)
  await denied(keeping(noState), {}, 'no state')
  const changed = copy('changed.lease')
  const state = readFileSync(`${changed}.state`)
  state[state.length - 20]! ^= 1
  writeFileSync(`${changed}.state`, state)
  await denied(keeping(changed), {}, 'a changed state')
  await denied(runDriver(keeping(copy('other-user.lease')).args!.slice(1)), {}, 'the state of another user')
  await denied(keeping(), { licence: vectors.licence.key }, 'another licence')
  await denied(keeping(), { tool: 'other' }, 'another tool')
  const machine = ['board=OTHER-BOARD-7', 'disk=OTHER-DISK-7', 'mac=3C:7C:3F:AA:BB:CC']
  await denied(keeping(), { hardware: machine }, 'another machine')
  const { x, y } = p256SigningKey(Buffer.alloc(32, 7)).publicJwk as { x: string; y: string }
  await denied(keeping(file, `${signer.kid}:${x}:${y}`), {}, 'another pinned key')

  const older = copy('older.lease')
  await asOperator(shop.installation, (app) =>
    app.licences.renew(ACTOR, shop.licenceId, Date.now() + 40 * 24 * HOUR_S * 1000),
  )
  await ask(keeping(), online)
  t.not(readFileSync(file, 'utf8'), readFileSync(older, 'utf8'), 'a new lease')
  t.equal((await ask(keeping(), offline)).code, 0, 'counts')
  cpSync(older, file)
  await denied(keeping(), {}, 'the one before it does not')
})

keepsTheProtocol(t, csharpClient)
believesNoStranger(t, csharpClient)
asksTheServer(t, csharpClient)
withstandsEveryAttack(t, csharpClient)
