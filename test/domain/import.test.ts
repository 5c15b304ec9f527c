import { createHash } from 'node:crypto'
import t from 'tap'
import { judgeCustomer } from '../../src/domain/import/customers.ts'
import { timeReader } from '../../src/domain/import/dates.ts'
import { judgeSessionKey } from '../../src/domain/import/session-keys.ts'

const JAKARTA = timeReader('Asia/Jakarta')
const BERLIN = timeReader('Europe/Berlin')
const iso = (text: string) => ({ ms: Date.parse(text) })

t.test('a time is read in the forms of the old server, and in no other', async (t) => {
  const read = (text: string | null) => JAKARTA(text, 'local')
  const good: [string, string][] = [
    ['2026-12-31', '2026-12-30T17:00:00Z'],
    ['2026-12-31 23:59:59', '2026-12-31T16:59:59Z'],
    ['2026-12-31 23:59', '2026-12-31T16:59:00Z'],
    ['2026-12-31 23:59:59.987654', '2026-12-31T16:59:59.987Z'],
    ['2026-12-31T23:59:59Z', '2026-12-31T23:59:59Z'],
    ['2026-12-31T23:59:59.5+05:30', '2026-12-31T18:29:59.5Z'],
    ['2026-12-31 23:59:59-0300', '2027-01-01T02:59:59Z'],
    ['2026-12-31 23:59:59.123+00', '2026-12-31T23:59:59.123Z'],
    ['2026-12-31 23:59:59-03', '2027-01-01T02:59:59Z'],
    ['2024-02-29', '2024-02-28T17:00:00Z'],
    [' 2026-12-31 ', '2026-12-30T17:00:00Z'],
  ]
  for (const [text, instant] of good) t.same(read(text), iso(instant), text)
  for (const text of [null, '', '  ', '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00.000000'])
    t.same(read(text), { fault: 'missing' }, String(text))
  const bad = ['31/12/2026', '12-31-2026', '2026-02-30', '2026-13-01', '2026-00-10', '2025-02-29', '2026-1-1']
  const worse = [
    '2026-12-31 24:00:00',
    '2026-12-31 23:60',
    '2026-12-31 12:00:61',
    '2026-12-31Z',
    'never',
    'NULL',
  ]
  const worst = [
    '0001-01-01',
    '2026-12-31 10:00+99:00',
    '2026-12-31 10:00+15',
    '1767225600',
    '2026-12-31 10',
    '20261231',
    '9'.repeat(1e6),
  ]
  for (const text of [...bad, ...worse, ...worst])
    t.same(read(text), { fault: 'unreadable' }, text.slice(0, 40))
})

t.test('no time lies behind the year 9999', async (t) => {
  const last = iso('9999-12-31T23:59:59.999Z')
  t.same(timeReader('America/New_York')('9999-12-31 23:59:59', 'local'), last)
  t.same(JAKARTA('9999-12-31 23:59:59-05:00', 'local'), last)
  t.same(JAKARTA('9999-12-31 23:59:59.999', 'instant'), last)
})

t.test('a local time that clocks never showed, or showed twice, is not guessed', async (t) => {
  t.same(BERLIN('2026-03-29 02:30:00', 'local'), { fault: 'nonexistent' })
  t.same(BERLIN('2026-10-25 02:30:00', 'local'), { fault: 'ambiguous' })
  t.same(BERLIN('2026-10-25 02:30:00+02:00', 'local'), iso('2026-10-25T00:30:00Z'), 'unless it says which')
  t.same(BERLIN('2026-10-25 02:30:00', 'instant'), iso('2026-10-25T02:30:00Z'))
  t.same(BERLIN('2026-03-29 01:59:59', 'local'), iso('2026-03-29T00:59:59Z'))
  t.same(BERLIN('2026-03-29 03:00:00', 'local'), iso('2026-03-29T01:00:00Z'))
  t.same(BERLIN('2026-10-25 03:00:00', 'local'), iso('2026-10-25T02:00:00Z'))
  t.same(
    timeReader('Pacific/Apia')('2011-12-30', 'local'),
    { fault: 'nonexistent' },
    'a whole day that was left out',
  )
  t.same(timeReader('America/Sao_Paulo')('2017-10-15', 'local'), { fault: 'nonexistent' }, 'a midnight')
})

t.test('a whole number is seconds, and only where that can be', async (t) => {
  const read = (text: string) => JAKARTA(text, 'unix')
  t.same(read('1767225600'), iso('2026-01-01T00:00:00Z'))
  t.same(read('0'), { fault: 'missing' })
  for (const text of ['1767225600000', '20261231', '-5', '1e9'])
    t.same(read(text), { fault: 'unreadable' }, text)
})

t.test('a session key whose times cannot be is left behind', async (t) => {
  const nowMs = Date.parse('2026-06-01T00:00:00Z')
  const rules = { times: {}, readTime: timeReader('UTC'), nowMs }
  const [session_key, session_iv] = ['ab'.repeat(32), 'cd'.repeat(16)]
  const judge = (created_at: string, expires_at: string) => {
    const cells = { session_id: 'a', session_key, session_iv, client_ip: '::1', created_at, expires_at }
    return judgeSessionKey({ row: 7, cells }, rules)
  }
  for (const [created, expires] of [
    ['2026-05-31 23:59:00', '2026-06-01 00:04:00'],
    ['2026-06-01 00:01:00', '2026-06-02 00:00:00'],
  ] as const)
    t.match(judge(created, expires), { createdAtMs: Date.parse(`${created}Z`) })
  for (const [created, expires] of [
    ['2026-05-31 23:59:00', '9999-12-31 23:59:59'],
    ['2026-05-31 23:59:00', '2026-06-02 00:00:01'],
    ['2026-06-01 00:01:01', '2026-06-01 00:05:00'],
    ['2026-06-01 00:00:30', '2026-06-01 00:00:30'],
  ] as const)
    t.match(judge(created, expires), {
      ...{ finding: 'session_key_unfit', row: 7, hash: 'a', detail: /is --time-zone that of session_keys/ },
    })
})

t.test('of a hash that is none no character is repeated', async (t) => {
  const serial = 'WD-WX11A1234567'
  const half = createHash('sha256').update(serial).digest('hex').slice(0, 63)
  const rules = { times: {}, readTime: JAKARTA, undated: undefined, nowMs: Date.now() }
  const texts = { sk: null, sck: null, maintenance: null, status1_text: null, last_login: null }
  const judge = (hwid_encrypted: string | null) =>
    judgeCustomer(
      { row: 7, cells: { Nama: 'Budi', hwid_encrypted, expiry_date: '2030-01-01', ...texts } },
      rules,
    )
  for (const [hash, finding] of [
    [serial, 'hash_plain'],
    [half, 'hash_malformed'],
    [`${half}g`, 'hash_malformed'],
    [null, 'hash_missing'],
    [' ', 'hash_missing'],
  ] as const) {
    const { customer, findings } = judge(hash)
    t.same(customer, null)
    t.match(findings, [{ finding, row: 7, customer: 'Budi', hash: null }])
    if (hash?.trim()) t.notMatch(JSON.stringify(findings), hash.slice(0, 6))
  }
  t.match(judge(` ${half.toUpperCase()}A`), {
    customer: { digest: `${half}a` },
    findings: [{ finding: 'hash_normalised', hash: half.slice(0, 8) }],
  })
})
