import { randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { createAuthority, issueServerCertificate } from '../../src/crypto/certificates.ts'
import { fromB64u, toB64u } from '../../src/crypto/encoding.ts'
import { scratchDirectory } from './children.ts'
import { DATABASES, type TestDatabase, type TestEnv } from './databases.ts'
import { type ExampleClient, SUITES, type Suite, vectors } from './example-client.ts'
import { ask, assertUnavailable, HARDWARE, type Pin, type Run } from './example-client-runs.ts'
import { asOperator, type Installation, install, serve, sql } from './installation.ts'
import { ACTOR } from './legacy.ts'
import { runKunci } from './server.ts'

const DAY_MS = 86_400_000
const PROGRESS = ['Session key obtained', 'JWT token parsed', 'Using dynamic encryption keys from session']

type Shop = {
  readonly installation: Installation
  readonly url: string
  readonly pins: Readonly<Record<Suite, Pin>>
  readonly licence: string
  readonly licenceId: string
}

/** A running server with one product and one licence. */
export async function openShop(t: Test, database: TestDatabase, env: TestEnv = {}): Promise<Shop> {
  const installation = await install(t, database, env)
  const { url } = await serve(t, installation)
  const { stdout } = await runKunci(['keys', 'pins'], installation.env, { cwd: installation.config.dataDir })
  const { S1, S2 } = JSON.parse(stdout) as Record<Suite, readonly [Pin]>
  return asOperator(installation, async (app) => {
    await app.products.create(ACTOR, 'demo', 'Demo')
    const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: Date.now() + 30 * DAY_MS }
    const { key, licence } = await app.licences.create(ACTOR, wish)
    return { installation, url, pins: { S1: S1[0], S2: S2[0] }, licence: key, licenceId: licence.id }
  })
}

export const question = ({ url, pins, licence }: Shop, suite: Suite, server = url) => ({
  ...{ server, suite, licence },
  pins: [pins[suite]],
})

function assertVerdict(t: Test, run: Run, outcome: 'allowed' | 'denied', code: string, what: string): void {
  t.equal(run.code, outcome === 'allowed' ? 0 : 1, `${what}: exit code`)
  t.match(run.verdict, { outcome, code, support_code: /^[0-9A-Z]{5}-[0-9A-Z]{5}$/ }, what)
  t.equal(run.stderr, '', `${what}: no complaint`)
}

/** Nothing that opens a session, a licence or a machine stands in what a client prints. */
function assertDiscreet(t: Test, { lines, verdict }: Run, licence: string): void {
  const output = [...lines, JSON.stringify(verdict)].join('\n')
  const serials = HARDWARE.map((value) => value.slice(value.indexOf('=') + 1))
  for (const secret of [licence, ...serials])
    t.notOk(output.includes(secret), 'no licence key, no serial number')
  t.notMatch(output, /eyJ|[\w-]{43}/, 'no token, no key, no digest')
}

async function isAllowed(t: Test, { program }: ExampleClient, shop: Shop, suite: Suite): Promise<void> {
  const run = await ask(program, question(shop, suite))
  assertVerdict(t, run, 'allowed', 'ok', 'a good licence')
  const at = run.lines.indexOf(PROGRESS[0] ?? '')
  t.strictSame(run.lines.slice(at, at + 3), PROGRESS, 'in these words, in this order')
  assertDiscreet(t, run, shop.licence)
  assertVerdict(t, await ask(program, question(shop, suite)), 'allowed', 'ok', 'asked again')
  const devices = await asOperator(shop.installation, (app) =>
    app.devices.list({ licenceId: shop.licenceId, limit: 10 }),
  )
  t.equal(devices.length, 1, 'the machine is one machine')
}

async function isDenied(t: Test, { program }: ExampleClient, shop: Shop, suite: Suite): Promise<void> {
  const good = question(shop, suite)
  const other = await ask(program, { ...good, licence: vectors.licence.key })
  assertVerdict(t, other, 'denied', 'licence_invalid', 'another licence key')
  assertDiscreet(t, other, vectors.licence.key)
  const stranger = ['board=OTHER-BOARD-7', 'disk=OTHER-DISK-7', 'mac=3C:7C:3F:AA:BB:CC']
  const machine = await ask(program, { ...good, hardware: stranger })
  assertVerdict(t, machine, 'denied', 'device_limit', 'a second machine')
  const weak = await ask(program, {
    ...good,
    hardware: ['board=OTHER-BOARD-7', 'cpu=none', 'mac=00:00:00:00:00:00'],
  })
  assertVerdict(t, weak, 'denied', 'device_weak', 'a machine that is hardly described')
  t.strictSame(
    weak.lines.filter((line) => line.startsWith('Left out')),
    ['cpu', 'mac'].map((type) => `Left out, as it identifies no machine: ${type}`),
  )
}

async function believesItsPin(t: Test, { program }: ExampleClient, shop: Shop, suite: Suite): Promise<void> {
  const good = question(shop, suite)
  const pub = toB64u(Buffer.from(vectors[suite].S_pub, 'hex'))
  const foreign = { kid: vectors[suite].kid, pub }
  assertUnavailable(t, await ask(program, { ...good, pins: [foreign] }), 'another key')
  const posing = { kid: shop.pins[suite].kid, pub }
  assertUnavailable(t, await ask(program, { ...good, pins: [posing] }), 'another key that is named like it')
  const run = await ask(program, { ...good, pins: [foreign, shop.pins[suite]] })
  assertVerdict(t, run, 'allowed', 'ok', 'the right key in the second place')
}

type Answer = { readonly status: number; readonly body: string }
type Request = { readonly path: string; readonly body: string }
/** What becomes of the n-th request to an address: an answer, or nothing at all. */
type Meddling = (request: Request, nth: number, forward: () => Promise<Answer>) => Promise<Answer | undefined>

/** Stands between client and server, as whoever controls the network can. */
async function meddle(t: Test, shop: Shop, meddling: Meddling, tls?: { cert: string; key: string }) {
  const calls: Request[] = []
  const server = tls ? createHttpsServer(tls) : createHttpServer()
  server.on('request', async (request, response) => {
    const { url: path = '', headers } = request
    const asked = { path, body: await text(request) }
    const nth = calls.filter((call) => call.path === path).length
    calls.push(asked)
    const forward = async (): Promise<Answer> => {
      const { authorization = '' } = headers
      const wishes = { 'content-type': 'application/json', authorization }
      const reply = await fetch(`${shop.url}${path}`, { method: 'POST', headers: wishes, body: asked.body })
      return { status: reply.status, body: await reply.text() }
    }
    const answer = await meddling(asked, nth, forward)
    if (answer === undefined) request.socket.destroy()
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  const url = `http${tls ? 's' : ''}://127.0.0.1:${(server.address() as AddressInfo).port}`
  const bodiesTo = (path: string) => calls.filter((call) => call.path === path).map(({ body }) => body)
  return { url, bodiesTo }
}

const only =
  (path: string, meddling: Meddling): Meddling =>
  (request, nth, forward) =>
    request.path === path ? meddling(request, nth, forward) : forward()
const onCall = (meddling: Meddling) => only('/v1/call', meddling)

async function bearsLosses(t: Test, { program }: ExampleClient, shop: Shop, suite: Suite): Promise<void> {
  const lossy = await meddle(t, shop, async (_, nth, forward) => {
    const answer = await forward()
    return nth === 0 ? undefined : answer
  })
  const run = await ask(program, question(shop, suite, lossy.url))
  assertVerdict(t, run, 'allowed', 'ok', 'when the first reply is lost each time')
  for (const path of ['/v1/session', '/v1/call']) {
    const [first, second, ...rest] = lossy.bodiesTo(path)
    t.equal(first, second, `${path}: the same bytes`)
    t.equal(rest.length, 0, `${path}: twice`)
  }
}

const UNKNOWN_SESSION = { status: 401, body: '{"v":1,"error":"session"}' }

async function replacesALostSession(t: Test, { program }: ExampleClient, shop: Shop, suite: Suite) {
  const once = await meddle(
    t,
    shop,
    onCall(async (_, nth, forward) => (nth === 0 ? UNKNOWN_SESSION : forward())),
  )
  assertVerdict(t, await ask(program, question(shop, suite, once.url)), 'allowed', 'ok', 'after one 401')
  t.equal(new Set(once.bodiesTo('/v1/session')).size, 2, 'another session, with another key')

  const always = await meddle(
    t,
    shop,
    onCall(async () => UNKNOWN_SESSION),
  )
  assertUnavailable(t, await ask(program, question(shop, suite, always.url)), 'after two')
  t.equal(always.bodiesTo('/v1/session').length, 2, 'and no third one')

  const late = await meddle(
    t,
    shop,
    onCall(async ({ body }, nth, forward) => {
      // The server still answers such a session for a minute, with a sealed session_expired.
      const past = new Date(Date.now() - 5000).toISOString().slice(0, 19).replace('T', ' ')
      const { session_id: id } = JSON.parse(body)
      if (nth === 0)
        await sql(
          shop.installation,
          `UPDATE session_keys SET expires_at = '${past}' WHERE session_id = '${id}'`,
        )
      return forward()
    }),
  )
  assertVerdict(
    t,
    await ask(program, question(shop, suite, late.url)),
    'allowed',
    'ok',
    'after a session that ended',
  )
  t.equal(late.bodiesTo('/v1/session').length, 2)
}

async function believesNoMeddler(
  t: Test,
  { program }: ExampleClient,
  shop: Shop,
  suite: Suite,
): Promise<void> {
  let earlier: Answer | undefined
  await meddle(
    t,
    shop,
    onCall(async (_, __, forward) => (earlier = await forward())),
  ).then(({ url }) => ask(program, question(shop, suite, url)))
  const changed = async (
    forward: () => Promise<Answer>,
    change: (fields: Record<string, unknown>) => object,
  ) => {
    const { status, body } = await forward()
    const fields = JSON.parse(body)
    return { status, body: JSON.stringify({ ...fields, ...change(fields) }) }
  }
  const flip = ({ box }: Record<string, unknown>) => {
    const bytes = Buffer.from(fromB64u(String(box)) ?? '')
    bytes[9]! ^= 1
    return { box: toB64u(bytes) }
  }
  const yes = { status: 200, body: '{"v":1,"status":200,"code":"ok","data":{"valid":true}}' }
  const no = { status: 403, body: '{"v":1,"status":403,"code":"licence_invalid","data":{"valid":false}}' }
  const meddlings: Record<string, Meddling> = {
    'a plain yes': onCall(async () => yes),
    'a plain no': onCall(async () => no),
    'the reply of another time': onCall(async () => earlier),
    'its ids on the reply of another time': onCall((_, __, forward) =>
      changed(forward, () => ({
        salt: JSON.parse(earlier?.body ?? '').salt,
        box: JSON.parse(earlier?.body ?? '').box,
      })),
    ),
    'a changed reply': onCall((_, __, forward) => changed(forward, flip)),
    'a changed handshake': only('/v1/session', (_, __, forward) => changed(forward, flip)),
    'a longer life': only('/v1/session', (_, __, forward) =>
      changed(forward, () => ({ expires_in: 86_400 })),
    ),
    'another session': only('/v1/session', (_, __, forward) =>
      changed(forward, () => ({ session_id: randomBytes(32).toString('hex') })),
    ),
  }
  t.equal(earlier?.status, 200)
  for (const [what, meddling] of Object.entries(meddlings)) {
    const { url } = await meddle(t, shop, meddling)
    assertUnavailable(t, await ask(program, question(shop, suite, url)), what)
  }
}

async function verifiesCertificates(t: Test, client: ExampleClient, shop: Shop): Promise<void> {
  const { suites: [suite = 'S1'] = SUITES } = client
  const nowMs = Date.now()
  const validity = { notBefore: new Date(nowMs - DAY_MS), notAfter: new Date(nowMs + DAY_MS) }
  const authority = createAuthority({ commonName: 'Test authority', ...validity })
  const file = join(mkdtempSync(join(scratchDirectory(), 'ca-')), 'ca.pem')
  writeFileSync(file, authority.certPem)
  const askThrough = async (
    names: { hostNames: string[]; ipAddresses: string[] },
    as = client.trusting(file),
    host = '',
  ) => {
    const { certPem: cert, keyPem: key } = issueServerCertificate({ authority, ...names, ...validity })
    const { url } = await meddle(t, shop, (_, __, forward) => forward(), { cert, key })
    return ask(as, question(shop, suite, host === '' ? url : url.replace('127.0.0.1', host)))
  }
  const here = { hostNames: ['localhost'], ipAddresses: ['127.0.0.1'] }
  if (!client.runsOnMono)
    assertVerdict(t, await askThrough(here), 'allowed', 'ok', 'a trusted certificate of its address')
  assertVerdict(
    t,
    await askThrough(here, undefined, 'localhost'),
    'allowed',
    'ok',
    'a trusted certificate of its name',
  )
  assertUnavailable(t, await askThrough(here, client.program), 'nobody vouches for the certificate')
  const elsewhere = { hostNames: ['elsewhere.example'], ipAddresses: ['192.0.2.1'] }
  assertUnavailable(t, await askThrough(elsewhere), 'a certificate for another address')
  assertUnavailable(t, await askThrough(elsewhere, undefined, 'localhost'), 'a certificate for another name')
}

/** Every client gets a real server's verdict, on both databases, and nobody between the two changes it. */
export function asksTheServer(t: Test, client: ExampleClient): void {
  const { suites = SUITES } = client
  for (const database of DATABASES)
    t.test(database.name, async (t) => {
      const shop = await openShop(t, database)
      for (const suite of suites) {
        t.test(`${suite}: a good licence is allowed`, (t) => isAllowed(t, client, shop, suite))
        t.test(`${suite}: a refusal of the server is a denial`, (t) => isDenied(t, client, shop, suite))
        t.test(`${suite}: only the owner of the pinned key has a say`, (t) =>
          believesItsPin(t, client, shop, suite),
        )
      }
    })
  t.test('with somebody in between', async (t) => {
    const shop = await openShop(t, DATABASES[0]!)
    for (const suite of suites) {
      t.test(`${suite}: lost replies cost nothing`, (t) => bearsLosses(t, client, shop, suite))
      t.test(`${suite}: a lost session is replaced once`, (t) => replacesALostSession(t, client, shop, suite))
      t.test(`${suite}: no verdict can be forged or replayed`, (t) =>
        believesNoMeddler(t, client, shop, suite),
      )
    }
    t.test('HTTPS needs a certificate of the server, from somebody trusted', (t) =>
      verifiesCertificates(t, client, shop),
    )
  })
}
