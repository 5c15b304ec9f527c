import { Secret, TOTP } from 'otpauth'
import t, { type Test } from 'tap'
import { createLoginBackoff } from '../../src/domain/login-backoff.ts'
import { manualClock } from '../support/clock.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { sql } from '../support/installation.ts'
import { type Answer, addUser, at, login, openHouse, PASSWORD, START_MS, signIn } from '../support/users.ts'

const ANI = 'ani@example.com'
const BUDI = 'budi@example.com'
const HOME = '203.0.113.9'
const AWAY = '198.51.100.7'
const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const DAY_MS = 24 * 60 * MINUTE_MS

function backoffOf({ workers = 1, isOff = false } = {}) {
  const clock = manualClock(START_MS)
  const backoff = createLoginBackoff({ workers, isOff, clock })
  const fail = (times: number, email = ANI, address = AWAY) => {
    for (let i = 0; i < times; i++) backoff.countFailure(email, address)
  }
  return { ...backoff, clock, fail, leftMs: (email = ANI, address = AWAY) => backoff.waitMs(email, address) }
}

t.test(
  'from the fifth failure on each makes the next try wait twice as long, to a quarter of an hour',
  async (t) => {
    const { clock, countFailure, leftMs } = backoffOf()
    for (let i = 1; i <= 4; i++) t.notOk(countFailure(ANI, AWAY), `failure ${i}`)
    t.equal(leftMs(), 0)
    const waits = Array.from({ length: 14 }, () => {
      t.ok(countFailure(ANI, AWAY))
      const waitMs = leftMs()
      clock.advance(waitMs - 1)
      t.equal(leftMs(), 1, 'to the last moment')
      clock.advance(1)
      t.equal(leftMs(), 0)
      return waitMs / SECOND_MS
    })
    t.same(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900])
  },
)

t.test('it is the address that waits: nobody locks anybody out who signs in elsewhere', async (t) => {
  const { fail, leftMs } = backoffOf()
  fail(19)
  t.ok(leftMs() > 0)
  t.equal(leftMs(ANI, HOME), 0, 'the same account from elsewhere')
  t.equal(leftMs(BUDI), 0, 'another account from there')
  fail(1)
  t.equal(leftMs(BUDI), SECOND_MS, 'but not after twenty failures of an address')
  t.equal(leftMs(BUDI, HOME), 0)
})

t.test('who tries many accounts waits for all of them, whoever gets in meanwhile', async (t) => {
  const { clear, fail, leftMs } = backoffOf()
  for (let i = 0; i < 19; i++) fail(1, `nobody${i}@example.com`)
  t.equal(leftMs(), 0)
  clear(BUDI, AWAY)
  fail(1, 'nobody19@example.com')
  t.equal(leftMs(), SECOND_MS)
  clear(BUDI, AWAY)
  t.equal(leftMs(), SECOND_MS, "a password of one's own buys no further guesses")
})

t.test('who got in begins anew, for that account and from that address alone', async (t) => {
  const { clear, fail, leftMs } = backoffOf()
  for (const address of [HOME, AWAY]) for (const email of [ANI, BUDI]) fail(4, email, address)
  clear(ANI, AWAY)
  for (const address of [HOME, AWAY]) for (const email of [ANI, BUDI]) fail(1, email, address)
  t.equal(leftMs(ANI, AWAY), 0)
  for (const [email, address] of [
    [ANI, HOME],
    [BUDI, AWAY],
    [BUDI, HOME],
  ] as const)
    t.equal(leftMs(email, address), SECOND_MS, `${email} from ${address}`)
})

t.test('a customer has one address, however many his network has', async (t) => {
  for (const [one, other] of [
    ['2001:db8:1:2::3', '2001:db8:1:2:ffff:ffff:ffff:fffe'],
    [AWAY, `::ffff:${AWAY}`],
  ] as const) {
    const { fail, leftMs } = backoffOf()
    fail(5, ANI, one)
    t.equal(leftMs(ANI, other), SECOND_MS, `${one} and ${other}`)
  }
  const { fail, leftMs } = backoffOf()
  fail(5, ANI, '2001:db8:1:2::3')
  t.equal(leftMs(ANI, '2001:db8:1:3::3'), 0)
})

t.test(
  'failures are forgotten after a day without one, and a clock that is put back keeps nobody waiting',
  async (t) => {
    const { clock, fail, leftMs } = backoffOf()
    fail(4)
    clock.advance(DAY_MS)
    fail(1)
    t.equal(leftMs(), SECOND_MS, 'a day is not over yet')
    clock.advance(DAY_MS + 1)
    fail(4)
    t.equal(leftMs(), 0)
    fail(10)
    t.ok(leftMs() > 0)
    clock.advance(-2 * DAY_MS)
    t.equal(leftMs(), 0)
    fail(1)
    t.ok(leftMs() <= 15 * MINUTE_MS)
  },
)

t.test('each of several processes allows its part, and none counts where limits are off', async (t) => {
  const { fail, leftMs } = backoffOf({ workers: 2 })
  fail(2)
  t.equal(leftMs(), 0)
  fail(1)
  t.equal(leftMs(), SECOND_MS)
  const off = backoffOf({ isOff: true })
  off.fail(100)
  t.equal(off.leftMs(), 0)
  for (let i = 0; i < 100; i++) t.equal(off.tryCode(ANI), 0)
})

t.test('codes are counted by account before they are looked at, from wherever they come', async (t) => {
  const { clock, clear, tryCode } = backoffOf()
  const tries = () => Array.from({ length: 30 }, () => tryCode(ANI)).filter((waitMs) => waitMs === 0).length
  t.equal(tries(), 20, 'of thirty at once twenty are looked at')
  t.equal(tryCode(ANI), SECOND_MS, 'and those that are not are not counted')
  t.equal(tryCode(BUDI), 0)
  clock.advance(SECOND_MS)
  t.equal(tries(), 1)
  t.equal(tryCode(ANI), 2 * SECOND_MS)
  clear(ANI, HOME)
  t.equal(tries(), 20, 'until one was right')
})

t.test(
  'a flood of addresses takes no more memory than a hundred thousand, and washes its own off last',
  async (t) => {
    const { fail, leftMs } = backoffOf()
    fail(5, ANI, '10.0.0.1')
    fail(5, ANI, '10.0.0.2')
    for (let i = 0; i < 100_000; i++) {
      fail(1, `nobody${i}@example.com`, `2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::1`)
      if (i % 10_000 === 0) t.ok(leftMs(ANI, '10.0.0.2') > 0, 'who is asked about is remembered')
    }
    t.equal(leftMs(ANI, '10.0.0.1'), 0, 'who was long not heard of is forgotten')
  },
)

function refusal({ status, body }: Answer) {
  return `${status} ${body.code ?? 'in'}`
}

function tally(answers: readonly Answer[]) {
  const counts: Record<string, number> = {}
  for (const answer of answers) counts[refusal(answer)] = (counts[refusal(answer)] ?? 0) + 1
  return counts
}

function signInTests(t: Test, database: TestDatabase): void {
  /** Where failures count, and sign-ins by the minute do not. */
  const openStrict = (t: Test) => openHouse(t, database, { RATE_LIMIT_PER_MINUTE: '100000' })

  t.test('guesses that come at once are worth no more than one after the other', async (t) => {
    const bench = await openStrict(t)
    await addUser(bench.app, ANI)
    const guesses = Array.from({ length: 20 }, (_, i) => login(at(bench), ANI, { password: `guess ${i}` }))
    const answers = await Promise.all([...guesses, login(at(bench), ANI)])
    t.same(tally(answers), { '401 invalid_credentials': 5, '429 too_many_requests': 16 })
    t.equal(refusal(await login(at(bench), ANI)), '429 too_many_requests', 'a right one waits too')
    t.equal((await login(at(bench), ANI)).headers['retry-after'], '1')
    t.equal(refusal(await login(at(bench, HOME), ANI)), '200 in', 'but from elsewhere it does not')
    bench.clock.advance(SECOND_MS)
    t.equal(refusal(await login(at(bench), ANI)), '200 in')
    await bench.app.events.flush()
    const events = await bench.app.events.list({ limit: 100 })
    t.ok(events.some(({ type }) => type === 'authn_login_fail'))
    t.ok(events.some(({ type }) => type === 'authn_login_lock'))
  })

  t.test('somebody who is not there, or has no password, makes wait like somebody who is', async (t) => {
    const bench = await openStrict(t)
    await addUser(bench.app, ANI)
    await sql({ config: bench.config, env: {} }, 'UPDATE kunci_users SET password_hash = NULL')
    for (const email of [ANI, 'nobody@example.com', 'no address']) {
      const answers: string[] = []
      for (let i = 0; i < 6; i++)
        answers.push(refusal(await login(at(bench, `10.0.0.${email.length}`), email)))
      t.same(answers, [...Array(5).fill('401 invalid_credentials'), '429 too_many_requests'], email)
    }
  })

  t.test('who has the password but not the code cannot try codes from address after address', async (t) => {
    const bench = await openStrict(t)
    await addUser(bench.app, ANI)
    const ani = await signIn(at(bench, HOME), ANI)
    const { secret } = (await ani.ask('POST /api/auth/totp')).body.data
    const totp = new TOTP({ secret: Secret.fromBase32(secret) })
    const rightCode = () => totp.generate({ timestamp: bench.clock() })
    const confirmed = await ani.ask('POST /api/auth/totp/confirm', {
      ...{ password: PASSWORD, secret, code: rightCode() },
    })
    const [recoveryCode] = confirmed.body.data.recoveryCodes
    const from = (n: number, code?: string) =>
      login(at(bench, `10.0.${n}.1`), ANI, code === undefined ? {} : { code })
    const wrong = ['abcdef', 'ABCDEFGH-ABCDEFGH', '1234567', '99 9999']
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => from(i, wrong[i % wrong.length])))
    t.same(tally(answers), { '401 invalid_credentials': 20, '429 too_many_requests': 20 })
    bench.clock.advance(SECOND_MS - 1)
    for (const code of [recoveryCode, rightCode()])
      t.equal(refusal(await from(50, code)), '429 too_many_requests', 'a right one waits too')
    t.equal(refusal(await from(51)), '401 totp_required')
    t.equal(refusal(await login(at(bench, '10.0.52.1'), ANI, { password: 'x' })), '401 invalid_credentials')
    bench.clock.advance(1)
    t.equal(refusal(await from(53, recoveryCode)), '200 in', 'it was not used up')
    bench.clock.advance(30 * SECOND_MS)
    t.equal(refusal(await from(54, rightCode())), '200 in', 'who was let in begins anew')
  })

  t.test('whoever is signed in has his password checked no oftener than who signs in', async (t) => {
    const bench = await openHouse(t, database, { RATE_LIMIT_PER_MINUTE: '4' })
    await addUser(bench.app, ANI)
    const ani = await signIn(at(bench), ANI)
    const again = { password: PASSWORD, newPassword: PASSWORD }
    const answers = [
      await ani.ask('POST /api/auth/password', again),
      await ani.ask('DELETE /api/auth/totp', again),
      await ani.ask('POST /api/auth/totp/confirm', { ...again, secret: 'A'.repeat(32), code: '000000' }),
      await ani.ask('POST /api/auth/password', again),
    ]
    t.same(answers.map(refusal), ['200 in', '409 totp_state', '422 totp_invalid', '429 too_many_requests'])
    t.equal(answers[3]?.headers['retry-after'], '60')
    t.equal((await ani.ask('GET /api/auth/me')).status, 200)
  })

  t.test('a session does not serve to guess the password of its owner', async (t) => {
    const bench = await openStrict(t)
    await addUser(bench.app, ANI)
    const ani = await signIn(at(bench), ANI)
    const answers: string[] = []
    for (const route of ['POST /api/auth/password', 'POST /api/auth/totp/confirm', 'DELETE /api/auth/totp'])
      for (let i = 0; i < 2; i++)
        answers.push(
          refusal(
            await ani.ask(route, {
              ...{ password: `guess ${i}`, newPassword: 'another good one', code: '000000' },
              secret: 'A'.repeat(32),
            }),
          ),
        )
    t.same(answers, [...Array(5).fill('401 invalid_credentials'), '429 too_many_requests'])
    t.equal(refusal(await login(at(bench), ANI)), '429 too_many_requests')
    t.equal((await ani.ask('GET /api/auth/me')).status, 200, 'he stays signed in')
  })
}

for (const database of DATABASES)
  t.test(`on ${database.name}`, async (t) => {
    signInTests(t, database)
  })
