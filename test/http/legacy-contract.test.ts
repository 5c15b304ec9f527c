import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { PRODUCTS_KNOWN_FOR_MS } from '../../src/domain/products.ts'
import { DATABASES } from '../support/databases.ts'
import { ACTOR, claimsOf, encrypt, handOut, openBench, postCheck, runProgram } from '../support/legacy.ts'

const HWID = '1234567890'
// Of a time to come, so that the database's own clean-up leaves these sessions alone.
const NOW = Date.UTC(2031, 10, 21, 12, 0, 0)
const DAY_MS = 86_400_000
const EXPIRED = '{"status":"error","message":"License expired.","code":"EXPIRED"}'
const NOT_FOUND = '{"status":"error","message":"Access denied (HWID Not Found).","code":"NOT_FOUND"}'
const SESSION_EXPIRED = '{"status":"error","message":"Session expired."}'
const UNREADABLE = '{"status":"error","message":"Security verification failed."}'
const AUTH_REQUIRED = '{"status":"error","message":"Authentication required."}'
const INVALID_SESSION = '{"status":"error","message":"Invalid or expired session."}'
const MALFORMED = '{"status":"error","message":"Invalid request format."}'
const NO_LIMITS = { RATE_LIMIT_PER_MINUTE: '0' }

for (const { name, freshConfig } of DATABASES) {
  t.test(name, async (t) => {
    t.test(
      'the hand-out answers both spellings, GET and POST, any content type, to the letter',
      async (t) => {
        const bench = await openBench(
          t,
          await freshConfig(t, { ...NO_LIMITS, JWT_SECRET: 's'.repeat(40) }),
          NOW,
        )
        const urls = ['/api/auth/get-session-key', '/api/auth/get-session-key.php']
        const types = [
          undefined,
          'application/json',
          'application/x-www-form-urlencoded',
          'text/plain',
          'no/such/type',
        ]
        for (const method of ['GET', 'POST'] as const)
          for (const url of urls)
            for (const type of types) {
              const headers = type === undefined ? {} : { 'content-type': type }
              const reply = await bench.server.inject({
                method,
                url,
                headers,
                remoteAddress: '::ffff:203.0.113.9',
              })
              const token: string = reply.json().session_token
              t.equal(
                reply.body,
                `{"status":"success","session_token":"${token}","expires_in":300,"message":"Session key generated successfully"}`,
                `${method} ${url} ${type}`,
              )
              t.equal(reply.statusCode, 200)
              t.equal(reply.headers['cache-control'], 'no-store')
              t.match(reply.headers['x-support-code'], /^[0-9A-Z]{5}-[0-9A-Z]{5}$/)
              const [header = '', payload = '', signature] = token.split('.')
              t.same(JSON.parse(Buffer.from(header, 'base64url').toString()), { typ: 'JWT', alg: 'HS256' })
              const claims = claimsOf(token)
              t.same(Object.keys(claims), ['session_id', 'key', 'iv', 'ip', 'purpose', 'iat', 'exp', 'jti'])
              t.match(claims, {
                session_id: /^[0-9a-f]{44}$/,
                key: /^[0-9a-f]{64}$/,
                iv: /^[0-9a-f]{32}$/,
                ip: '203.0.113.9',
                purpose: 'hwid_encryption',
                iat: NOW / 1000,
                exp: NOW / 1000 + 300,
                jti: /^[0-9a-f]{32}$/,
              })
              const mac = createHmac('sha256', 's'.repeat(40))
                .update(`${header}.${payload}`)
                .digest('base64url')
              t.equal(signature, mac, 'signed with the old secret')
            }
      },
    )

    t.test(
      'a body of the hand-out is ignored unless it names a suite, which is never answered in the clear',
      async (t) => {
        const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
        const post = (payload: string) =>
          bench.server.inject({ method: 'POST', url: '/api/auth/get-session-key', payload })
        for (const body of ['{', 'null', '[]', '{"app":"x"}', 'a=b&suite=S1', '\u0000\u0001'])
          t.equal((await post(body)).statusCode, 200, JSON.stringify(body))
        for (const [body, error] of [
          ['{"suite":"S1"}', 'request'],
          ['{"v":1,"suite":"S9","kid":"0123456789abcdef","pub":"","ext":""}', 'kex'],
          ['{"v":1,"suite":"S1","kid":"0123456789abcdef","pub":"","ext":""}', 'kex'],
        ] as const) {
          const refused = await post(body)
          t.equal(refused.statusCode, 400)
          t.equal(refused.body, `{"success":false,"v":1,"error":"${error}"}`)
        }
      },
    )

    t.test(
      'a known machine is granted, with the texts of its licence over those of the product',
      async (t) => {
        const bench = await openBench(
          t,
          await freshConfig(t, { ...NO_LIMITS, LEGACY_TIME_ZONE: 'Asia/Jakarta' }),
          NOW,
        )
        const texts = { sk: 'SK', sck: 'SCK', maintenance: 'no', status1Text: 'hello' }
        await bench.app.products.create(ACTOR, 'demo', 'Demo', texts)
        const expiresAtMs = Date.UTC(2031, 11, 24, 18, 30, 5)
        const wish = { productCode: 'demo', customer: 'Budi "B" Ké', expiresAtMs, hwid: HWID, sck: 'own' }
        const { licence } = await bench.app.licences.create(ACTOR, wish)
        const granted =
          '{"status":"success","message":"Access granted","expiry_date":"2031-12-25 01:30:05","days_remaining":33,' +
          '"user":"Budi \\"B\\" Ké","sk":"SK","sck":"own","maintenance":"no","status1_text":"hello"}'
        const { token, claims } = await handOut(bench)
        const body = { hwid: encrypt(claims, HWID), version: '1.2', extra: [1] }
        for (const url of ['/api/1.php', '/api/licence/check'])
          for (const headers of [
            { authorization: `Bearer ${token}` },
            { authorization: `bearer ${token}`, 'content-type': 'text/html' },
            { 'x-session-token': token },
          ]) {
            const reply = await bench.server.inject({
              method: 'POST',
              url,
              headers,
              payload: JSON.stringify(body),
            })
            t.equal(reply.statusCode, 200)
            t.equal(reply.body, granted, 'checking again within the five minutes is fine')
            t.equal(reply.headers['cache-control'], 'no-store')
            t.match(reply.headers['content-type'], 'application/json')
            const code = String(reply.headers['x-support-code'])
            const [event] = await bench.app.events.list({ supportCode: code, limit: 2 })
            t.match(event, { type: 'licence_check_allowed', licenceId: licence.id, count: 1 })
          }
        t.equal(
          (await runProgram(bench, ` ${HWID.slice(0, 4)}-${HWID.slice(4)}\n`)).body,
          granted,
          'letters and digits only',
        )
        t.equal(
          (await postCheck(bench, token, { hwid: body.hwid.toUpperCase() })).body,
          granted,
          'upper-case hex',
        )
        await bench.app.products.update(ACTOR, 'demo', { maintenance: 'yes' })
        t.equal((await runProgram(bench, HWID)).json().maintenance, 'yes', 'counts from the next check')
      },
    )

    t.test(
      'a perpetual licence says 9999-12-31 23:59:59, and days are whole days rounded down',
      async (t) => {
        const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
        await bench.app.products.create(ACTOR, 'demo', 'Demo')
        const create = (expiresAtMs: number | null, hwid: string) =>
          bench.app.licences.create(ACTOR, { productCode: 'demo', customer: 'A', expiresAtMs, hwid })
        await create(null, 'forever')
        await create(NOW + DAY_MS - 1000, 'nearly')
        await create(NOW + DAY_MS, 'exactly')
        const of = async (hwid: string) => (await runProgram(bench, hwid)).json()
        t.match(await of('forever'), { expiry_date: '9999-12-31 23:59:59', days_remaining: 2910292 })
        t.match(await of('nearly'), { expiry_date: '2031-11-22 11:59:59', days_remaining: 0 })
        t.match(await of('exactly'), { expiry_date: '2031-11-22 12:00:00', days_remaining: 1 })
      },
    )

    t.test('expired, unknown, suspended and revoked each get the old words', async (t) => {
      const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
      t.equal((await runProgram(bench, HWID)).body, NOT_FOUND, 'no product yet')
      await bench.app.products.create(ACTOR, 'demo', 'Demo')
      t.equal((await runProgram(bench, HWID)).body, NOT_FOUND, 'no licence yet')
      t.equal((await runProgram(bench, '-- --')).body, NOT_FOUND, 'no letter or digit')
      const wish = { productCode: 'demo', customer: 'A', expiresAtMs: NOW + DAY_MS, hwid: HWID }
      const { licence } = await bench.app.licences.create(ACTOR, wish)
      t.match((await runProgram(bench, HWID)).json(), { status: 'success' })
      bench.clock.advance(DAY_MS)
      t.equal((await runProgram(bench, HWID)).body, EXPIRED)
      await bench.app.licences.renew(ACTOR, licence.id, null)
      t.match((await runProgram(bench, HWID)).json(), { status: 'success' })
      await bench.app.licences.suspend(ACTOR, licence.id, 'unpaid')
      t.equal((await runProgram(bench, HWID)).body, NOT_FOUND)
      await bench.app.licences.resume(ACTOR, licence.id)
      t.match((await runProgram(bench, HWID)).json(), { status: 'success' })
      await bench.app.licences.revoke(ACTOR, licence.id, null)
      t.equal((await runProgram(bench, HWID)).body, NOT_FOUND)
    })

    t.test('a licence key selects alone: it enrols the first machine, and refuses every other', async (t) => {
      const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
      await bench.app.products.create(ACTOR, 'demo', 'Demo')
      const wish = { productCode: 'demo', customer: 'A', expiresAtMs: null }
      const { key } = await bench.app.licences.create(ACTOR, wish)
      const other = await bench.app.licences.create(ACTOR, { ...wish, hwid: 'other' })
      t.equal((await runProgram(bench, HWID)).body, NOT_FOUND, 'not enrolled yet')
      t.match((await runProgram(bench, HWID, key.toLowerCase().replaceAll('-', ' '))).json(), {
        status: 'success',
      })
      t.match(
        (await runProgram(bench, HWID)).json(),
        { status: 'success' },
        'known from now on, without the key',
      )
      t.equal((await runProgram(bench, 'third', key)).body, NOT_FOUND)
      t.equal((await runProgram(bench, 'other', key)).body, NOT_FOUND, 'even one that another licence knows')
      t.equal((await runProgram(bench, HWID, other.key)).body, NOT_FOUND)
      const wrongDigit = key.slice(0, -1) + (key.endsWith('0') ? '1' : '0')
      t.equal((await runProgram(bench, HWID, wrongDigit)).body, NOT_FOUND, 'wrong check digit')
      t.match((await runProgram(bench, HWID, ' ')).json(), { status: 'success' }, 'an empty member is no key')
    })

    t.test('missing and bad tokens are 401, each with its words', async (t) => {
      const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
      const { token, claims } = await handOut(bench)
      const [header, payload, signature = ''] = token.split('.')
      const bare = await bench.server.inject({ method: 'POST', url: '/api/1.php', payload: '{}' })
      t.equal(bare.statusCode, 401)
      t.equal(bare.body, AUTH_REQUIRED)
      t.match(bare.headers['x-support-code'], /^[0-9A-Z]{5}-[0-9A-Z]{5}$/)
      const forged = Buffer.from(JSON.stringify({ ...claims, exp: claims.exp + 1 })).toString('base64url')
      const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
      for (const bad of [
        'x',
        'a.b.c',
        `${header}.${payload}.${signature.slice(0, -2)}AA`,
        `${header}.${forged}.${signature}`,
        `${none}.${payload}.`,
        `${header}.${payload}.`,
        `${token}.x`,
      ]) {
        const reply = await postCheck(bench, bad, { hwid: 'ab' })
        t.equal(reply.statusCode, 401, bad.slice(0, 12))
        t.equal(reply.body, INVALID_SESSION)
      }
      const signed = (change: object) => {
        const body = Buffer.from(JSON.stringify({ ...claims, ...change })).toString('base64url')
        const [secret] = bench.app.legacySecrets()
        const tag = createHmac('sha256', secret).update(`${header}.${body}`).digest('base64url')
        return `${header}.${body}.${tag}`
      }
      const sealed = { hwid: encrypt(claims, HWID) }
      t.equal((await postCheck(bench, signed({}), sealed)).statusCode, 200, 'one that we could have signed')
      for (const change of [
        { key: undefined },
        { key: claims.key.slice(2) },
        { key: `${claims.key.slice(2)}zz` },
        { iv: undefined },
        { iv: 16 },
        { iv: claims.iv.slice(2) },
        { session_id: 1 },
        { purpose: 'else' },
        { exp: String(claims.exp) },
      ]) {
        const reply = await postCheck(bench, signed(change), sealed)
        t.equal(reply.statusCode, 401, JSON.stringify(change))
        t.equal(reply.body, INVALID_SESSION)
      }
      bench.clock.advance(300_000)
      const late = await postCheck(bench, token, { hwid: encrypt(claims, HWID) })
      t.equal(late.statusCode, 401, 'exp')
      t.equal(late.body, INVALID_SESSION)
    })

    t.test('a valid token whose row is gone, ended or expired says so with 200', async (t) => {
      const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
      const { token, claims } = await handOut(bench)
      const removed = await bench.app.cleanup.run()
      t.equal(removed, 0, 'a living row stays')
      const twin = await openBench(t, { ...bench.config, sessionKeyTtlS: 300 }, NOW + 400_000)
      t.equal(await twin.app.cleanup.run(), 1, 'another process, further on in time, removed it')
      const gone = await postCheck(bench, token, { hwid: encrypt(claims, HWID) })
      t.equal(gone.statusCode, 200)
      t.equal(gone.body, SESSION_EXPIRED)
    })

    t.test(
      'every cause of a failed open has one answer, and after sixteen the session is over',
      async (t) => {
        const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
        await bench.app.products.create(ACTOR, 'demo', 'Demo')
        const { token, claims } = await handOut(bench)
        const good = encrypt(claims, HWID)
        const badPadding = encrypt(claims, 'no padding byte', 0)
        const bad = [
          '',
          'zz',
          'a',
          good.slice(0, -2),
          good.slice(2),
          badPadding,
          `${good} `,
          `0x${good}`,
          encrypt(claims, 'other padding..', 17),
        ]
        for (const hwid of [...bad, ...bad].slice(0, 15)) {
          const reply = await postCheck(bench, token, { hwid })
          t.equal(reply.statusCode, 200)
          t.equal(reply.body, UNREADABLE, JSON.stringify(hwid.slice(0, 8)))
        }
        t.equal(
          (await postCheck(bench, token, { hwid: good })).body,
          NOT_FOUND,
          'the fifteenth does not end it',
        )
        t.equal((await postCheck(bench, token, { hwid: 'zz' })).body, UNREADABLE, 'the sixteenth')
        t.equal((await postCheck(bench, token, { hwid: good })).body, SESSION_EXPIRED)
        t.equal((await postCheck(bench, token, { hwid: 'zz' })).body, SESSION_EXPIRED)
      },
    )

    t.test('a body without a string hwid is 400, whatever its content type', async (t) => {
      const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
      const { token } = await handOut(bench)
      for (const body of [
        '',
        '{',
        'null',
        '[]',
        '"x"',
        '1',
        '{}',
        '{"hwid":1}',
        '{"hwid":null}',
        '{"HWID":"ab"}',
        'hwid=ab',
        '{"hwid":"ab","licence":7}',
      ]) {
        const reply = await postCheck(bench, token, body)
        t.equal(reply.statusCode, 400, body)
        t.equal(reply.body, MALFORMED)
      }
      const get = await bench.server.inject({
        url: '/api/1.php',
        headers: { authorization: `Bearer ${token}` },
      })
      t.equal(get.body, MALFORMED, 'GET has no body')
    })

    t.test(
      'LEGACY_PRODUCT says whose customers these are; several products without it refuse and say why',
      async (t) => {
        const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
        await bench.app.products.create(ACTOR, 'one', 'One')
        await bench.app.products.create(ACTOR, 'two', 'Two')
        await bench.app.licences.create(ACTOR, {
          productCode: 'two',
          customer: 'A',
          expiresAtMs: null,
          hwid: HWID,
        })
        const refused = await bench.server.inject('/api/auth/get-session-key')
        t.equal(refused.statusCode, 503)
        t.match(refused.json(), { status: 'error', code: 'legacy_product_unset', message: /LEGACY_PRODUCT/ })
        const granted = async (legacyProduct: string) => {
          const configured = await openBench(t, { ...bench.config, legacyProduct }, NOW)
          return (await runProgram(configured, HWID)).json().status
        }
        t.equal(await granted('two'), 'success')
        t.equal(await granted('one'), 'error', 'a machine is known to its own product only')
        await t.rejects(granted('three'), /503/)
        const off = await openBench(t, { ...bench.config, legacyProduct: 'two' }, NOW)
        const { token, claims } = await handOut(off)
        await bench.app.products.update(ACTOR, 'two', { legacyEnabled: false })
        await sleep(PRODUCTS_KNOWN_FOR_MS)
        for (const reply of [
          await off.server.inject('/api/auth/get-session-key'),
          await postCheck(off, token, { hwid: encrypt(claims, HWID) }),
        ]) {
          t.equal(reply.statusCode, 503)
          t.match(reply.json(), { code: 'legacy_disabled' })
        }
      },
    )

    t.test(
      'a product that binds addresses takes a key from the address it was handed to, and no other',
      async (t) => {
        const bench = await openBench(t, await freshConfig(t, NO_LIMITS), NOW)
        await bench.app.products.create(ACTOR, 'demo', 'Demo', { bindAddress: true })
        await bench.app.licences.create(ACTOR, {
          productCode: 'demo',
          customer: 'A',
          expiresAtMs: null,
          hwid: HWID,
        })
        const { token, claims } = await handOut(bench, '192.0.2.1')
        const body = { hwid: encrypt(claims, HWID) }
        t.equal((await postCheck(bench, token, body, '192.0.2.2')).body, SESSION_EXPIRED)
        t.match((await postCheck(bench, token, body, '192.0.2.1')).json(), { status: 'success' })
        await bench.app.products.update(ACTOR, 'demo', { bindAddress: false })
        t.match((await postCheck(bench, token, body, '192.0.2.2')).json(), { status: 'success' })
      },
    )

    t.test('LEGACY_SINGLE_USE lets a key be used for one granted check only', async (t) => {
      const bench = await openBench(t, await freshConfig(t, { ...NO_LIMITS, LEGACY_SINGLE_USE: 'true' }), NOW)
      await bench.app.products.create(ACTOR, 'demo', 'Demo')
      await bench.app.licences.create(ACTOR, {
        productCode: 'demo',
        customer: 'A',
        expiresAtMs: null,
        hwid: HWID,
      })
      const { token, claims } = await handOut(bench)
      t.equal((await postCheck(bench, token, { hwid: encrypt(claims, 'nobody') })).body, NOT_FOUND)
      const body = { hwid: encrypt(claims, HWID) }
      t.match((await postCheck(bench, token, body)).json(), { status: 'success' })
      t.equal((await postCheck(bench, token, body)).body, SESSION_EXPIRED)
    })
  })
}
