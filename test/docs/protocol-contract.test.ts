import t from 'tap'
import { isEnrollable, match } from '../../src/domain/matching.ts'
import { TEXTS } from '../../src/domain/sealed/texts.ts'
import { COMPONENT_TYPES, isCheckData, isLogData, MAX_SEQ, PLAIN_ERRORS } from '../../src/wire/sealed.ts'
import { freshConfig } from '../support/databases.ts'
import { ACTOR, openBench } from '../support/legacy.ts'
import { bare, blocks, page, prose, rows, section } from '../support/protocol-page.ts'
import { checkData, injecting, OTHER_MACHINE, openSession, pinOf } from '../support/sealed.ts'

const NOW = Date.UTC(2026, 5, 1, 12)
const examples = blocks('json').map((text) => JSON.parse(text))

const bench = await openBench(t, freshConfig(t), NOW)
await bench.app.products.create(ACTOR, 'demo', 'Demo')
const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null }
const { key } = await bench.app.licences.create(ACTOR, wish)
const post = injecting(bench)
const begin = () => openSession(post, pinOf(bench.app))

t.test('a check as the page shows it is taken, and answered with the members that it shows', async (t) => {
  t.ok(isCheckData(examples.find(({ licence }) => licence)))
  const session = await begin()
  const { status, code, data } = await session.call('licence.check', checkData(key))
  const shown = examples.find(({ valid }) => valid)
  t.match({ status, code }, { status: 200, code: 'ok' })
  t.same(Object.keys(data), Object.keys(shown))
  t.same(Object.keys(data.variables as object), Object.keys(shown.variables))
  t.same(Object.keys(data.device as object), Object.keys(shown.device))
  const [, payload = ''] = String(data.lease).split('.')
  const claims = Object.keys(JSON.parse(Buffer.from(payload, 'base64url').toString()))
  const explained = rows(/^`/, section('### 10.1 Is it genuine, and for this tool and machine?'))
  t.same(claims.sort(), explained.flatMap(([cell]) => bare(cell).split(' ')).sort())
})

t.test('a refusal has a code of the page, and the members that it names', async (t) => {
  const denials = rows(/^`(licence|device|seat)_\w+`$/).map(([cell]) => bare(cell))
  t.same([...denials, 'ok'].sort(), Object.keys(TEXTS).sort())
  const session = await begin()
  const { status, data } = await session.call('licence.check', checkData('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'))
  t.equal(status, 403)
  const [, shown = ''] = /`status` is 403 and `data` is `(\{.*?\})`/.exec(prose) ?? []
  t.same(Object.keys(data), Object.keys(JSON.parse(shown)))
})

t.test('a seat and the want of one are told with the members that the page names', async (t) => {
  const seats = section('### Seats')
  const [told, refused] = examples.filter((example) => 'seat' in example || 'seats' in example)
  await bench.app.products.update(ACTOR, 'demo', { atSeatLimit: 'kick' })
  const { key: counting, licence } = await bench.app.licences.create(ACTOR, { ...wish, seats: 1 })
  const [first, second] = [await begin(), await begin()]
  const { data } = await first.call('licence.check', checkData(counting))
  t.same(Object.keys(data.seat as object), ['seats', 'lapses_in_s'])
  t.same((await first.call('ping', {})).data, { seat: data.seat })
  t.match(await second.call('licence.check', checkData(counting, OTHER_MACHINE)), { code: 'ok' })
  const lost = await first.call('ping', {})
  t.same(Object.keys(lost.data), Object.keys(refused))
  t.match(lost, { status: 403, code: 'seat_limit', data: { kicked: true } })
  await bench.app.products.update(ACTOR, 'demo', { atSeatLimit: 'ask' })
  const asking = await first.call('licence.check', checkData(counting))
  t.equal(asking.data.retry_in, 15)
  t.match(seats, '15 seconds')
  const { data: asked } = await second.call('ping', {})
  t.same(Object.keys(asked.seat as object), Object.keys(told.seat))
  for (const member of [...Object.keys(told.seat), 'retry_in', 'kicked']) t.match(seats, `| \`${member}\` |`)
  t.match(await second.call('ping', { keep: true }), { code: 'ok' })
  t.equal((await bench.app.seats.taken(licence.id)).length, 1)
})

t.test('every operation of the page is served', async (t) => {
  const session = await begin()
  const named = rows(/^`(ping|[a-z]+\.[a-z]+)`$/, section('### The others')).map(([cell]) => bare(cell))
  t.same(named, ['lease.issue', 'ping', 'log.push', 'session.close'])
  const { data } = await session.call('lease.issue', checkData(key))
  t.same(Object.keys(data), ['lease'])
  for (const level of ['debug', 'info', 'warn', 'error']) {
    t.ok(isLogData({ level, text: 'x' }), level)
    t.same((await session.call('log.push', { level, text: 'x' })).data, {})
  }
  t.notOk(isLogData({ level: 'fatal', text: 'x' }))
  for (const op of ['ping', 'session.close']) t.match(await session.call(op, {}), { status: 200, data: {} })
})

t.test('every sealed error of the page comes with its status', async (t) => {
  const session = await begin()
  const answers = [
    await session.call('ping', { some: 'thing' }),
    await session.call('no.such', {}),
    await session.call('ping', {}, { as: 1 }),
  ]
  while (answers.at(-1)?.status !== 429) answers.push(await session.call('ping', {}))
  t.match(answers.at(-1)?.data, { retry_in: Number })
  const over = await begin()
  await over.call('session.close', {})
  answers.push(await over.call('licence.check', checkData(key)))
  const came = answers.filter(({ status }) => status !== 200).map(({ status, code }) => `${status} ${code}`)
  const shown = rows(/^[45]\d\d$/, section('## 8. Errors'))
    .filter(([, code]) => /^`[a-z_]+`$/.test(code ?? ''))
    .map(([status, code]) => `${status} ${bare(code)}`)
  t.same([...new Set(came), '500 internal'].sort(), shown.sort())
})

t.test('every plain error of the page has its status and its body, and there is no other', async (t) => {
  const shown = rows(/^[45]\d\d$/, section('## 8. Errors'))
    .filter(([, body]) => body?.startsWith('`{'))
    .map(([status, body]) => `${status} ${bare(body)}`)
  const plain = Object.entries(PLAIN_ERRORS).map(([error, status]) => `${status} {"v":1,"error":"${error}"}`)
  t.same(shown.sort(), plain.sort())
  for (const [path, body] of [
    ['/v1/session', '{}'],
    ['/v1/session', 'x'.repeat(8 * 1024 + 1)],
    ['/v1/call', 'x'.repeat(16 * 1024 + 1)],
  ] as const) {
    const { status, text } = await post(path, body)
    t.ok(shown.includes(`${status} ${text}`), `${status} ${text}`)
    if (body !== '{}') t.equal(status, 413)
  }
  t.match(page, `| \`max_seq\` | ${MAX_SEQ.toLocaleString('en')} requests a session |`)
})

t.test('every component type of the page has its weight, and no other is taken', async (t) => {
  const shown = rows(/^`[a-z]+`$/, section('## 11. Hardware'))
  t.same(
    shown.map(([type]) => bare(type)),
    COMPONENT_TYPES,
  )
  for (const [type = '', , weight, anchor] of shown) {
    const one = new Map([[bare(type), ['v']]])
    t.match(match(one, one), { have: Number(weight), anchor: anchor === 'yes' }, type)
  }
  const parts = (...types: string[]) => new Map(types.map((type) => [type, ['v']]))
  t.match(prose, 'at least 3 components of weight 7 together, one of them an anchor')
  t.ok(isEnrollable(parts('board', 'mac', 'osid')), '3 components of weight 7')
  t.notOk(isEnrollable(parts('tpm', 'board')), '2 components')
  t.notOk(isEnrollable(parts('board', 'osid', 'cpu')), 'weight 6')
})
