import t, { type Test } from 'tap'
import { failure, json, kunci, piped } from '../support/cli.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { asOperator, count, everythingStored, install, sql } from '../support/installation.ts'
import { openBench } from '../support/legacy.ts'
import { at, CHEAP, isIn, login, PASSWORD, signIn } from '../support/users.ts'

const ANI = 'ani@example.com'
const BUDI = 'budi@example.com'
const ROOT = 'root@example.com'
const NEW_PASSWORD = /^([0-9A-HJKMNP-TV-Z]{6}-){3}[0-9A-HJKMNP-TV-Z]{6}$/
const DAY_MS = 24 * 60 * 60_000

/** An installation and a server on it that people sign in at. */
async function openShop(t: Test, database: TestDatabase) {
  const installation = await install(t, database, CHEAP)
  const bench = await openBench(t, installation.config)
  const { env } = installation
  const create = (email: string, ...more: string[]) =>
    json(env, 'users', 'create', '--email', email, '--full-name', `Name of ${email}`, ...more)
  return { installation, env, bench, house: at(bench), create }
}

type Shop = Awaited<ReturnType<typeof openShop>>

/** A user whose password is {@link PASSWORD}. */
async function addUser({ env }: Shop, email: string, ...more: string[]) {
  const name = ['--email', email, '--full-name', `Name of ${email}`]
  const { code, stdout, stderr } = await piped(
    `${PASSWORD}\n`,
    env,
    ...['users', 'create', ...name, '--password-stdin', ...more, '--json'],
  )
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

/** As it was shown, or without its dashes. */
function standsIn(stored: string, password: string): boolean {
  return stored.includes(password) || stored.includes(password.replaceAll('-', ''))
}

function creatingTests(t: Test, database: TestDatabase): void {
  t.test('a user is created with a password that is shown once and kept nowhere', async (t) => {
    const { installation, env, house, create } = await openShop(t, database)
    t.same(await json(env, 'users', 'list'), [])
    t.equal((await kunci(env, 'users', 'list')).stdout, 'There is no user yet.\n')
    const { new_password: password, ...made } = await create(' Ani@Example.COM ')
    t.match(password, NEW_PASSWORD)
    t.match(made, {
      ...{ email: ANI, role: 'user', active: true, password: true, totp: false },
      ...{ max_sessions: null, at_limit: null, created_at: /^\d{4}-\d{2}-\d{2}T.*Z$/ },
    })
    t.ok(Number.isSafeInteger(made.id))
    t.same(await json(env, 'users', 'list'), [made])
    t.equal((await login(house, ANI, { password })).status, 200)
    const shown = await kunci(
      env,
      'users',
      'create',
      '--email',
      BUDI,
      '--full-name',
      'Budi',
      '--role',
      'admin',
    )
    const [, inText = ''] = /shown this once and kept nowhere:\n\n(\S+)\n$/.exec(shown.stdout) ?? []
    t.match(inText, NEW_PASSWORD)
    t.not(inText, password)
    t.match((await login(house, BUDI, { password: inText })).body, { user: { roles: ['admin'] } })
    const reset = await json(env, 'users', 'reset-password', ANI)
    t.match(reset, { id: made.id, email: ANI, ended_sessions: 1, new_password: NEW_PASSWORD })
    const stored = await everythingStored(installation)
    t.ok(stored.includes(ANI), 'the tables were read')
    for (const secret of [password, inText, reset.new_password]) t.notOk(standsIn(stored, secret))
  })

  t.test('a password comes from stdin, without its last line break and with all else', async (t) => {
    const { env, house } = await openShop(t, database)
    const create = (stdin: string | Uint8Array, email = ANI) =>
      piped(stdin, env, 'users', 'create', '--email', email, '--full-name', 'X', '--password-stdin')
    const made = await create(' \u00e9 seven herons \r\n')
    t.match(made, { code: 0, stderr: '' })
    t.notMatch(made.stdout, /herons|shown this once/)
    t.equal((await login(house, ANI, { password: ' e\u0301 seven herons ' })).status, 200)
    t.equal((await login(house, ANI, { password: '\u00e9 seven herons' })).status, 401)
    for (const [stdin, said] of [
      ['', /stdin gave no password/],
      ['\n', /stdin gave no password/],
      ['seven hero\n', /at least 15/],
      ['x'.repeat(1025), /too long/],
      ['passwordpassword', /the first that anybody would try/],
      [`${BUDI} 1`, /the first that anybody would try/],
      [Buffer.from('sept h\u00e9rons au barrage', 'latin1'), /stdin is not UTF-8/],
    ] as const) {
      const refused = await create(stdin, BUDI)
      t.match(refused, { code: 2, stdout: '', stderr: said })
      if (stdin.length > 5) t.notOk(refused.stderr.includes(String(stdin).trim()), 'and is not said again')
    }
    t.equal((await json(env, 'users', 'list')).length, 1, 'nobody was created')
    const reset = await piped(
      'a good long new password',
      env,
      'users',
      'reset-password',
      ANI,
      '--password-stdin',
    )
    t.match(reset, { code: 0, stdout: /Sessions ended: 1\.\n$/ })
    t.equal((await login(house, ANI, { password: 'a good long new password' })).status, 200)
  })

  t.test('what is wrong of a user is refused with its exit code, and nothing is written', async (t) => {
    const shop = await openShop(t, database)
    const { env, installation } = shop
    await addUser(shop, ANI)
    const name = ['--full-name', 'X']
    for (const argv of [
      ['create'],
      ['create', '--email', BUDI],
      ['create', ...name],
      ['create', '--email', BUDI, ...name, '--role', 'root'],
      ['create', '--email', BUDI, ...name, '--password', 'x'],
      ['create', '--email', 'no address', ...name],
      ['create', '--email', '', ...name],
      ['create', '--email', BUDI, '--full-name', ' '],
      ['create', '--email', BUDI, '--full-name', 'two\nlines'],
      ['create', '--email', BUDI, '--full-name', 'x'.repeat(256)],
      ['create', '--email', BUDI, '--email', ROOT, ...name],
      ['roles', ANI],
      ['roles', ANI, '--role', 'Admin'],
      ['limit', ANI, '--sessions', '0'],
      ['limit', ANI, '--sessions', '1.5'],
      ['limit', ANI, '--sessions', '1001'],
      ['limit', ANI, '--at-limit', 'wait'],
      ['disable'],
      ['disable', ANI, BUDI],
      ['list', ANI],
    ])
      t.match(await failure(env, 'users', ...argv), { exitCode: 2, stdout: '' }, argv.join(' '))
    for (const argv of [['disable'], ['enable'], ['reset-password'], ['roles', '--role', 'admin'], ['limit']])
      for (const who of [BUDI, '1', 'nobody', '', '9'.repeat(30), '\ud800'])
        t.match(
          await failure(env, 'users', ...argv, who),
          { exitCode: 3, code: 'user_not_found' },
          `${argv[0]} ${who}`,
        )
    t.match(await failure(env, 'users', 'create', '--email', ANI.toUpperCase(), ...name), {
      ...{ exitCode: 4, code: 'user_exists', detail: /ani@example\.com is there already/ },
    })
    const unknown = await kunci(env, 'users', 'disable', BUDI)
    t.match(unknown.stderr, /there is no user "budi@example\.com"\nSee: kunci users list\n$/)
    t.equal(await count(installation, 'kunci_users'), 1)
    t.equal(await count(installation, 'kunci_events', "type LIKE 'user_%'"), 1)
  })
}

function changingTests(t: Test, database: TestDatabase): void {
  t.test('what is changed of a user counts for a server that runs, and is recorded', async (t) => {
    const shop = await openShop(t, database)
    const { env, house, bench } = shop
    const { id } = await addUser(shop, ANI)
    /** What another process has changed is known here once it was read again. */
    const forget = () => bench.app.sessions.changing(id, async () => undefined)
    const first = await signIn(house, ANI)
    t.match(await json(env, 'users', 'disable', ANI), { id, email: ANI, active: false, ended_sessions: 1 })
    await forget()
    t.notOk(await isIn(first))
    t.equal((await login(house, ANI)).status, 401)
    t.match(await json(env, 'users', 'list'), [{ active: false }])
    t.match(await json(env, 'users', 'disable', String(id)), { ended_sessions: 0 }, 'by id too, and again')
    t.match(await json(env, 'users', 'enable', ANI), { id, active: true })
    const second = await signIn(house, ANI)
    t.match(
      await json(env, 'users', 'roles', ANI, '--role', 'user'),
      { ended_sessions: 0 },
      'it is his already',
    )
    await forget()
    t.ok(await isIn(second))
    t.match(await json(env, 'users', 'roles', ANI, '--role', 'admin'), { role: 'admin', ended_sessions: 1 })
    await forget()
    t.notOk(await isIn(second))
    const third = await signIn(house, ANI)
    t.equal((await third.ask('GET /api/user-sessions/active-users')).status, 200)
    t.match(await json(env, 'users', 'limit', ANI, '--sessions', '1', '--at-limit', 'refuse'), {
      ...{ id, max_sessions: 1, at_limit: 'refuse' },
    })
    t.equal((await login(house, ANI)).status, 409)
    t.match(await json(env, 'users', 'list'), [{ max_sessions: 1, at_limit: 'refuse' }])
    t.match(
      await json(env, 'users', 'limit', ANI),
      { max_sessions: null, at_limit: null },
      'as his role says',
    )
    t.equal((await login(house, ANI)).status, 200)
    const recorded = await json(env, 'events', 'list', '--limit', '100')
    const told = recorded
      .filter(({ actor }: { actor: string }) => actor.startsWith('cli'))
      .map(({ type }: { type: string }) => type)
    for (const type of [
      ...['user_created', 'user_disabled', 'user_enabled', 'privilege_permissions_changed'],
      ...['session_policies_changed', 'session_ended'],
    ])
      t.ok(told.includes(type), type)
  })

  t.test('a password is set anew with and without the one-time codes that go with it', async (t) => {
    const shop = await openShop(t, database)
    const { env, installation } = shop
    await addUser(shop, ANI)
    const withTotp = () =>
      asOperator(installation, async ({ users }) => {
        const user = await users.find(ANI)
        const told = { type: 'authn_totp_changed', detail: { is_on: true } } as const
        await users.change({ name: 'test' }, user, { totpSecret: 'u1.x.x' }, told, {
          recoveryCodes: ['a', 'b'],
        })
      })
    await withTotp()
    t.match(await json(env, 'users', 'reset-password', ANI), { new_password: NEW_PASSWORD })
    t.match(await json(env, 'users', 'list'), [{ totp: true }])
    t.equal(await count(installation, 'kunci_recovery_codes'), 2)
    const { new_password: password } = await json(env, 'users', 'reset-password', ANI, '--drop-totp')
    t.match(await json(env, 'users', 'list'), [{ totp: false }])
    t.equal(await count(installation, 'kunci_recovery_codes'), 0)
    t.equal((await login(shop.house, ANI, { password })).status, 200)
  })
}

function sessionTests(t: Test, database: TestDatabase): void {
  t.test('who is signed in is listed and ended, one and all', async (t) => {
    const shop = await openShop(t, database)
    const { env, house } = shop
    t.same(await json(env, 'sessions', 'list'), [])
    t.equal((await kunci(env, 'sessions', 'list')).stdout, 'Nobody is signed in.\n')
    for (const email of [ANI, BUDI]) await addUser(shop, email)
    const headers = { 'x-device-name': 'Kasir 3\u009b31m', 'x-device-type': 'tablet' }
    const ofAni = [await signIn(house, ANI, { headers }), await signIn(house, ANI), await signIn(house, ANI)]
    const ofBudi = await signIn(house, BUDI)
    const all = await json(env, 'sessions', 'list')
    t.equal(all.length, 4)
    const listed = all.find(({ session_id: id }: { session_id: string }) => id === ofAni[0]?.sessionId)
    t.match(listed, {
      ...{ email: ANI, device: 'Kasir 3 31m', type: 'tablet', address: '198.51.100.7', active: true },
      ...{ logout_at: null, end_reason: null, ended_by: null },
    })
    t.equal((await json(env, 'sessions', 'list', '--limit', '2')).length, 2)
    for (const limit of ['0', 'x', '10001'])
      t.match(await failure(env, 'sessions', 'list', '--limit', limit), { exitCode: 2 })
    const text = (await kunci(env, 'sessions', 'list')).stdout
    for (const { sessionId, token } of [...ofAni, ofBudi]) {
      t.ok(text.includes(sessionId))
      t.notOk(text.includes(token))
    }

    const [first, ...others] = ofAni.map(({ sessionId }) => sessionId)
    t.same(await json(env, 'sessions', 'end', '--session', String(first)), { ended: [first] })
    t.match(await failure(env, 'sessions', 'end', '--session', String(first)), {
      ...{ exitCode: 3, code: 'session_not_found', detail: /no session with the id/ },
    })
    for (const id of ['', 'x', '\u00e9', '0'.repeat(32)])
      t.match(await failure(env, 'sessions', 'end', '--session', id), { exitCode: 3 }, id)
    const { ended } = await json(env, 'sessions', 'end', '--user', ANI)
    t.same(ended.sort(), others.sort())
    t.same(await json(env, 'sessions', 'end', '--user', ANI), { ended: [] })
    t.match(await json(env, 'sessions', 'list'), [{ session_id: ofBudi.sessionId }])
    const history = await json(env, 'sessions', 'list', '--user', ANI)
    t.equal(history.length, 3)
    for (const session of history)
      t.match(session, { active: false, end_reason: 'forced', ended_by: /^cli/, logout_at: /Z$/ })
    for (const argv of [[], ['--user', ANI, '--session', 'x']])
      t.match(await failure(env, 'sessions', 'end', ...argv), { exitCode: 2, code: 'usage' })
    for (const verb of ['list', 'end'])
      t.match(await failure(env, 'sessions', verb, '--user', ROOT), { exitCode: 3, code: 'user_not_found' })
  })

  t.test('what holds for a role is shown, and changed for it alone', async (t) => {
    const shop = await openShop(t, database)
    const { env, house } = shop
    const open = { max_sessions: null, at_limit: 'kick' }
    const before = ['user', 'admin', 'superadmin'].map((role) => ({ role, ...open }))
    t.same(await json(env, 'sessions', 'limit'), before)
    const strict = ['--role', 'user', '--sessions', '1', '--at-limit', 'refuse']
    const after = [{ role: 'user', max_sessions: 1, at_limit: 'refuse' }, ...before.slice(1)]
    t.same(await json(env, 'sessions', 'limit', ...strict), after)
    t.same(await json(env, 'sessions', 'limit'), after)
    await addUser(shop, ANI)
    t.same([(await login(house, ANI)).status, (await login(house, ANI)).status], [200, 409])
    t.same(await json(env, 'sessions', 'limit', '--role', 'user'), before, 'left out: any number')
    for (const [name, value] of [
      ...[
        ['--role', 'root'],
        ['--sessions', '0'],
        ['--sessions', '-1'],
        ['--sessions', '1e3'],
      ],
      ...[
        ['--sessions', '1001'],
        ['--at-limit', 'KICK'],
      ],
    ] as [string, string][])
      t.match(await failure(env, 'sessions', 'limit', `${name}=${value}`), { exitCode: 2 }, value)
    t.same(await json(env, 'sessions', 'limit'), before)
  })

  t.test(
    'the clean-up writes down what is over and removes old history; a dry run changes nothing',
    async (t) => {
      const shop = await openShop(t, database)
      const { env, house, installation } = shop
      await addUser(shop, ANI)
      const [idle, expired, old, recent, live] = [
        await signIn(house, ANI),
        await signIn(house, ANI),
        await signIn(house, ANI),
        await signIn(house, ANI),
        await signIn(house, ANI),
      ].map(({ sessionId }) => sessionId)
      for (const id of [old, recent]) await json(env, 'sessions', 'end', '--session', String(id))
      const set = (id: string | undefined, what: string) =>
        sql(installation, `UPDATE user_sessions SET ${what} WHERE session_id = '${id}'`)
      const nowMs = Date.now()
      await set(idle, `last_activity = ${nowMs - DAY_MS - 60_000}`)
      await set(expired, `expires_at = ${nowMs - 60_000}`)
      await set(old, `logout_at = ${nowMs - 366 * DAY_MS}`)
      await set(recent, `logout_at = ${nowMs - 364 * DAY_MS}`)
      const rows = () => sql(installation, 'SELECT * FROM user_sessions ORDER BY id')
      const before = await rows()
      const cleanup = ['cleanup', 'user-sessions']
      t.same(await json(env, ...cleanup, '--dry-run'), { overdue: 2, ended: 0, removed: 0 })
      t.match(await kunci(env, ...cleanup, '--dry-run'), {
        stdout: 'Sessions that are over: 2. Nothing was changed.\n',
      })
      t.same(await rows(), before)
      t.same(await json(env, ...cleanup), { overdue: 2, ended: 2, removed: 1 })
      const left = Object.fromEntries((await rows()).map((row) => [row.session_id, row.end_reason]))
      t.same(left, { [idle!]: 'idle', [expired!]: 'expired', [recent!]: 'forced', [live!]: null })
      t.same(await json(env, ...cleanup), { overdue: 0, ended: 0, removed: 0 })
      t.match(await kunci(env, ...cleanup), { stdout: 'Sessions ended: 0. Removed from the history: 0.\n' })
      t.match(await failure(env, ...cleanup, '--dry-run', 'now'), { exitCode: 2 })
    },
  )
}

for (const database of DATABASES)
  t.test(`on ${database.name}`, async (t) => {
    creatingTests(t, database)
    changingTests(t, database)
    sessionTests(t, database)
  })

t.test(
  'no command of users takes a password among its arguments, or touches what is not set up',
  async (t) => {
    const [sqlite] = DATABASES as readonly [TestDatabase]
    const config = await sqlite.freshConfig(t, CHEAP)
    const env = { DATABASE_URL: 'mysql://nobody:x@127.0.0.1:1/none', DATA_DIR: config.dataDir }
    const name = ['--email', ANI, '--full-name', 'X']
    for (const argv of [
      ['users', 'create', ...name],
      ['users', 'list'],
      ['sessions', 'list'],
      ['cleanup', 'user-sessions'],
    ]) {
      const { exitCode, stdout, code } = await failure(env, ...argv)
      t.same({ exitCode, stdout, code }, { exitCode: 5, stdout: '', code: 'set_up' }, argv.join(' '))
    }
    for (const command of ['create', 'reset-password'])
      t.notMatch((await kunci({}, 'users', command, '--help')).stdout, /--password[ =]/)
  },
)
