import type { AddressInfo } from 'node:net'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { Secret, TOTP } from 'otpauth'
import t, { type Test } from 'tap'
import { createApp, migrateDatabase } from '../../src/app.ts'
import { ERRORS, type ErrorCode } from '../../src/errors.ts'
import { createServer } from '../../src/http/server.ts'
import { createLogger } from '../../src/log.ts'
import { manualClock } from '../support/clock.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { count, everythingStored, type Installation, sql } from '../support/installation.ts'
import { layersOf, leaked, type Secrets } from '../support/leaks.ts'
import { ACTOR, type Bench, handOut } from '../support/legacy.ts'
import { repliesIn, write } from '../support/raw-http.ts'
import { readStream } from '../support/streams.ts'
import {
  addUser,
  ask,
  at,
  CHEAP,
  type Client,
  clientOf,
  login,
  openHouse,
  PASSWORD,
  START_MS,
  signIn,
} from '../support/users.ts'

const ANI = 'ani@example.com'
const ROOT = 'root@example.com'
const NEW_PASSWORD = 'nine kites over the dam'
const SESSION_ID = '0123456789abcdef'.repeat(2)
const SECRET = 'A'.repeat(32)
const STEP_MS = 30_000

const rowsOf = ({ config }: Pick<Bench, 'config'>): Installation => ({ config, env: {} })

async function switchTotpOn(bench: Bench, client: Client) {
  const { secret } = (await client.ask('POST /api/auth/totp')).body.data
  const totp = new TOTP({ secret: Secret.fromBase32(secret) })
  const codeNow = () => totp.generate({ timestamp: bench.clock() })
  const wish = { password: PASSWORD, secret, code: codeNow() }
  const { status, body } = await client.ask('POST /api/auth/totp/confirm', wish)
  if (status !== 200) throw new Error(`one-time codes are not on: ${JSON.stringify(body)}`)
  return { secret: secret as string, codeNow, recoveryCodes: body.data.recoveryCodes as string[] }
}

/** Every address that takes a body, with one that is in form. */
function bodiesOf(setupCode: string): Record<string, Record<string, string>> {
  return {
    'POST /api/auth/login': { email: ANI, password: PASSWORD, code: 'ABCDEFGH' },
    'POST /api/auth/take-over': { token: 'A'.repeat(43), sessionId: SESSION_ID },
    'POST /api/setup': { code: setupCode, email: ANI, fullName: 'Ani', password: NEW_PASSWORD },
    'POST /api/auth/password': { password: PASSWORD, newPassword: NEW_PASSWORD },
    'POST /api/auth/totp/confirm': { password: PASSWORD, secret: SECRET, code: '000000' },
    'DELETE /api/auth/totp': { password: PASSWORD },
    'POST /api/sessions/answer': { answer: 'keep' },
  }
}

/** Those that need none, and take one that is empty. */
const BARE = [
  'POST /api/auth/logout',
  'POST /api/auth/totp',
  'POST /api/events/ticket',
  'POST /api/user-sessions/cleanup-expired',
  `POST /api/user-sessions/force-logout/${SESSION_ID}`,
  'DELETE /api/sessions?scope=all',
  `DELETE /api/sessions/${SESSION_ID}`,
]

const NO_TEXTS: readonly unknown[] = [null, true, 0, 1e21, -1.5, [], ['x'], {}, { toString: 'x' }]
const BAD_TEXTS = [
  '',
  'x'.repeat(5000),
  '\u0000',
  '\ud800',
  '\u202e',
  "' OR 1=1 -- ",
  '\u{1f511}'.repeat(400),
]

/** What is in form, made bad in one place. */
function spoilt(good: Record<string, string>): string[] {
  const members = Object.keys(good).flatMap((name) => [
    ...[...NO_TEXTS, ...BAD_TEXTS].map((bad) => ({ ...good, [name]: bad })),
    ...(name === 'code' || name === 'sessionId' ? [] : [{ ...good, [name]: undefined }]),
  ])
  const whole = JSON.stringify(good)
  return [
    ...members.map((body) => JSON.stringify(body)),
    ...[
      '',
      '{',
      'x',
      'null',
      '[]',
      `[${whole}]`,
      '"text"',
      '1',
      whole.slice(0, -1),
      `${whole}x`,
      `{${whole}}`,
    ],
    ...[whole.replace('{', '{"__proto__":{"isActive":true},'), whole.replace('":"', '":"\u0000')],
    ...[whole.replace('{', '{"constructor":{"prototype":{}},'), '['.repeat(8000), '{"a":'.repeat(3000)],
    `${whole.slice(0, -1)},"pad":"${'x'.repeat(16 * 1024)}"}`,
  ]
}

/** What is kept of users; times that each request moves are left out. */
async function kept(bench: Bench) {
  const tables = ['kunci_users', 'kunci_take_overs', 'kunci_recovery_codes', 'kunci_session_policies']
  const more = ['kunci_stream', 'kunci_stream_tickets', 'kunci_settings']
  const all = [...tables, ...more].map((table) => sql(rowsOf(bench), `SELECT * FROM ${table}`))
  const sessions = 'SELECT id, user_id, session_id, is_active, end_reason, yield_by FROM user_sessions'
  return Promise.all([...all, sql(rowsOf(bench), `${sessions} ORDER BY id`)])
}

function isCoded({ statusCode, body, headers }: LightMyRequestResponse): boolean {
  const { status, code, message, request_id: id, ...more } = JSON.parse(body)
  const [known, text] = ERRORS[code as ErrorCode] ?? []
  const isAsSaid = status === 'error' && statusCode === known && message === text && statusCode < 500
  return (
    isAsSaid &&
    /^[0-9A-Z]{16}$/.test(id) &&
    Object.keys(more).length === 0 &&
    headers['cache-control'] === 'no-store'
  )
}

function inputTests(t: Test, database: TestDatabase): void {
  t.test('whatever is sent, the answer is a coded refusal and nothing is written', async (t) => {
    const bench = await openHouse(t, database)
    const { app, server } = bench
    await addUser(app, ANI)
    const ani = await signIn(at(bench), ANI)
    await switchTotpOn(bench, ani)
    const setupCode = (await app.setup.newCode()) ?? ''
    const admin = await addUser(app, 'admin@example.com', 'admin')
    const boss = await signIn(at(bench), admin.email)
    const before = await kept(bench)

    const refuses = async (
      what: string,
      route: string,
      wish: InjectOptions,
      codes?: readonly ErrorCode[],
    ) => {
      const [method = '', url = ''] = route.split(' ')
      const { authorization } = url.includes('user-sessions') ? boss.headers : ani.headers
      const headers = { authorization, ...wish.headers }
      const reply = await server.inject({ ...wish, url, method: method as 'GET', headers })
      const isRight = isCoded(reply) && (codes?.includes(reply.json().code) ?? true)
      if (!isRight) t.fail(`${route} ${what.slice(0, 200)}: ${reply.statusCode} ${reply.body.slice(0, 200)}`)
      return reply
    }
    const json = { 'content-type': 'application/json' }
    let sent = 0
    for (const [route, good] of Object.entries(bodiesOf(setupCode)))
      for (const body of spoilt(good)) {
        await refuses(body, route, { payload: body, headers: json })
        sent++
      }
    t.ok(sent > 300, `${sent} bad bodies`)

    for (const route of [...Object.keys(bodiesOf('')), ...BARE]) {
      for (const body of ['{', '{"__proto__":1}', 'x'])
        await refuses(body, route, { payload: body, headers: json }, ['invalid_request'])
      const big = { payload: `"${'x'.repeat(16 * 1024)}"`, headers: json }
      await refuses('over 16 KiB', route, big, ['body_too_large'])
      for (const type of ['application/xml', 'application/x-www-form-urlencoded', 'multipart/form-data', 'x'])
        await refuses(type, route, { payload: 'a=b', headers: { 'content-type': type } }, [
          'unsupported_media_type',
        ])
    }
    for (const body of NO_TEXTS)
      for (const name of ['email', 'password'])
        await refuses(
          `${name} ${JSON.stringify(body)}`,
          'POST /api/auth/login',
          { payload: { email: ANI, password: PASSWORD, [name]: body } },
          ['invalid_request'],
        )
    t.same(await kept(bench), before)
    t.equal((await ani.ask('GET /api/auth/me')).status, 200)
  })

  t.test('a password is what was typed: a number, true or nothing is none', async (t) => {
    const bench = await openHouse(t, database)
    const { users } = bench.app
    const numeric = { email: ANI, fullName: 'Ani', role: 'user', password: '839571640275163' } as const
    await users.create(ACTOR, numeric)
    const status = async (password: unknown) =>
      (await ask(at(bench), 'POST /api/auth/login', { body: { email: ANI, password } })).status
    t.equal(await status(839571640275163), 400)
    t.equal(await status(['839571640275163']), 400)
    t.equal(await status('839571640275163'), 200)
  })

  t.test('members that nobody asked for give nobody anything', async (t) => {
    const bench = await openHouse(t, database)
    const code = await bench.app.setup.newCode()
    const { id } = await addUser(bench.app, ANI)
    const more = {
      id: 1,
      role: 'superadmin',
      roles: ['superadmin'],
      isActive: false,
      passwordHash: 'x',
      totpSecret: 'x',
    }
    const wish = { code, email: ROOT, fullName: 'Root', password: NEW_PASSWORD, ...more, maxSessions: 0 }
    const made = await ask(at(bench), 'POST /api/setup', { body: wish })
    t.match(made, { status: 201, body: { email: ROOT, isActive: true, roles: ['superadmin'] } })
    t.not(made.body.id, 1)
    t.equal((await login(at(bench), ROOT, { password: NEW_PASSWORD })).status, 200)
    const body = { email: ANI, password: PASSWORD, userId: made.body.id, sessionId: SESSION_ID, ...more }
    const answer = await ask(at(bench), 'POST /api/auth/login', { body })
    t.match(answer, { status: 200, body: { user: { id, roles: ['user'] } } })
    t.not(answer.body.sessionId, SESSION_ID)
    const ani = clientOf(at(bench), answer)
    const change = { password: PASSWORD, newPassword: NEW_PASSWORD, ...more }
    t.equal((await ani.ask('POST /api/auth/password', change)).status, 200)
    t.match(await bench.app.users.find(ANI), { id, role: 'user', isActive: true, totpSecret: null })
  })

  t.test('ids and queries that are none have their code', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ROOT, 'superadmin')
    const root = await signIn(at(bench), ROOT)
    const before = await kept(bench)
    const cases: Record<string, [ErrorCode, string[]]> = {
      'GET /api/user-sessions/user/*/sessions': [
        'invalid_request',
        [
          '0',
          '-1',
          '1.5',
          '1e21',
          'x',
          '9007199254740992',
          '%00',
          'NaN',
          'true',
          '1'.repeat(99),
          '%20',
          "'--",
        ],
      ],
      'POST /api/user-sessions/force-logout/*': [
        'session_not_found',
        [
          'x',
          '0',
          SESSION_ID,
          '%00',
          '%f0%9f%94%91',
          'a'.repeat(64),
          root.sessionId.toUpperCase(),
          "'--",
          '%25',
        ],
      ],
      'DELETE /api/sessions/*': [
        'session_not_found',
        [
          'x',
          '0',
          SESSION_ID,
          '%00',
          '%c3%a9',
          ` ${root.sessionId}`.replace(' ', '%20'),
          `${root.sessionId}%20`,
        ],
      ],
      'DELETE /api/sessions?*': [
        'invalid_request',
        [
          '',
          'scope',
          'scope=',
          'scope=All',
          'scope=all&scope=others',
          'scope[]=all',
          'scope=%00',
          'Scope=all',
        ],
      ],
      'GET /api/user-sessions/active-users?*': [
        'invalid_request',
        [
          'limit=0',
          'limit=-1',
          'limit=1001',
          'limit=1.5',
          'limit=1e21',
          'limit=x',
          'limit=1&limit=2',
          'limit=%00',
        ],
      ],
      'GET /api/events/poll?*': [
        'invalid_request',
        [
          ...['after=-1', 'after=1.5', 'after=1e21', 'after=x', 'after=1&after=2', 'after=9007199254740992'],
          ...['wait=26', 'wait=-1', 'wait=0.5', 'wait=x', 'wait=0&wait=0', 'token=x', 'wait=0&__proto__=1'],
        ],
      ],
      'GET /api/events?*': ['invalid_request', ['nope=1', `token=${root.token}`]],
    }
    for (const [pattern, [code, values]] of Object.entries(cases))
      for (const value of values) {
        const answer = await root.ask(pattern.replace('*', value))
        t.match(answer, { status: ERRORS[code][0], body: { code } }, `${pattern} ${value}`)
      }
    for (const path of ['force-logout/', `force-logout/${'a'.repeat(65)}`])
      t.ok((await root.ask(`POST /api/user-sessions/${path}`)).status < 500, path)
    for (const ticket of [
      '',
      'x',
      'A'.repeat(42),
      'A'.repeat(43),
      'A'.repeat(44),
      '%00',
      'é',
      `${'A'.repeat(42)}%2f`,
    ])
      t.match(await ask(at(bench), `GET /api/events?ticket=${encodeURI(ticket)}`), {
        body: { code: 'stream_ticket_invalid' },
      })
    t.match(await ask(at(bench), `GET /api/events?ticket=a&ticket=b`), { status: 401 })
    t.same(await kept(bench), before)
  })

  t.test('what a client says of itself is cut to what is kept, and never turns a line around', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    const said = 'A\u00adB\u0085C\u00e9 <script>'.repeat(100)
    const headers = { 'user-agent': said, 'x-device-name': said, 'x-device-type': 'toaster' }
    const { sessionId } = clientOf(at(bench), await login(at(bench), ANI, { headers }))
    const session = await bench.app.sessions.find(sessionId)
    t.match(session, { userAgent: said.slice(0, 512), deviceType: 'desktop' })
    t.equal(session?.deviceName.length, 128)
    t.notMatch(session?.deviceName, /[\p{Cc}\p{Cf}]/u)
    for (const fullName of [
      'Ani\nWijaya',
      'Ani\u0000',
      'Ani\u202eayajiW',
      'Ani\u2066x',
      'Ani\ud800',
      ' ',
      'x'.repeat(256),
    ])
      await t.rejects(
        bench.app.users.create(ACTOR, { email: 'b@example.com', fullName, role: 'user', password: PASSWORD }),
        { code: 'invalid_argument' },
        JSON.stringify(fullName),
      )
    const joined = {
      email: 'b@example.com',
      fullName: 'آنی\u200cویجایا',
      role: 'user',
      password: PASSWORD,
    } as const
    t.match(
      await bench.app.users.create(ACTOR, joined),
      { fullName: joined.fullName },
      'Persian joins nothing here',
    )
    t.equal(await count(rowsOf(bench), 'kunci_users'), 2)
  })
}

/** A server that listens, and everything it ever logged. */
async function openLogged(t: Test, database: TestDatabase) {
  const config = await database.freshConfig(t, { ...CHEAP, RATE_LIMIT_PER_MINUTE: '0' })
  await migrateDatabase(config)
  const lines: string[] = []
  const logger = createLogger('trace', { destination: { write: (line) => void lines.push(line) } })
  const clock = manualClock(START_MS)
  const app = await createApp(config, { logger, clock })
  const server = await createServer(app)
  t.teardown(async () => {
    await server.close()
    await app.close()
  })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  const bench: Bench = { app, server, clock, config }
  return { bench, lines, url }
}

function leakTests(t: Test, database: TestDatabase): void {
  t.test('neither the log nor the tables hold what anybody could sign in with', async (t) => {
    const { bench, lines, url } = await openLogged(t, database)
    const { app, clock } = bench
    const house = at(bench)
    const secrets: Secrets = {}
    const keep = <T extends string | Uint8Array>(name: string, secret: T): T => {
      secrets[name] = secret
      return secret
    }
    const password = keep('password', 'an utterly private pass phrase')
    const second = keep('new password', 'another very private pass phrase')
    const guess = keep('a wrong guess', 'an utterly private pass phrasf')
    const typed = keep('password in the place of the email', 'typed into the wrong box 7Q')

    keep('set-up code that was replaced', (await app.setup.newCode()) ?? '')
    const setupCode = keep('set-up code', (await app.setup.newCode()) ?? '')
    keep('set-up code, its symbols', setupCode.replaceAll('-', ''))
    const root = { email: ROOT, fullName: 'Root', password }
    await ask(house, 'POST /api/setup', { body: { code: `${setupCode}0`, ...root } })
    await ask(house, 'POST /api/setup', { body: { code: setupCode, ...root, password: ROOT } })
    t.equal((await ask(house, 'POST /api/setup', { body: { code: setupCode, ...root } })).status, 201)

    const ani = { email: ANI, fullName: 'Ani', role: 'user', password } as const
    await app.users.create(ACTOR, ani)
    await app.sessionPolicies.set(ACTOR, 'user', { maxSessions: 1, atLimit: 'refuse' })
    const enter = async (email: string, pass: string, code?: string) => {
      const answer = await login(house, email, { password: pass, ...(code === undefined ? {} : { code }) })
      if (answer.status === 200) {
        keep(`token ${lines.length}`, answer.body.token.token)
        keep(`its signature ${lines.length}`, answer.body.token.token.split('.')[2])
      }
      if (answer.body.takeOver !== undefined) keep(`take-over ${lines.length}`, answer.body.takeOver.token)
      return answer
    }
    await enter(ANI, guess)
    await enter(typed, guess)
    await enter(ANI, guess, guess)
    const first = clientOf(house, await enter(ANI, password))
    const full = await enter(ANI, password)
    t.equal(full.status, 409)
    const takeOver = (token: string) => ask(house, 'POST /api/auth/take-over', { body: { token } })
    const taken = await takeOver(full.body.takeOver.token)
    const client = clientOf(house, taken)
    keep('token of a take-over', client.token)
    t.equal((await takeOver(full.body.takeOver.token)).status, 401)
    t.equal((await first.ask('GET /api/auth/me')).status, 401)
    await ask(house, `GET /api/auth/me?token=${client.token}`, {
      headers: { cookie: `token=${client.token}` },
    })
    await ask(house, `GET /api/${client.token}`, { headers: { 'x-session-id': client.token } })
    await client.ask('DELETE /api/auth/totp', { password: guess })

    const offer = (await client.ask('POST /api/auth/totp')).body.data
    keep('TOTP secret', offer.secret)
    keep('TOTP secret in bytes', new Uint8Array(Secret.fromBase32(offer.secret).buffer))
    const totp = new TOTP({ secret: Secret.fromBase32(offer.secret) })
    const codes = [totp.generate({ timestamp: clock() })]
    const confirm = { password, secret: offer.secret, code: codes[0] }
    await client.ask('POST /api/auth/totp/confirm', { ...confirm, code: '000000' })
    const confirmed = await client.ask('POST /api/auth/totp/confirm', confirm)
    t.equal(confirmed.status, 200)
    for (const code of confirmed.body.data.recoveryCodes) {
      keep(`recovery code ${code}`, code)
      keep(`recovery code ${code}, its symbols`, code.replace('-', ''))
    }
    const [recoveryCode] = confirmed.body.data.recoveryCodes
    await app.sessionPolicies.set(ACTOR, 'user', { maxSessions: 1, atLimit: 'ask' })
    clock.advance(STEP_MS)
    codes.push(totp.generate({ timestamp: clock() }))
    const asked = await enter(ANI, password, codes[1])
    t.equal(asked.status, 409)
    t.equal((await client.ask('POST /api/sessions/answer', { answer: 'keep' })).status, 200)
    t.equal((await takeOver(asked.body.takeOver.token)).status, 409)

    const { ticket, url: path } = (await client.ask('POST /api/events/ticket')).body.data
    keep('ticket', ticket)
    const stream = await readStream(t, `${url}${path}`)
    t.equal(stream.status, 200)
    await ask(house, `GET ${path}`)
    await client.ask(`GET /api/events/poll?wait=0&token=${client.token}`)
    t.equal((await client.ask('GET /api/events/poll?wait=0')).status, 200)
    const change = { password, newPassword: second }
    t.equal((await client.ask('POST /api/auth/password', change)).status, 200)
    await app.sessionPolicies.set(ACTOR, 'user', { maxSessions: null, atLimit: 'kick' })
    t.equal((await enter(ANI, second, recoveryCode)).status, 200)
    const boss = clientOf(house, await enter(ROOT, password))
    t.equal((await boss.ask(`POST /api/user-sessions/force-logout/${client.sessionId}`)).status, 200)
    await stream.next('session_ended')

    const { token: legacy } = await handOut(bench)
    keep('token of the old contract', legacy)
    t.equal(
      (await ask(house, 'GET /api/auth/me', { headers: { authorization: `Bearer ${legacy}` } })).status,
      401,
    )
    await app.sessions.flush()
    await app.events.flush()
    const stored = await everythingStored(rowsOf(bench))
    t.match(stored, /session_created/, 'the tables were read')

    // What goes wrong is told with its cause: now everything goes wrong.
    for (const table of ['user_sessions', 'kunci_take_overs', 'kunci_recovery_codes', 'kunci_stream_tickets'])
      await sql(rowsOf(bench), `DROP TABLE ${table}`)
    const failed = [
      await login(house, ANI, { password: second, code: confirmed.body.data.recoveryCodes[1] }),
      await login(house, ROOT, { password }),
      await takeOver(asked.body.takeOver.token),
      await ask(house, `GET ${path}`),
      await boss.ask('POST /api/auth/logout'),
    ]
    await sql(rowsOf(bench), 'DROP TABLE kunci_users')
    failed.push(await login(house, ANI, { password: second }))
    for (const { status, body } of failed)
      t.match({ status, body }, { status: 503, body: { code: 'store_unavailable' } })

    const log = lines.join('')
    t.match(log, /"event":"request.failed"/)
    t.match(log, /"route":"\/api\/auth\/login"/)
    t.same(leaked(layersOf([Buffer.from(log)]), secrets), [], 'the log')
    t.same(leaked(layersOf([Buffer.from(stored, 'latin1')]), secrets), [], 'the tables')
    for (const code of codes) t.notMatch(log, new RegExp(`\\b${code}\\b`), 'a one-time code')
    const planted = { ...secrets, planted: 'authn_login_fail' }
    t.same(leaked([Buffer.from(stored, 'latin1')], planted), ['planted'], 'the hunter sees')
  })

  t.test('headers of 64 KiB are refused before anybody looks at them', async (t) => {
    const bench = await openHouse(t, database)
    await bench.server.listen({ host: '127.0.0.1', port: 0 })
    const { port } = bench.server.server.address() as AddressInfo
    const big = 'x'.repeat(64 * 1024)
    for (const header of [
      'Authorization: Bearer',
      'X-Session-Id:',
      'Last-Event-ID:',
      'X-Device-Name:',
      'User-Agent:',
    ]) {
      const request = `GET /api/auth/me HTTP/1.1\r\nHost: x\r\n${header} ${big}\r\n\r\n`
      const [reply] = repliesIn(await write(port, Buffer.from(request)))
      t.match(reply, { status: 431, text: /"code":"headers_too_large"/ }, header)
    }
    const line = `GET /api/events?ticket=${big} HTTP/1.1\r\nHost: x\r\n\r\n`
    t.match(repliesIn(await write(port, Buffer.from(line))), [{ status: 431 }])
  })
}

for (const database of DATABASES)
  t.test(`on ${database.name}`, async (t) => {
    inputTests(t, database)
    leakTests(t, database)
  })
