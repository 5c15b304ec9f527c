import t, { type Test } from 'tap'
import type { AtLimit } from '../../src/store/accounts.ts'
import { DATABASES, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { count, type Installation, sql } from '../support/installation.ts'
import { ACTOR, type Bench } from '../support/legacy.ts'
import {
  type Answer,
  addUser,
  ask,
  at,
  type Client,
  clientOf,
  clientWith,
  isIn,
  login,
  openHouse,
  PASSWORD,
  type Server,
  START_MS,
  signIn,
} from '../support/users.ts'

const ANI = 'ani@example.com'
const BUDI = 'budi@example.com'
const ROOT = 'root@example.com'
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const CROWD = 20

const rowsOf = ({ config }: Bench): Installation => ({ config, env: {} })
const live = (bench: Bench) => count(rowsOf(bench), 'user_sessions', 'is_active = 1')

function refusal({ status, body }: Answer) {
  return `${status} ${body.code}`
}

/** A house where this many sessions of a user may live at once. */
async function limitedHouse(
  t: Test,
  database: TestDatabase,
  atLimit: AtLimit,
  { maxSessions = 1, env = {} }: { maxSessions?: number; env?: TestEnv } = {},
) {
  const bench = await openHouse(t, database, env)
  await bench.app.sessionPolicies.set(ACTOR, 'user', { maxSessions, atLimit })
  return { bench, house: at(bench), user: await addUser(bench.app, ANI) }
}

function takeOver(server: Server, { body }: Answer, sessionId?: string) {
  return ask(server, 'POST /api/auth/take-over', { body: { token: body.takeOver.token, sessionId } })
}

/** Asks for something in the name of each, and has what that tells of their use written down. */
async function use(bench: Bench, ...clients: readonly Client[]) {
  const { sessions } = bench.app
  for (const client of clients) await client.ask('GET /api/auth/me')
  await sessions.flush()
  // What is remembered of a row is so by true time, of which none passes here.
  for (const { sessionId } of clients)
    await sessions.changing((await sessions.find(sessionId))?.userId ?? 0, async () => undefined)
}

async function endOf({ app }: Bench, { sessionId }: Client) {
  return (await app.sessions.find(sessionId))?.endReason
}

function conflictTests(t: Test, database: TestDatabase): void {
  t.test('kick: whoever comes is in, and who was there least lately is out', async (t) => {
    const { bench, house } = await limitedHouse(t, database, 'kick', { maxSessions: 2 })
    const [one, two] = [await signIn(house, ANI), await signIn(house, ANI)]
    bench.clock.advance(2 * MINUTE_MS)
    await use(bench, one)
    const three = await signIn(house, ANI)
    t.same([await isIn(one), await isIn(two), await isIn(three)], [true, false, true])
    t.equal(await endOf(bench, two), 'kicked')
  })

  t.test('refuse: a right password is told who is in, and may take over, once', async (t) => {
    const { bench, house, user } = await limitedHouse(t, database, 'refuse')
    const one = await signIn(house, ANI, {
      headers: { 'x-device-name': 'Till 3', 'x-device-type': 'tablet' },
    })
    t.equal(refusal(await login(house, ANI, { password: 'wrong' })), '401 invalid_credentials')
    const full = await login(house, ANI)
    t.equal(refusal(full), '409 session_limit')
    t.same(Object.keys(full.body).sort(), ['code', 'message', 'request_id', 'sessions', 'status', 'takeOver'])
    const time = '2031-01-01T00:00:00.000Z'
    t.same(full.body.sessions, [
      {
        ...{ sessionId: one.sessionId, deviceName: 'Till 3', deviceType: 'tablet', country: null },
        ...{ loginAt: time, lastActivity: time },
      },
    ])
    t.equal(full.body.takeOver.expiresIn, 120)
    t.ok(await isIn(one), 'and nobody is ended by it')
    t.equal(await count(rowsOf(bench), 'kunci_take_overs', `token_hash = '${full.body.takeOver.token}'`), 0)
    const both = await Promise.all([takeOver(house, full), takeOver(house, full)])
    t.same(both.map(({ status }) => status).sort(), [200, 401])
    t.notOk(await isIn(one))
    t.match(await bench.app.sessions.find(one.sessionId), {
      endReason: 'taken_over',
      endedBy: `user:${user.id}`,
    })
    t.equal(refusal(await takeOver(house, full)), '401 take_over_invalid')
    t.equal(await live(bench), 1)
  })

  t.test('a take-over is over after two minutes, and ends nobody but whom it is for', async (t) => {
    const { bench, house } = await limitedHouse(t, database, 'refuse', { maxSessions: 2 })
    await addUser(bench.app, BUDI)
    const budi = await signIn(house, BUDI)
    const [one, two] = [await signIn(house, ANI), await signIn(house, ANI)]
    const stale = await login(house, ANI)
    bench.clock.advance(120_000)
    t.equal(refusal(await takeOver(house, stale)), '401 take_over_invalid')
    t.equal(await live(bench), 3)
    const chosen = clientOf(house, await takeOver(house, await login(house, ANI), two.sessionId))
    t.same([await isIn(one), await isIn(two), await isIn(chosen)], [true, false, true], 'the chosen one went')
    const last = clientOf(house, await takeOver(house, await login(house, ANI), budi.sessionId))
    t.ok(await isIn(last))
    t.ok(await isIn(budi), "another user's session is nobody's to choose")
    t.equal(await live(bench), 3)
    for (const token of ['x', 'A'.repeat(43), one.token.slice(0, 64)])
      t.equal(
        refusal(await ask(house, 'POST /api/auth/take-over', { body: { token } })),
        '401 take_over_invalid',
      )
  })

  t.test('ask: yes and silence let the other in, no keeps him out', async (t) => {
    const { bench, house } = await limitedHouse(t, database, 'ask')
    const answer = (client: Client, text: string) => client.ask('POST /api/sessions/answer', { answer: text })
    const one = await signIn(house, ANI)
    t.equal(refusal(await answer(one, 'keep')), '409 session_state', 'nobody has asked')
    const asked = await login(house, ANI)
    t.equal(refusal(asked), '409 session_asked')
    t.match(asked.body, { retryAfter: 15, takeOver: { expiresIn: 120 } })
    t.equal(Number(asked.headers['retry-after']), 15)
    bench.clock.advance(5000)
    t.match(await takeOver(house, asked), { status: 409, body: { code: 'session_asked', retryAfter: 10 } })
    t.match(
      await login(house, ANI),
      { body: { code: 'session_asked', retryAfter: 10 } },
      'time runs for all alike',
    )

    t.equal((await answer(one, 'keep')).status, 200)
    t.equal(refusal(await takeOver(house, asked)), '409 session_kept')
    t.ok(await isIn(one))
    bench.clock.advance(20_000)
    t.ok(await isIn(one), 'it does not end later')
    t.equal(refusal(await answer(one, 'keep')), '409 session_state')

    const again = await login(house, ANI)
    t.equal((await answer(one, 'yield')).status, 200)
    t.notOk(await isIn(one))
    const two = clientOf(house, await takeOver(house, again))
    t.equal(await endOf(bench, one), 'yielded')
    t.equal(refusal(await takeOver(house, again)), '401 take_over_invalid')

    const silent = await login(house, ANI)
    bench.clock.advance(14_999)
    t.ok(await isIn(two))
    bench.clock.advance(1)
    t.notOk(await isIn(two), 'silence is a yes')
    t.equal(refusal(await answer(two, 'keep')), '401 sign_in_required')
    t.ok(await isIn(clientOf(house, await takeOver(house, silent))))
    t.equal(await endOf(bench, two), 'yielded')
    t.equal(await live(bench), 1)
  })

  t.test('ask: where several are asked, one that is kept keeps all of them', async (t) => {
    const { bench, house } = await limitedHouse(t, database, 'ask', { maxSessions: 2 })
    const [one, two] = [await signIn(house, ANI), await signIn(house, ANI)]
    await bench.app.sessionPolicies.set(ACTOR, 'user', { maxSessions: 1, atLimit: 'ask' })
    const asked = await login(house, ANI)
    t.equal(refusal(asked), '409 session_asked')
    t.equal((await one.ask('POST /api/sessions/answer', { answer: 'keep' })).status, 200)
    bench.clock.advance(20_000)
    t.equal(refusal(await takeOver(house, asked)), '409 session_kept')
    t.same([await isIn(one), await isIn(two)], [true, true])
  })

  t.test('a conflict is no failed sign-in, and a failed one no conflict', async (t) => {
    const { house } = await limitedHouse(t, database, 'refuse', { env: { RATE_LIMIT_PER_MINUTE: '100000' } })
    await signIn(house, ANI)
    for (let i = 0; i < 8; i++) t.equal(refusal(await login(house, ANI)), '409 session_limit')
    for (let i = 0; i < 5; i++)
      t.equal(refusal(await login(house, ANI, { password: 'wrong' })), '401 invalid_credentials')
    const waits = await login(house, ANI)
    t.equal(refusal(waits), '429 too_many_requests', 'right or wrong, from the fifth on')
    t.equal(Number(waits.headers['retry-after']), 1)
  })

  t.test('what was said of a user comes before what was said of his role', async (t) => {
    const { bench, house, user } = await limitedHouse(t, database, 'refuse')
    await signIn(house, ANI)
    t.equal(refusal(await login(house, ANI)), '409 session_limit')
    bench.clock.advance(1)
    await bench.app.users.setPolicy(ACTOR, user, { maxSessions: 2, atLimit: null })
    await signIn(house, ANI)
    t.equal(refusal(await login(house, ANI)), '409 session_limit')
    await bench.app.users.setPolicy(ACTOR, user, { maxSessions: null, atLimit: 'kick' })
    await signIn(house, ANI)
    t.equal(await live(bench), 1, 'one again, as the role says')
    await addUser(bench.app, ROOT, 'superadmin')
    await signIn(house, ROOT)
    await signIn(house, ROOT)
    t.equal(await live(bench), 3, 'another role has no limit')
  })

  for (const atLimit of ['kick', 'refuse', 'ask'] as const)
    t.test(`${atLimit}: however many come at once, one is in`, async (t) => {
      const { bench, house } = await limitedHouse(t, database, atLimit)
      const crowd = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: CROWD }, work))
      const answers = await crowd(() => login(house, ANI))
      const statuses = answers.map(({ status }) => status)
      t.equal(statuses.filter((status) => status === 200).length, atLimit === 'kick' ? CROWD : 1)
      t.ok(
        statuses.every((status) => status === 200 || status === 409),
        `${statuses}`,
      )
      t.equal(await live(bench), 1)
      const clients = answers.filter(({ status }) => status === 200).map((answer) => clientOf(house, answer))
      const states = await Promise.all(clients.map(isIn))
      t.equal(states.filter(Boolean).length, 1, 'and its token is the one that counts')
      if (atLimit === 'ask') bench.clock.advance(15_000)
      const waiting = answers.filter(({ status }) => status === 409)
      const back = await Promise.all(waiting.map((answer) => takeOver(house, answer)))
      t.ok(back.every(({ status }) => status === 200 || status === 409))
      t.equal(await live(bench), 1, 'also when all of them take over at once')
      await bench.app.sessionExpiry.endOverdue()
      t.equal(await live(bench), 1)
    })
}

function endTests(t: Test, database: TestDatabase): void {
  t.test('my own sessions are mine to see and to end, and nobody else’s', async (t) => {
    const bench = await openHouse(t, database)
    const house = at(bench)
    await addUser(bench.app, ANI)
    await addUser(bench.app, BUDI)
    const [one, two, three] = [await signIn(house, ANI), await signIn(house, ANI), await signIn(house, ANI)]
    const budi = await signIn(house, BUDI)
    const list = async (client: Client) => {
      const { body } = await client.ask('GET /api/sessions')
      return body.data.map(({ sessionId }: { sessionId: string }) => sessionId).sort()
    }
    t.same(await list(one), [one, two, three].map(({ sessionId }) => sessionId).sort())
    t.same(await list(budi), [budi.sessionId])
    for (const id of [budi.sessionId, '0'.repeat(32), 'x', `${one.sessionId}%20`, '%00', '%C3%A9', "'--"])
      t.equal(refusal(await one.ask(`DELETE /api/sessions/${id}`)), '404 session_not_found', id)
    t.ok(await isIn(budi))
    t.match(await one.ask(`DELETE /api/sessions/${two.sessionId}`), {
      status: 200,
      body: { data: { ended: 1 } },
    })
    t.equal(
      refusal(await one.ask(`DELETE /api/sessions/${two.sessionId}`)),
      '404 session_not_found',
      'it is over',
    )
    t.notOk(await isIn(two))
    t.equal(refusal(await one.ask('DELETE /api/sessions')), '400 invalid_request', 'which, it must say')
    t.match(await one.ask('DELETE /api/sessions?scope=others'), { status: 200, body: { data: { ended: 1 } } })
    t.same([await isIn(one), await isIn(three)], [true, false])
    const four = await signIn(house, ANI)
    t.match(await one.ask('DELETE /api/sessions?scope=all'), { status: 200, body: { data: { ended: 2 } } })
    t.same([await isIn(one), await isIn(four), await isIn(budi)], [false, false, true])
  })

  t.test('signing out everywhere ends a session that lies behind a thousand that are over', async (t) => {
    const bench = await openHouse(t, database)
    const user = await addUser(bench.app, ANI)
    const old = await signIn(at(bench), ANI)
    const rows = rowsOf(bench)
    // A history that took months: each row a copy of the living one, later and over.
    const names = Object.keys((await sql(rows, 'SELECT * FROM user_sessions'))[0] ?? {})
    const copied = (offset: number) =>
      names.map((name) =>
        name === 'id'
          ? `id + ${offset}`
          : name === 'session_id'
            ? `CONCAT_ID(id + ${offset})`
            : name === 'login_at'
              ? `login_at + ${offset}`
              : name === 'is_active'
                ? '0'
                : name,
      )
    const idText = (text: string) =>
      text.replaceAll(/CONCAT_ID\((.+?)\)/g, database.name === 'SQLite' ? "('x' || ($1))" : "CONCAT('x', $1)")
    for (let offset = 1; offset < 1100; offset *= 2)
      await sql(
        rows,
        `INSERT INTO user_sessions (${names}) ${idText(`SELECT ${copied(offset * 100_000)} FROM user_sessions`)}`,
      )
    t.ok((await count(rows, 'user_sessions')) > 1100)
    t.equal((await bench.app.sessions.listOf(user.id)).at(-1)?.isActive, false, 'it is out of sight')
    const here = await signIn(at(bench), ANI)
    t.same((await here.ask('GET /api/sessions')).body.data.length, 2)
    t.match(await here.ask('DELETE /api/sessions?scope=others'), { body: { data: { ended: 1 } } })
    t.notOk(await isIn(old))
  })

  t.test('an admin ends sessions, but none of a superadmin', async (t) => {
    const bench = await openHouse(t, database)
    const house = at(bench)
    for (const [email, role] of [
      [ANI, 'user'],
      ['admin@example.com', 'admin'],
      ['admin2@example.com', 'admin'],
      [ROOT, 'superadmin'],
    ] as const)
      await addUser(bench.app, email, role)
    const [ani, admin, admin2, root] = await Promise.all(
      [ANI, 'admin@example.com', 'admin2@example.com', ROOT].map((email) => signIn(house, email)),
    )
    if (!ani || !admin || !admin2 || !root) throw new Error('not all are in')
    const force = (by: Client, { sessionId }: Client) =>
      by.ask(`POST /api/user-sessions/force-logout/${sessionId}`)
    t.equal(refusal(await force(admin, root)), '403 not_permitted')
    t.ok(await isIn(root))
    t.equal((await force(admin, admin2)).status, 200)
    t.notOk(await isIn(admin2))
    t.equal((await force(root, admin)).status, 200)
    t.equal(refusal(await force(admin, ani)), '401 sign_in_required', 'whoever is out is out')
    t.equal((await force(root, ani)).status, 200)
    t.equal(refusal(await force(root, ani)), '404 session_not_found')
    t.equal(refusal(await force(root, clientWith(house, '', 'x'.repeat(64)))), '404 session_not_found')
    const told = await bench.app.events.list({ type: 'session_ended', limit: 10 })
    t.equal(told.length, 3, 'each end is told once')
  })

  for (const [what, change, reason] of [
    ['is disabled', (bench, user) => bench.app.users.disable(ACTOR, user), 'user_disabled'],
    ['gets another role', (bench, user) => bench.app.users.setRole(ACTOR, user, 'admin'), 'role_changed'],
    [
      'gets another password',
      (bench, user) => bench.app.users.setPassword(ACTOR, user, `${PASSWORD}!`),
      'password_changed',
    ],
  ] as const satisfies [
    string,
    (bench: Bench, user: Awaited<ReturnType<typeof addUser>>) => Promise<unknown>,
    string,
  ][])
    t.test(`who ${what} is out in the same step, and what he proved before lets nobody in`, async (t) => {
      const { bench, house, user } = await limitedHouse(t, database, 'refuse')
      const one = await signIn(house, ANI)
      const full = await login(house, ANI)
      // What is told of an end is part of the step: where that cannot be written nothing has happened.
      await sql(rowsOf(bench), 'ALTER TABLE kunci_stream RENAME TO hidden_stream')
      await t.rejects(change(bench, user), { name: 'StoreError' })
      await sql(rowsOf(bench), 'ALTER TABLE hidden_stream RENAME TO kunci_stream')
      t.ok(await isIn(one))
      t.match(await bench.app.users.findById(user.id), {
        isActive: true,
        role: 'user',
        passwordHash: user.passwordHash,
      })
      // While many of his requests and sign-ins are under way.
      const [, ...attempts] = await Promise.all([
        change(bench, user),
        ...Array.from({ length: 10 }, () => login(house, ANI)),
        ...Array.from({ length: 10 }, () => one.ask('GET /api/auth/me')),
      ])
      t.notOk(
        attempts.some(({ status }) => status >= 500),
        `${attempts.map(({ status }) => status)}`,
      )
      t.notOk(await isIn(one))
      t.equal(await endOf(bench, one), reason)
      t.equal(refusal(await takeOver(house, full)), '401 take_over_invalid')
      for (const attempt of attempts)
        if (attempt.body?.takeOver) t.equal(refusal(await takeOver(house, attempt)), '401 take_over_invalid')
      const opened = await count(rowsOf(bench), 'user_sessions', `is_active = 1 AND idle_ms = ${DAY_MS}`)
      t.equal(opened, 0, 'nobody who was on his way in is in, as who he was')
    })
}

function expiryTests(t: Test, database: TestDatabase): void {
  for (const [role, idleMs, maxMs] of [
    ['user', DAY_MS, 30 * DAY_MS],
    ['admin', HOUR_MS, DAY_MS],
    ['superadmin', HOUR_MS, DAY_MS],
  ] as const)
    t.test(
      `${role}: over after ${idleMs / HOUR_MS} h unused, and after ${maxMs / HOUR_MS} h in any case`,
      async (t) => {
        const bench = await openHouse(t, database)
        const house = at(bench)
        await addUser(bench.app, ANI, role)
        const [early, late, busy] = [
          await signIn(house, ANI),
          await signIn(house, ANI),
          await signIn(house, ANI),
        ]
        bench.clock.advance(idleMs / 2)
        await use(bench, busy)
        bench.clock.advance(idleMs / 2 - 1)
        t.ok(await isIn(early))
        bench.clock.advance(1)
        t.notOk(await isIn(late))
        for (; bench.clock() < START_MS + maxMs - idleMs / 2; bench.clock.advance(idleMs / 2))
          await use(bench, busy)
        await use(bench, busy)
        bench.clock.advance(idleMs / 2 - 1)
        t.ok(await isIn(busy))
        bench.clock.advance(1)
        t.notOk(await isIn(busy))
        t.equal(await live(bench), 3, 'though nothing was written down')
        t.equal(await bench.app.sessionExpiry.endOverdue(), 3)
        t.same([await endOf(bench, late), await endOf(bench, busy)], ['idle', 'expired'])
      },
    )

  t.test(
    'what is over is written down in batches, once, and history goes when its time has come',
    async (t) => {
      const bench = await openHouse(t, database, { SESSION_HISTORY_DAYS: '10' })
      const house = at(bench)
      await addUser(bench.app, ANI)
      await addUser(bench.app, 'admin@example.com', 'admin')
      const [over, used] = [await signIn(house, ANI), await signIn(house, ANI)]
      bench.clock.advance(DAY_MS - 1)
      await used.ask('GET /api/auth/me')
      bench.clock.advance(1)
      const { sessionExpiry, events } = bench.app
      const admin = await signIn(house, 'admin@example.com')
      t.match((await admin.ask('POST /api/user-sessions/cleanup-expired')).body, { data: { ended: 1 } })
      t.equal(await endOf(bench, over), 'idle')
      t.ok(
        await isIn(used),
        'who was here a millisecond before is not ended, though his row did not say so yet',
      )
      t.equal(await sessionExpiry.endOverdue(), 0)
      t.equal((await events.list({ type: 'session_ended', limit: 10 })).length, 1)
      bench.clock.advance(10 * DAY_MS)
      t.equal(await sessionExpiry.removeHistory(), 0)
      bench.clock.advance(1)
      t.equal(await sessionExpiry.removeHistory(), 1)
      t.equal(await sessionExpiry.countOverdue(), 2)
      t.equal(await count(rowsOf(bench), 'user_sessions'), 2, 'what is not ended is not history')
    },
  )

  t.test('a session that was used elsewhere since it was read is not ended as idle', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    const ani = await signIn(at(bench), ANI)
    const row = await bench.app.sessions.find(ani.sessionId)
    if (row === null) throw new Error('no row')
    bench.clock.advance(HOUR_MS)
    await use(bench, ani)
    const end = bench.app.sessions.endOf(row, 'idle', { name: 'server' })
    t.same(await bench.app.sessions.write([{ ...end, unlessUsedAfterMs: row.lastActivityMs }]), [])
    t.ok(await isIn(ani))
  })

  t.test(
    'a clock that jumps forth and back breaks nothing, and revives nothing that was ended',
    async (t) => {
      const bench = await openHouse(t, database)
      const house = at(bench)
      await addUser(bench.app, ANI)
      const [one, two] = [await signIn(house, ANI), await signIn(house, ANI)]
      bench.clock.advance(-DAY_MS)
      t.ok(await isIn(one))
      await use(bench, one, two)
      bench.clock.advance(31 * DAY_MS)
      t.notOk(await isIn(one))
      bench.clock.advance(-30 * DAY_MS)
      t.ok(await isIn(two), 'what only seemed over, and was not written down, is not over')
      bench.clock.advance(40 * DAY_MS)
      t.equal(await bench.app.sessionExpiry.endOverdue(), 2)
      bench.clock.advance(-40 * DAY_MS)
      t.same([await isIn(one), await isIn(two)], [false, false], 'what was ended stays so')
      bench.clock.advance(12 * HOUR_MS)
      const early = await signIn(house, ANI)
      bench.clock.advance(-12 * HOUR_MS)
      await use(bench, early)
      bench.clock.advance(30 * DAY_MS + 12 * HOUR_MS)
      t.notOk(await isIn(early))
    },
  )
}

function clockTests(t: Test, database: TestDatabase): void {
  t.test('a session that began by a clock that was ahead lasts no longer than any other', async (t) => {
    const { bench, house } = await limitedHouse(t, database, 'ask', { maxSessions: 2 })
    const { sessionExpiry, sessions } = bench.app
    bench.clock.advance(40 * DAY_MS)
    const [idle, busy] = [await signIn(house, ANI), await signIn(house, ANI)]
    bench.clock.advance(2 * MINUTE_MS)
    await use(bench, busy)
    const asked = await login(house, ANI)
    t.equal(refusal(asked), '409 session_asked')
    bench.clock.advance(-40 * DAY_MS)
    t.equal(await sessionExpiry.endOverdue(), 0)
    await sessionExpiry.removeHistory()
    t.equal(refusal(await takeOver(house, asked)), '401 take_over_invalid')
    const nowMs = bench.clock()
    const begun = { loginAtMs: nowMs, lastActivityMs: nowMs, expiresAtMs: nowMs + 30 * DAY_MS }
    for (const { sessionId } of [idle, busy])
      t.match(await sessions.find(sessionId), { ...begun, isActive: true, yieldByMs: null })
    bench.clock.advance(2 * MINUTE_MS)
    await use(bench, busy)
    t.match(
      await sessions.find(busy.sessionId),
      { lastActivityMs: bench.clock() },
      'its use is written again',
    )
    t.equal(await sessionExpiry.endOverdue(), 0)
    t.match(await sessions.find(idle.sessionId), begun, 'and begins but once')
    bench.clock.advance(DAY_MS - 2 * MINUTE_MS)
    t.same([await isIn(idle), await isIn(busy)], [false, true])
  })
}

function trackingTests(t: Test, database: TestDatabase): void {
  t.test('first and latest address, program, device and country are kept, without a network', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    const phone =
      'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile/15E148 Safari/604.1'
    const ani = await signIn(at(bench, '8.8.8.8'), ANI, { headers: { 'user-agent': phone } })
    const till = await signIn(at(bench, '::ffff:192.168.1.9'), ANI, {
      headers: { 'user-agent': 'till/2.1', 'x-device-name': 'Kasse \u202e1', 'x-device-type': 'TABLET' },
    })
    bench.clock.advance(MINUTE_MS)
    await clientWith(at(bench, '1.1.1.1'), ani.token, ani.sessionId).ask('GET /api/auth/me', undefined, {
      'user-agent': 'other/1',
    })
    await bench.app.sessions.flush()
    t.match(await bench.app.sessions.find(ani.sessionId), {
      ...{ firstIpAddress: '8.8.8.8', ipAddress: '1.1.1.1', country: 'US', deviceType: 'mobile' },
      ...{ firstUserAgent: phone, userAgent: 'other/1', deviceName: /Safari/ },
      ...{ loginAtMs: START_MS, lastActivityMs: START_MS + MINUTE_MS },
    })
    t.match(await bench.app.sessions.find(till.sessionId), {
      ...{ firstIpAddress: '192.168.1.9', country: null, deviceType: 'tablet', deviceName: /^Kasse/ },
    })
  })

  t.test(
    'however many requests come, a session is written once a minute, and is never further behind',
    async (t) => {
      const bench = await openHouse(t, database)
      const rows = rowsOf(bench)
      await addUser(bench.app, ANI)
      const clients = []
      for (let i = 0; i < 10; i++) clients.push(await signIn(at(bench), ANI))
      await sql(rows, 'CREATE TABLE test_writes (n INT NOT NULL)')
      const body = 'INSERT INTO test_writes VALUES (1)'
      await sql(
        rows,
        `CREATE TRIGGER test_counts AFTER UPDATE ON user_sessions FOR EACH ROW ${database.name === 'SQLite' ? `BEGIN ${body}; END` : body}`,
      )
      for (let second = 1; second <= 125; second++) {
        bench.clock.advance(1000)
        await Promise.all(clients.map((client) => client.ask('GET /api/auth/me')))
        if (second % 2 === 0) await bench.app.sessions.flush()
        if (second % 25 === 0)
          for (const { lastActivityMs } of await bench.app.sessions.listLive())
            t.ok(
              bench.clock() - lastActivityMs <= 62_000,
              `${second} s: ${bench.clock() - lastActivityMs} ms`,
            )
      }
      t.equal(await count(rows, 'test_writes'), 2 * clients.length, '1,250 requests in two minutes')
    },
  )
}

for (const database of DATABASES)
  t.test(`on ${database.name}`, async (t) => {
    conflictTests(t, database)
    endTests(t, database)
    expiryTests(t, database)
    clockTests(t, database)
    trackingTests(t, database)
  })
