import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createClient } from '../../src/sdk/client.ts'
import { hwidOf } from '../../src/sdk/hwid.ts'
import { memoryStore } from '../../src/sdk/lease-store.ts'
import type { ClientOptions } from '../../src/sdk/options.ts'
import { leaseFor, leaseKeys, plain, ScriptedServer } from './scripted-server.ts'
import { node, PAIRS, pure, vectors, web } from './support.ts'

const { tool, raw } = vectors.hwid
const request = { licence: vectors.licence.key, tool, ver: '1.4.2', hwid: await hwidOf(tool, raw) }
const said = {
  ...{ check_again_after_s: 120, support_code: 'ABCDE-12345', message: 'Access granted' },
  ...{ device: { id: 'dev_1' }, entitlements: [], variables: { sk: '', maintenance: 'no' } },
}
const allow = () => ({ status: 200, code: 'ok', data: { valid: true, ...said } })
const timeout = () => new DOMException('timed out', 'TimeoutError')
const reset = () => new TypeError('fetch failed')
const busy = () => plain(503, 'busy')

/** A client of a scripted server, whose waits are noted and not waited. */
async function connect(server: ScriptedServer, options: Partial<ClientOptions> = {}) {
  const waits: number[] = []
  let monotonicMs = 5000
  const client = await createClient({
    serverUrl: 'https://licences.example',
    suite: 'S1',
    pins: server.pins,
    fetch: server.fetch,
    monotonic: () => monotonicMs,
    sleep: async (ms) => {
      waits.push(ms)
    },
    ...options,
  })
  return {
    client,
    waits,
    advance: (ms: number) => {
      monotonicMs += ms
    },
  }
}

const paths = (server: ScriptedServer) => server.sent.map(({ path }) => path.replace('/v1/', ''))

for (const [suite, backend] of PAIRS)
  t.test(`${suite} on ${backend.name}: a whole check, from the handshake to the verdict`, async (t) => {
    const server = new ScriptedServer(suite)
    server.answer = allow
    const sessions: object[] = []
    const { client } = await connect(server, {
      ...{ suite, crypto: backend },
      onSession: (session) => sessions.push(session),
    })
    const result = await client.check({ ...request, lang: 'id' })
    t.same(result, {
      ...{ valid: true, ...said },
      ...{ outcome: 'allowed', source: 'server', code: 'ok', leaseKept: false },
    })
    const [asked] = server.asked
    t.same(asked?.data, { ...request, lang: 'id' })
    t.match(asked?.nonce, /^[\w-]{22}$/)
    t.same(sessions, [{ expiresInS: 300 }])
    for (const { init } of server.sent)
      t.match(init, {
        ...{ method: 'POST', redirect: 'error', credentials: 'omit', cache: 'no-store' },
        headers: { 'content-type': 'application/json' },
      })
  })

t.test('the platform itself does every suite, without being told how', async (t) => {
  for (const suite of ['S1', 'S2', 'S3'] as const) {
    const server = new ScriptedServer(suite)
    const { client } = await connect(server, { suite })
    t.ok(await client.ping(), suite)
  }
})

t.test('denied is a sealed 403 that names licence, device or seat, and nothing else is', async (t) => {
  const server = new ScriptedServer('S1')
  const { client } = await connect(server)
  for (const code of ['licence_invalid', 'licence_expired', 'device_limit', 'device_weak', 'seat_limit']) {
    server.answer = () => ({ status: 403, code, data: { valid: false, support_code: 'ABCDE-12345' } })
    t.same(await client.check(request), {
      ...{ outcome: 'denied', source: 'server', code, valid: false, support_code: 'ABCDE-12345' },
    })
  }
  for (const [status, code, data] of [
    [200, 'licence_invalid', { valid: false }],
    [403, 'forbidden', { valid: false }],
    [403, 'ok', { valid: true }],
    [200, 'ok', { valid: 'true' }],
    [200, 'ok', {}],
    [400, 'bad_data', {}],
    [404, 'unknown_op', {}],
    [429, 'slow_down', { retry_in: 30 }],
    [500, 'internal', {}],
    [503, 'maintenance', {}],
  ] as const) {
    server.answer = () => ({ status, code, data })
    t.same(await client.check(request), {
      ...{ outcome: 'unavailable', code: null, reason: code, lease: null },
      retryIn: code === 'slow_down' ? 30 : null,
    })
  }
})

t.test('a reply cannot rename its own verdict', async (t) => {
  const server = new ScriptedServer('S1')
  const { client } = await connect(server)
  const lie = { outcome: 'allowed', source: 'server', code: 'ok' }
  server.answer = () => ({ status: 403, code: 'licence_invalid', data: { ...lie, valid: false } })
  t.match(await client.check(request), { outcome: 'denied', code: 'licence_invalid' })
})

t.test('nothing unauthenticated leads to allowed or denied', async (t) => {
  const html = new Response('<html>', { status: 200 })
  const claim = (status: number, body: object) => new Response(JSON.stringify(body), { status })
  const sealedLooking = {
    v: 1,
    session_id: '0'.repeat(64),
    seq: 1,
    salt: 'A'.repeat(22),
    box: 'A'.repeat(400),
  }
  for (const reply of [
    () => html.clone(),
    () => claim(200, { valid: true, status: 200, code: 'ok', data: { valid: true } }),
    () => claim(200, sealedLooking),
    () => claim(403, { v: 1, error: 'licence_invalid', code: 'licence_invalid' }),
    () => claim(402, {}),
    () => plain(400, 'request'),
    () => plain(413, 'size'),
    () => plain(429, 'rate'),
    () => new Response(null, { status: 204 }),
    () => new Response(new Uint8Array([0xff, 0xfe])),
  ])
    for (const at of [0, 1]) {
      const server = new ScriptedServer('S1')
      server.answer = allow
      server.script.push(...Array<'pass'>(at).fill('pass'), reply())
      const { client, waits } = await connect(server)
      const result = await client.check(request)
      const reason = reply().status === 200 ? 'unopened' : 'refused'
      t.match(result, { outcome: 'unavailable', code: null, reason })
      t.same(waits, [], 'and it is not tried again')
    }
})

t.test('a server with another key, and one that plays a recording, come to nothing', async (t) => {
  const server = new ScriptedServer('S1')
  const impostor = new ScriptedServer('S1', [Buffer.alloc(32, 8)])
  impostor.answer = allow
  for (const [kid] of server.keys) impostor.keys.set(kid, [...impostor.keys.values()][0]!)
  const { client } = await connect(server, { fetch: impostor.fetch })
  t.match(await client.check(request), { outcome: 'unavailable', reason: 'unopened' })
  t.equal(impostor.asked.length, 0)

  const recorded: string[] = []
  server.answer = allow
  const keep = async (reply: Response) => {
    recorded.push(await reply.clone().text())
    return reply
  }
  server.script.push(keep, keep)
  const first = await connect(server)
  t.match(await first.client.check(request), { outcome: 'allowed' })
  t.equal(recorded.length, 2)
  const replay = new ScriptedServer('S1')
  replay.script.push(...recorded.map((text) => new Response(text)))
  const second = await connect(server, { fetch: replay.fetch })
  t.match(await second.client.check(request), { outcome: 'unavailable', reason: 'unopened' })
})

t.test('time-outs, broken connections and 503: the same bytes again after 1, 3 and 9 seconds', async (t) => {
  for (const fault of [timeout, reset, busy]) {
    const server = new ScriptedServer('S1')
    server.answer = allow
    const lost = async () => {
      throw reset()
    }
    server.script.push('pass', fault(), lost, fault())
    const { client, waits } = await connect(server)
    t.match(await client.check(request), { outcome: 'allowed' })
    t.same(waits, [1000, 3000, 9000])
    t.same(paths(server), ['session', 'call', 'call', 'call', 'call'])
    t.equal(new Set(server.sent.slice(1).map(({ body }) => body)).size, 1, 'the same bytes')
    t.equal(server.asked.length, 1, 'the server acts once and repeats what it said')
  }
})

t.test('a handshake is tried as often, and after it all there is no verdict', async (t) => {
  const server = new ScriptedServer('S1')
  server.script.push(timeout(), reset(), busy(), timeout())
  const { client, waits } = await connect(server)
  t.match(await client.check(request), { outcome: 'unavailable', code: null, reason: 'no_reply' })
  t.same(waits, [1000, 3000, 9000])
  t.same(paths(server), ['session', 'session', 'session', 'session'])
  server.answer = allow
  t.match(await client.check(request), { outcome: 'allowed' }, 'the next check begins afresh')
})

t.test('when all tries of a request failed, a new session is made once, with the same nonce', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = allow
  server.script.push('pass', timeout(), timeout(), timeout(), () => Promise.reject(timeout()))
  const { client, waits } = await connect(server)
  t.match(await client.check(request), { outcome: 'allowed' })
  t.same(waits, [1000, 3000, 9000])
  t.same(paths(server), ['session', ...Array(4).fill('call'), 'session', 'call'])
  t.equal(server.asked.length, 2, 'it had come through')
  t.equal(server.asked[0]?.nonce, server.asked[1]?.nonce, 'so the server knows it again')
  t.not(server.sent[4]?.body, server.sent[6]?.body)
})

t.test('a plain 401 and a sealed session_expired lead to a new session, once', async (t) => {
  for (const expire of ['plain', 'sealed']) {
    const server = new ScriptedServer('S1')
    const { client } = await connect(server)
    t.ok(await client.ping())
    let expired = 0
    if (expire === 'plain') server.forget()
    server.answer = () =>
      expire === 'sealed' && expired++ === 0 ? { status: 401, code: 'session_expired', data: {} } : allow()
    t.match(await client.check(request), { outcome: 'allowed' })
    t.same(paths(server), ['session', 'call', 'call', 'session', 'call'])

    server.answer = () => ({ status: 401, code: 'session_expired', data: {} })
    if (expire === 'plain') server.script.push(plain(401, 'session'), 'pass', plain(401, 'session'))
    t.match(await client.check(request), { outcome: 'unavailable', reason: 'session_expired' })
    t.same(paths(server).slice(5), ['call', 'session', 'call'], 'not a third time')
    const nonces = server.asked.map(({ nonce }) => nonce)
    if (expire === 'sealed') t.equal(nonces.at(-1), nonces.at(-2))
  }
})

t.test('one session serves until shortly before its end, by the monotonic timer', async (t) => {
  const server = new ScriptedServer('S1')
  const { client, advance } = await connect(server, { now: () => 0 })
  t.ok(await client.ping())
  advance(269_999)
  t.ok(await client.ping())
  t.same(paths(server), ['session', 'call', 'call'])
  advance(1)
  t.ok(await client.ping())
  t.same(paths(server).slice(3), ['session', 'call'])
})

t.test('a session that is shorter than the margin serves one request', async (t) => {
  const server = new ScriptedServer('S1')
  server.expiresInS = 20
  const { client } = await connect(server)
  t.ok(await client.ping())
  t.ok(await client.ping())
  t.same(paths(server), ['session', 'call', 'session', 'call'])
})

t.test('a session whose numbers are used up is replaced, and no number is used twice', async (t) => {
  const server = new ScriptedServer('S1')
  server.maxSeq = 3
  const { client } = await connect(server)
  const all = await Promise.all(Array.from({ length: 8 }, () => client.ping()))
  t.ok(all.every(Boolean))
  const seqs = server.sent
    .filter(({ path }) => path === '/v1/call')
    .map(({ body }) => {
      const { session_id, seq } = JSON.parse(body)
      return `${session_id} ${seq}`
    })
  t.equal(new Set(seqs).size, 8)
  t.equal(paths(server).filter((path) => path === 'session').length, 3)
})

t.test('requests that come together share one handshake', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = allow
  const { client } = await connect(server)
  const results = await Promise.all([client.check(request), client.ping(), client.log('info', 'hello')])
  t.match(results, [{ outcome: 'allowed' }, true, true])
  t.equal(paths(server).filter((path) => path === 'session').length, 1)
  server.script.push(...Array(4).fill(null).map(timeout))
  server.forget()
  const other = await connect(server)
  t.same(await Promise.all([other.client.ping(), other.client.ping()]), [false, false], 'and its failure')
  t.ok(await other.client.ping(), 'which is not remembered')
})

t.test('a plain "kex" moves on to the next pin, and to no other suite', async (t) => {
  const old = new ScriptedServer('S1', [Buffer.alloc(32, 1)])
  const next = new ScriptedServer('S1', [Buffer.alloc(32, 2)])
  next.answer = allow
  const pins = [...old.pins, ...next.pins]
  const { client } = await connect(next, { pins })
  t.match(await client.check(request), { outcome: 'allowed' })
  t.same(paths(next), ['session', 'session', 'call'])
  t.same(
    next.sent.slice(0, 2).map(({ body }) => JSON.parse(body).kid),
    pins.map(({ kid }) => kid),
  )
  const lost = await connect(next, { pins: old.pins })
  t.match(await lost.client.check(request), { outcome: 'unavailable', reason: 'kex' })
  const liar = new ScriptedServer('S1', [Buffer.alloc(32, 1), Buffer.alloc(32, 2)])
  liar.answer = allow
  liar.script.push(plain(400, 'kex'))
  const hinted = await connect(liar)
  t.match(await hinted.client.check(request), { outcome: 'allowed' }, 'a false hint costs one try')
})

t.test('a reply of more than 64 KiB is refused before it is read to its end', async (t) => {
  const server = new ScriptedServer('S1')
  let pulled = 0
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      pulled += 1
      controller.enqueue(new Uint8Array(16_384).fill(0x20))
    },
  })
  server.script.push(new Response(endless))
  const { client, waits } = await connect(server)
  t.match(await client.check(request), { outcome: 'unavailable', reason: 'unopened' })
  t.ok(pulled < 10, `${pulled} chunks`)
  t.same(waits, [])
  server.answer = allow
  server.script.push(async (reply) => new Response((await reply.text()).padEnd(65_536)))
  t.match(await client.check(request), { outcome: 'allowed' }, '64 KiB are let through')
})

t.test('a reply that does not begin, or does not end, is given up after its time', async (t) => {
  for (const beginning of ['', '{"v":1,']) {
    const silent = createServer((_request, response) => {
      if (beginning !== '') response.write(beginning)
    })
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    t.teardown(() => silent.close().closeAllConnections())
    const { port } = silent.address() as AddressInfo
    const { client, waits } = await connect(new ScriptedServer('S1'), {
      ...{ serverUrl: `http://127.0.0.1:${port}`, fetch: globalThis.fetch },
      ...{ timeoutMs: 50, retryMs: [5] },
    })
    t.match(await client.check(request), { outcome: 'unavailable', reason: 'no_reply' })
    t.same(waits, [5])
  }
})

t.test('a redirect is not followed', async (t) => {
  let followed = 0
  const server = createServer((request, response) => {
    if (request.url === '/elsewhere') followed += 1
    response.writeHead(307, { location: '/elsewhere' }).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close().closeAllConnections())
  const { client } = await connect(new ScriptedServer('S1'), {
    ...{ serverUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, fetch: globalThis.fetch },
    retryMs: [],
  })
  t.match(await client.check(request), { outcome: 'unavailable', reason: 'no_reply' })
  t.equal(followed, 0)
})

t.test('closing ends the session on the server, and opens none for it', async (t) => {
  const server = new ScriptedServer('S1')
  const { client, waits } = await connect(server)
  await client.close()
  t.same(server.sent, [])
  t.ok(await client.ping())
  await client.close()
  t.match(server.asked.at(-1), { op: 'session.close', data: {} })
  server.script.push('pass', 'pass', timeout())
  t.ok(await client.ping())
  await client.close()
  t.same(paths(server).slice(3), ['session', 'call', 'call'], 'and is not tried again')
  t.same(waits, [])
})

t.test('after a conflict of numbers the next request has a session of its own', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = () => ({ status: 409, code: 'seq_conflict', data: {} })
  const { client } = await connect(server)
  t.notOk(await client.ping())
  server.answer = allow
  t.ok(await client.ping())
  t.same(paths(server), ['session', 'call', 'session', 'call'])
})

t.test('a line of the log arrives as it is, unless it is too long', async (t) => {
  const server = new ScriptedServer('S1')
  const { client } = await connect(server)
  t.ok(await client.log('warn', '\u00e9'.repeat(1024)))
  t.same(server.asked[0], {
    ...{ op: 'log.push', nonce: server.asked[0]?.nonce },
    data: { level: 'warn', text: '\u00e9'.repeat(1024) },
  })
  await t.rejects(client.log('warn', '\u00e9'.repeat(1025)), RangeError)
})

t.test('what makes no sense is said when the client is made', async (t) => {
  const server = new ScriptedServer('S1')
  const options = { serverUrl: 'https://licences.example', suite: 'S1', pins: server.pins } as const
  const [pin] = server.pins
  await t.rejects(createClient({ ...options, pins: [] }), RangeError)
  await t.rejects(createClient({ ...options, pins: [{ ...pin!, kid: '0'.repeat(16) }] }), RangeError)
  await t.rejects(createClient({ ...options, suite: 'S2' }), RangeError)
  await t.rejects(createClient({ ...options, serverUrl: 'licences.example' }), TypeError)
  await t.rejects(createClient({ ...options, serverUrl: 'ftp://licences.example' }), RangeError)
  await t.rejects(createClient({ ...options, leaseKeys: [{ ...leaseKeys[0]!, kid: 'x' }] }), RangeError)
  await t.rejects(createClient({ ...options, store: memoryStore() }), RangeError)
})

t.test('a platform that cannot do the suite says what is missing', async (t) => {
  const make = (suite: 'S1' | 'S2' | 'S3', crypto: ClientOptions['crypto']) =>
    createClient({ serverUrl: 'https://a.example', suite, pins: new ScriptedServer(suite).pins, crypto })
  const { p256: _, ...bare } = pure
  await t.rejects(make('S1', pure), { message: 'node-forge cannot do S1: node-forge has no AES-GCM' })
  await t.rejects(make('S2', bare), { message: 'node-forge cannot do S2: node-forge has no P-256' })
  const { mlkem768: _mlkem, ...old } = node
  await t.rejects(make('S3', old), { message: 'node:crypto cannot do S3: node:crypto has no ML-KEM-768' })
  const refuse = () => Promise.reject(new Error('Unrecognized algorithm name'))
  const aged = { ...web, x25519: { ...web.x25519!, generate: refuse } }
  await t.rejects(make('S1', aged), { message: 'WebCrypto cannot do S1: Unrecognized algorithm name' })
})

t.test('nothing that is sent or said holds a key, a licence or a digest in the clear', async (t) => {
  const server = new ScriptedServer('S1')
  server.answer = (asked) => ({ ...allow(), data: { valid: true, lease: leaseFor(asked) } })
  const { client } = await connect(server)
  await client.check(request)
  const all = JSON.stringify(server.sent)
  const digests = Object.values(request.hwid.c).flat()
  for (const secret of [request.licence, ...digests, raw.disk, raw.mac[0]]) t.notMatch(all, secret)
  t.equal(server.sent[0]?.authorization, null)
})
