import t from 'tap'
import { addressKey, subnetKey } from '../../src/domain/addresses.ts'
import { DATABASES, freshConfig } from '../support/databases.ts'
import { ACTOR, handOut, openBench, postCheck, runProgram } from '../support/legacy.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

t.test('an address is one customer: IPv6 by /64, mapped IPv4 as IPv4', async (t) => {
  t.equal(addressKey('::ffff:192.0.2.1'), '192.0.2.1')
  t.equal(addressKey('2001:DB8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  t.equal(addressKey('2001:db8:1:2::9'), '2001:db8:1:2::/64')
  t.equal(addressKey('2001:db8::1'), '2001:db8:0:0::/64')
  t.equal(addressKey('::1'), '0:0:0:0::/64')
  t.equal(subnetKey('192.0.2.77'), '192.0.2.0/24')
  t.equal(subnetKey('2001:db8:1:2::9'), '2001:db8:1::/48')
})

t.test('the hand-out takes twenty a minute from an address, and then says so in the old words', async (t) => {
  const bench = await openBench(t, freshConfig(t))
  const ask = (remoteAddress: string) =>
    bench.server.inject({ url: '/api/auth/get-session-key', remoteAddress })
  for (let i = 1; i <= 20; i++) t.equal((await ask(`2001:db8:1:2::${i}`)).statusCode, 200)
  const refused = await ask('2001:db8:1:2:ffff::1')
  t.equal(refused.statusCode, 429, 'the same /64')
  t.equal(refused.body, '{"error":"Too many requests","retry_after":60}')
  t.equal(refused.headers['retry-after'], '60')
  t.ok(refused.headers['x-support-code'])
  t.equal((await ask('2001:db8:1:3::1')).statusCode, 200, 'the next /64')
  bench.clock.advance(MINUTE_MS)
  t.equal((await ask('2001:db8:1:2::1')).statusCode, 200, 'a minute later')
})

t.test('a network takes six hundred hand-outs a minute', async (t) => {
  const bench = await openBench(t, freshConfig(t))
  const ask = (i: number) =>
    bench.server.inject({ url: '/api/auth/get-session-key', remoteAddress: `192.0.2.${i % 200}` })
  const replies = await Promise.all(Array.from({ length: 610 }, (_, i) => ask(i)))
  t.equal(replies.filter(({ statusCode }) => statusCode === 200).length, 600)
})

t.test('the check takes ten a minute from an address, and then says so in the old words', async (t) => {
  const bench = await openBench(t, freshConfig(t))
  const { token } = await handOut(bench)
  for (let i = 0; i < 10; i++) t.equal((await postCheck(bench, token, { hwid: 'zz' })).statusCode, 200)
  const refused = await postCheck(bench, token, { hwid: 'zz' })
  t.equal(refused.statusCode, 429)
  t.equal(refused.body, '{"status":"error","message":"Too many requests.","retry_after":60}')
})

t.test('thirty refused tokens a minute are enough, and a good one still passes', async (t) => {
  const bench = await openBench(t, freshConfig(t))
  const operator = await bench.app.tokens.create(ACTOR, 'console', null)
  const ask = (token: string) =>
    bench.server.inject({ url: '/api/admin/events', headers: { authorization: `Bearer ${token}` } })
  for (let i = 0; i < 30; i++) t.equal((await ask('guess')).statusCode, 401)
  const refused = await ask('guess')
  t.equal(refused.statusCode, 429)
  t.match(refused.json(), { status: 'error', code: 'too_many_requests' })
  t.equal((await ask(operator.token)).statusCode, 200)
})

t.test('RATE_LIMIT_PER_MINUTE replaces the limits by the minute, and 0 switches all off', async (t) => {
  const three = await openBench(t, freshConfig(t, { RATE_LIMIT_PER_MINUTE: '3' }))
  const off = await openBench(t, freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0' }))
  const statuses = async ({ server }: typeof off) => {
    const replies = []
    for (let i = 0; i < 40; i++) replies.push((await server.inject('/api/auth/get-session-key')).statusCode)
    return replies.filter((status) => status === 200).length
  }
  t.equal(await statuses(three), 3)
  t.equal(await statuses(off), 40)
  for (let i = 0; i < 40; i++) await runProgram(off, `unknown${i}`)
  t.equal((await runProgram(off, 'again')).statusCode, 200, 'no block either')
})

for (const { name, freshConfig } of DATABASES) {
  t.test(`${name}: who asks for six unknown machines is blocked for an hour, on every process`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, { RATE_LIMIT_PER_MINUTE: '1000' }))
    const nat = '192.0.2.10'
    await bench.app.products.create(ACTOR, 'demo', 'Demo')
    const wish = { productCode: 'demo', customer: 'A', expiresAtMs: null }
    const enrolled = await bench.app.licences.create(ACTOR, { ...wish, hwid: 'enrolled' })
    const fresh = await bench.app.licences.create(ACTOR, wish)
    for (let i = 0; i < 6; i++)
      t.match((await runProgram(bench, `guess${i}`, undefined, nat)).json(), { code: 'NOT_FOUND' })
    const refused = await runProgram(bench, 'guess7', undefined, nat)
    t.equal(refused.statusCode, 429)
    t.equal(refused.body, '{"status":"error","message":"Too many requests.","retry_after":60}')
    t.equal((await runProgram(bench, 'new', fresh.key, nat)).statusCode, 429, 'a machine not yet enrolled')
    await bench.app.licences.renew(ACTOR, fresh.licence.id, bench.clock())
    t.equal((await runProgram(bench, 'new', fresh.key, nat)).statusCode, 429, 'nor that its licence expired')
    await bench.app.licences.renew(ACTOR, fresh.licence.id, null)
    t.match(
      (await runProgram(bench, 'enrolled', undefined, nat)).json(),
      { status: 'success' },
      'an enrolled machine',
    )
    t.match((await runProgram(bench, 'enrolled', enrolled.key, nat)).json(), { status: 'success' })
    t.match(
      (await runProgram(bench, 'new', fresh.key, '192.0.2.11')).json(),
      { status: 'success' },
      'next door',
    )
    await bench.app.licences.suspend(ACTOR, fresh.licence.id, null)
    t.equal(
      (await runProgram(bench, 'new', undefined, nat)).statusCode,
      429,
      'a suspended licence looks no different',
    )
    const sibling = await openBench(t, bench.config, bench.clock())
    t.equal((await runProgram(sibling, 'guess8', undefined, nat)).statusCode, 429, 'another process')
    bench.clock.advance(HOUR_MS)
    t.match(
      (await runProgram(bench, 'guess9', undefined, nat)).json(),
      { code: 'NOT_FOUND' },
      'an hour later',
    )
    const [blocked] = await bench.app.events.list({ type: 'address_blocked', limit: 5 })
    t.match(blocked, { address: nat })
  })
}

t.test('a proxy that forwards ports, brackets or nonsense opens no way around a limit', async (t) => {
  const config = freshConfig(t, { TRUST_PROXY: '127.0.0.1', RATE_LIMIT_PER_MINUTE: '5' })
  const bench = await openBench(t, config)
  const ask = (forwarded: string) =>
    bench.server.inject({ url: '/api/auth/get-session-key', headers: { 'x-forwarded-for': forwarded } })
  const kinds: [who: string, spelling: (i: number) => string][] = [
    ['203.0.113.5', (i) => `203.0.113.5:${4000 + i}`],
    ['2001:db8::5', (i) => `[2001:db8::5]:${4000 + i}`],
    ['unknown', (i) => `\u00fc${i}`],
  ]
  for (const [who, spelling] of kinds) {
    const replies = await Promise.all(Array.from({ length: 8 }, (_, i) => ask(spelling(i))))
    t.equal(replies.filter(({ statusCode }) => statusCode === 200).length, 5, who)
    const [first] = replies
    const payload = first?.json().session_token.split('.')[1]
    t.equal(JSON.parse(Buffer.from(payload, 'base64url').toString()).ip, who)
  }
})
