import { type AddressInfo, connect } from 'node:net'
import type { InjectOptions } from 'fastify'
import t from 'tap'
import { ERRORS } from '../../src/errors.ts'
import { DATABASES, freshConfig } from '../support/databases.ts'
import { ACTOR, encrypt, handOut, openBench, postCheck, runProgram } from '../support/legacy.ts'

async function rawRequest(port: number, text: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connect(port, '127.0.0.1', () => socket.write(text))
  let reply = ''
  socket.setEncoding('utf8').on('data', (data) => {
    reply += data
  })
  socket.on('close', () => resolve(reply))
  return promise
}

for (const { name, freshConfig } of DATABASES) {
  t.test(
    `${name}: every refusal outside the old contract is one coded shape, and nothing is half-written`,
    async (t) => {
      const bench = await openBench(t, await freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0' }))
      const { server, app } = bench
      await app.products.create(ACTOR, 'demo', 'Demo')
      const operator = await app.tokens.create(ACTOR, 'console', null)
      const { token } = await handOut(bench)
      const admin = { authorization: `Bearer ${operator.token}` }
      const client = { authorization: `Bearer ${token}` }
      const big = 'x'.repeat(16 * 1024 + 1)
      const cases: [what: string, request: InjectOptions, code: keyof typeof ERRORS][] = [
        ['an unknown address', { url: '/nope' }, 'not_found'],
        ['an unknown method', { method: 'DELETE', url: '/api/1.php' }, 'not_found'],
        ['HEAD hands out no key', { method: 'HEAD', url: '/api/auth/get-session-key' }, 'not_found'],
        [
          'a body over 16 KiB for the hand-out',
          { method: 'POST', url: '/api/auth/get-session-key', payload: big },
          'body_too_large',
        ],
        [
          'a body over 16 KiB for the check',
          { method: 'POST', url: '/api/1.php', headers: client, payload: big },
          'body_too_large',
        ],
        ['no operator token', { url: '/api/admin/events' }, 'authentication_required'],
        ['an unknown filter', { url: '/api/admin/events?nope=1', headers: admin }, 'invalid_request'],
        ['a limit of 0', { url: '/api/admin/events?limit=0', headers: admin }, 'invalid_request'],
        [
          'a limit that is no number',
          { url: '/api/admin/events?limit=x', headers: admin },
          'invalid_request',
        ],
        [
          'a support code of another form',
          { url: "/api/admin/events?support_code='--", headers: admin },
          'invalid_request',
        ],
        ['a broken escape in the address', { url: '/api/%zz' }, 'invalid_request'],
      ]
      for (const [what, request, code] of cases) {
        const reply = await server.inject(request)
        const [status, message] = ERRORS[code]
        t.equal(reply.statusCode, status, what)
        if (request.method === 'HEAD') continue
        const { request_id, ...body } = reply.json()
        t.same(body, { status: 'error', code, message }, what)
        t.match(request_id, /^[0-9A-Z]{16}$/, what)
        t.equal(reply.headers['cache-control'], 'no-store', what)
      }
      const { licences, devices } = app
      t.same(await licences.list({ limit: 10 }), [])
      t.same(await devices.list({ limit: 10 }), [])
    },
  )

  t.test(`${name}: an operator's bad values each have their code, and leave nothing behind`, async (t) => {
    const { app } = await openBench(t, await freshConfig(t))
    const code = (code: string) => ({ code })
    for (const bad of ['', 'A', 'a b', '-a', 'a-', 'x'.repeat(33), 'ä', 'a_b'])
      await t.rejects(app.products.create(ACTOR, bad, 'X'), code('invalid_argument'), JSON.stringify(bad))
    await app.products.create(ACTOR, 'demo', 'Demo')
    await t.rejects(app.products.create(ACTOR, 'demo', 'Again'), code('product_exists'))
    await t.rejects(app.products.update(ACTOR, 'nope', {}), code('product_not_found'))
    const wish = { productCode: 'demo', customer: 'A', expiresAtMs: null }
    await t.rejects(app.licences.create(ACTOR, { ...wish, productCode: 'nope' }), code('product_not_found'))
    await t.rejects(app.licences.create(ACTOR, { ...wish, customer: ' ' }), code('invalid_argument'))
    await t.rejects(app.licences.create(ACTOR, { ...wish, hwid: '- -' }), code('invalid_argument'))
    await t.rejects(
      app.licences.create(ACTOR, { ...wish, customer: 'x'.repeat(256) }),
      code('invalid_argument'),
    )
    await t.rejects(app.licences.create(ACTOR, { ...wish, sk: 'x'.repeat(1025) }), code('invalid_argument'))
    t.same(await app.licences.list({ limit: 10 }), [])
    t.same(
      (await app.events.list({ limit: 10 })).map(({ type }) => type),
      ['product_created'],
    )
    const { licence } = await app.licences.create(ACTOR, wish)
    await t.rejects(app.licences.resume(ACTOR, licence.id), code('licence_state'))
    await t.rejects(app.licences.suspend(ACTOR, 'lic_0', null), code('licence_not_found'))
    await t.rejects(app.devices.reset(ACTOR, licence.id, 'dev_0'), code('device_not_found'))
    await t.rejects(app.tokens.revoke(ACTOR, 'tok_0'), code('token_not_found'))
    await app.licences.revoke(ACTOR, licence.id, null)
    await t.rejects(app.licences.renew(ACTOR, licence.id, null), code('licence_state'))
    await t.rejects(app.licences.suspend(ACTOR, licence.id, null), code('licence_state'))
  })

  t.test(`${name}: two changes of a product at once do not undo each other`, async (t) => {
    const { app } = await openBench(t, await freshConfig(t))
    await app.products.create(ACTOR, 'demo', 'Demo')
    await Promise.all([
      app.products.update(ACTOR, 'demo', { maintenance: 'yes' }),
      app.products.update(ACTOR, 'demo', { sk: 'NEW' }),
      app.products.update(ACTOR, 'demo', { legacyEnabled: false }),
    ])
    t.match(await app.products.find('demo'), {
      maintenance: 'yes',
      sk: 'NEW',
      legacyEnabled: false,
      name: 'Demo',
    })
  })

  t.test(`${name}: hostile texts pass through whole, and never into SQL`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0' }))
    await bench.app.products.create(ACTOR, 'demo', "D'; DROP TABLE kunci_products; --")
    const customer = `Robert'); DROP TABLE kunci_licences;-- \\' " \u{1f511} ü`
    await bench.app.licences.create(ACTOR, { productCode: 'demo', customer, expiresAtMs: null, hwid: 'x1' })
    t.equal((await runProgram(bench, 'x1')).json().user, customer)
    const { token, claims } = await handOut(bench)
    const nasty = ["' OR 1=1 --", '\u0000\u0001', 'a'.repeat(7000), '\\', '%', '_']
    for (const hwid of nasty)
      t.match((await postCheck(bench, token, { hwid: encrypt(claims, hwid) })).json(), { code: 'NOT_FOUND' })
    for (const licence of nasty)
      t.match((await postCheck(bench, token, { hwid: encrypt(claims, 'x1'), licence })).json(), {
        code: 'NOT_FOUND',
      })
  })
}

t.test('what is not HTTP gets a coded answer and a closed connection', async (t) => {
  const bench = await openBench(t, freshConfig(t, { REQUEST_TIMEOUT_MS: '500' }))
  await bench.server.listen({ port: 0, host: '127.0.0.1' })
  const { port } = bench.server.server.address() as AddressInfo
  t.match(await rawRequest(port, 'garbage\r\n\r\n'), /^HTTP\/1\.1 400 .*"code":"invalid_request"/s)
  t.match(
    await rawRequest(port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`),
    /^HTTP\/1\.1 431 .*"code":"headers_too_large"/s,
  )
  const slow = 'POST /api/1.php HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab'
  t.match(await rawRequest(port, slow), /408|^$/, 'a body that never comes is not waited for')
})
