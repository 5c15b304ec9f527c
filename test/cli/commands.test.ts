import t, { type Test } from 'tap'
import type { App } from '../../src/app.ts'
import { failure, json, kunci } from '../support/cli.ts'
import { DATABASES, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { asOperator, everythingStored, type Installation, install, sql } from '../support/installation.ts'
import { openBench, runProgram } from '../support/legacy.ts'
import { checkData, injecting, openSession, pinOf } from '../support/sealed.ts'
import { runKunci, spawnKunci } from '../support/server.ts'

/** Settings of an installation that no command has touched. */
async function untouched(t: Pick<Test, 'teardown'>, database: TestDatabase): Promise<Installation> {
  const config = await database.freshConfig(t)
  const where: TestEnv = config.databaseUrl === undefined ? {} : { DATABASE_URL: config.databaseUrl }
  return { config, env: { DATA_DIR: config.dataDir, ...where } }
}

for (const database of DATABASES) {
  t.test(`on ${database.name}`, async (t) => {
    t.test('migrate status tells before and after, and nothing else works in between', async (t) => {
      const { env, config } = await untouched(t, database)
      const before = await kunci(env, 'migrate', 'status', '--json')
      t.equal(before.code, 5)
      t.match(JSON.parse(before.stdout), {
        whole: false,
        migrations: [{ name: '0000_migrations', state: 'pending' }],
        damage: [],
      })
      t.match((await kunci(env, 'migrate', 'status')).stdout, /run: kunci migrate\n$/)
      if (config.databaseUrl !== undefined) {
        t.match(await failure(env, 'products', 'list'), { exitCode: 5, message: /Run: kunci migrate$/ })
        t.match((await runKunci(['serve'], env)).code, 5)
      }
      const done = await json(env, 'migrate')
      t.equal(done.applied[0], '0000_migrations')
      t.equal(done.created_keys.length, 8)
      t.same(await json(env, 'migrate'), { ...done, applied: [], created_keys: [] })
      t.match((await kunci(env, 'migrate')).stdout, /^The database is up to date\.\n/)
      t.match(await json(env, 'migrate', 'status'), { whole: true, damage: [] })
      t.match((await kunci(env, 'migrate', 'status')).stdout, /Everything is in place\.\n$/)
      await sql({ env, config }, 'DROP TABLE kunci_tokens')
      const damaged = await kunci(env, 'migrate', 'status', '--json')
      t.equal(damaged.code, 5)
      t.match(JSON.parse(damaged.stdout), { whole: false, damage: [/kunci_tokens is missing/] })
    })

    t.test('a product is created, shown, listed and changed', async (t) => {
      const { env } = await install(t, database)
      t.same(await json(env, 'products', 'list'), [])
      const texts = ['--sk', 's', '--status1-text', 'Hi', '--bind-address', '--legacy', 'off']
      const made = await json(env, 'products', 'create', '--code', 'demo', '--name', 'Démo', ...texts)
      t.match(made, {
        id: /^prd_/,
        code: 'demo',
        name: 'Démo',
        legacy: false,
        ...{ bind_address: true, at_seat_limit: 'refuse' },
        ...{ sk: 's', sck: '', maintenance: 'no', status1_text: 'Hi' },
        created_at: /^\d{4}-\d{2}-\d{2}T.*Z$/,
      })
      t.same(await json(env, 'products', 'show', 'demo'), made)
      const change = ['--bind-address', 'off', '--legacy', 'on', '--maintenance', 'yes', '--sk', '']
      const changed = await json(env, 'products', 'update', 'demo', ...change)
      t.match(changed, { bind_address: false, legacy: true, maintenance: 'yes', sk: '', status1_text: 'Hi' })
      t.same(await json(env, 'products', 'list'), [changed])
      const kicking = await json(env, 'products', 'update', 'demo', '--at-seat-limit', 'kick')
      t.match(kicking, { at_seat_limit: 'kick', maintenance: 'yes' })
      const asking = ['--code', 'asking', '--name', 'Asking', '--at-seat-limit', 'ask']
      t.match(await json(env, 'products', 'create', ...asking), { at_seat_limit: 'ask' })
      t.match(await failure(env, 'products', 'update', 'demo', '--at-seat-limit', 'wait'), { exitCode: 2 })
      t.match(await failure(env, 'products', 'create', '--code', 'demo', '--name', 'x'), {
        ...{ exitCode: 4, code: 'product_exists', detail: /"demo"/ },
      })
      t.match(await failure(env, 'products', 'create', '--code', 'No!', '--name', 'x'), {
        ...{ exitCode: 2, code: 'invalid_argument', detail: /"No!" is not a product code/ },
      })
      t.match(await failure(env, 'products', 'create', '--code', 'b', '--name', ' '), { exitCode: 2 })
      t.match(await failure(env, 'products', 'show', 'nope'), {
        ...{ exitCode: 3, code: 'product_not_found', detail: /there are: asking, demo/ },
      })
      t.match(
        (await kunci(env, 'products', 'show', 'nope')).stderr,
        /^kunci: There is no such product\.\n {2}no product has .*\nSee: kunci products list\n$/,
      )
    })

    t.test('a licence lives: created, suspended, resumed, renewed, revoked', async (t) => {
      const { env } = await install(t, database)
      await json(env, 'products', 'create', '--code', 'demo', '--name', 'Demo')
      const order = ['--product', 'demo', '--customer', 'Budi', '--hwid', '1234567890', '--sk', 'own']
      const made = await json(env, 'licences', 'create', ...order, '--expires', '2040-12-31')
      const { id, key, ...rest } = made
      t.same(Object.keys(made).slice(0, 2), ['id', 'key'])
      t.match(id, /^lic_/)
      t.match(rest, {
        ...{ product: 'demo', customer: 'Budi', state: 'active', state_reason: null },
        ...{ expires_at: '2040-12-31T23:59:59.000Z', sk: 'own', sck: null },
      })
      t.same(await json(env, 'licences', 'show', id), { id, ...rest })
      const change = (verb: string, ...more: string[]) => json(env, 'licences', verb, id, ...more)
      const conflict = async (verb: string, ...more: string[]) =>
        t.match(await failure(env, 'licences', verb, id, ...more), { exitCode: 4, code: 'licence_state' })
      t.match(await change('suspend', '--reason', 'unpaid'), { state: 'suspended', state_reason: 'unpaid' })
      await conflict('suspend')
      t.match(await change('resume'), { state: 'active', state_reason: null })
      await conflict('resume')
      t.match(await change('renew', '--perpetual'), { expires_at: null })
      t.match(await change('renew', '--expires', '2041-01-01T07:00:00+07:00'), {
        expires_at: '2041-01-01T00:00:00.000Z',
      })
      const update = ['--customer', 'Siti', '--inherit', 'sk', '--maintenance', 'yes']
      t.match(await change('update', ...update), { customer: 'Siti', sk: null, maintenance: 'yes' })
      t.match(await change('revoke', '--reason', 'refunded'), { state: 'revoked', state_reason: 'refunded' })
      for (const verb of ['revoke', 'resume', 'suspend']) await conflict(verb)
      await conflict('renew', '--perpetual')
      t.match(await failure(env, 'licences', 'suspend', 'lic_NONE'), {
        ...{ exitCode: 3, code: 'licence_not_found', detail: /lic_NONE/ },
      })
      const events: { type: string }[] = await json(env, 'events', 'list', '--licence', id)
      t.same(
        events.map(({ type }) => type.replace('licence_', '')),
        ['created', 'suspended', 'resumed', 'renewed', 'renewed', 'updated', 'revoked'],
      )
    })

    t.test(
      'the seats of a licence are counted, shown with who holds them, and counted no more',
      async (t) => {
        const { env, config } = await install(t, database)
        await json(env, 'products', 'create', '--code', 'demo', '--name', 'Demo')
        const order = ['licences', 'create', '--product', 'demo', '--customer', 'Budi']
        t.match(await json(env, ...order), { seats: null })
        const { id, key, seats } = await json(env, ...order, '--seats', '2')
        t.equal(seats, 2)
        t.match((await kunci(env, 'licences', 'show', id)).stdout, /^seats +2$/m)
        t.equal((await kunci(env, 'licences', 'seats', id)).stdout, '0 of 2 seats are taken.\n')
        const bench = await openBench(t, config)
        const session = await openSession(injecting(bench), pinOf(bench.app))
        const { data } = await session.call('licence.check', checkData(key))
        const atMs = bench.clock()
        const [taken, ...others] = await json(env, 'licences', 'seats', id)
        t.same(others, [])
        t.match(taken, {
          ...{ device_id: (data.device as { id: string }).id, seat_no: 1, yield_by: null },
          ...{ taken_at: new Date(atMs).toISOString(), lapses_at: new Date(atMs + 240_000).toISOString() },
        })
        const { stdout } = await kunci(env, 'licences', 'seats', id)
        t.match(stdout, /^1 of 2 seats are taken\.\nSEAT_NO +DEVICE_ID .*\n1 +dev_\w+ .*Z +-\n$/)
        const unlimited = await json(env, 'licences', 'update', id, '--seats', 'unlimited')
        t.match(unlimited, { seats: null, customer: 'Budi' })
        t.same(await json(env, 'licences', 'seats', id), [])
        t.match((await kunci(env, 'licences', 'seats', id)).stdout, 'are not counted')
        t.match((await kunci(env, 'licences', 'show', id)).stdout, /^seats +unlimited$/m)
        t.match(await json(env, 'licences', 'update', id, '--seats', '1000'), { seats: 1000 })
        for (const bad of ['0', '1001', '-1', '2.5', 'many', ''])
          t.match(await failure(env, 'licences', 'update', id, `--seats=${bad}`), { exitCode: 2 }, bad)
        t.match(await failure(env, 'licences', 'seats', 'lic_NONE'), { exitCode: 3 })
      },
    )

    t.test('a licence that ended already can be recorded, and says that it has', async (t) => {
      const { env } = await install(t, database)
      await json(env, 'products', 'create', '--code', 'demo', '--name', 'Demo')
      const order = ['licences', 'create', '--product', 'demo', '--customer', 'Budi']
      t.match(
        (await kunci(env, ...order, '--expires', '2020-01-01')).stdout,
        '2020-01-01T23:59:59.000Z (expired)',
      )
      const { id } = await json(env, ...order)
      const { code, stdout } = await kunci(env, 'licences', 'renew', id, '--expires', '2020-01-02')
      t.equal(code, 0)
      t.match(stdout, /^Changed\. That date is past: the licence has expired\.\n/)
      t.match((await kunci(env, 'licences', 'list')).stdout, '2020-01-02T23:59:59.000Z (expired)')
    })

    t.test('licences are listed newest first, by product and state, up to a limit', async (t) => {
      const { env } = await install(t, database)
      const ids: Record<string, string> = {}
      for (const code of ['one', 'two']) {
        await json(env, 'products', 'create', '--code', code, '--name', code)
        for (const n of [1, 2]) {
          const order = ['licences', 'create', '--product', code, '--customer', `${code} ${n}`]
          ids[`${code} ${n}`] = (await json(env, ...order)).id
        }
      }
      await json(env, 'licences', 'suspend', ids['one 2'] ?? '')
      const customers = async (...filter: string[]) => {
        const rows: { customer: string }[] = await json(env, 'licences', 'list', ...filter)
        return rows.map(({ customer }) => customer)
      }
      t.same(await customers(), ['two 2', 'two 1', 'one 2', 'one 1'])
      t.same(await customers('--product', 'one'), ['one 2', 'one 1'])
      t.same(await customers('--state', 'suspended'), ['one 2'])
      t.same(await customers('--limit', '1'), ['two 2'])
      t.match(await failure(env, 'licences', 'list', '--product', 'three'), { exitCode: 3 })
      const { stdout, stderr } = await kunci(env, 'licences', 'list', '--limit', '1')
      t.match(stdout, /^ID +PRODUCT +CUSTOMER +STATE +EXPIRES\nlic_\w+ +two +two 2 +active +perpetual\n$/)
      t.match(stderr, /more than these 1: see --limit/)
    })

    t.test('keys and tokens are shown once and never again, and are not in the database', async (t) => {
      const installation = await install(t, database)
      const { env } = installation
      await json(env, 'products', 'create', '--code', 'demo', '--name', 'Demo')
      const order = ['--product', 'demo', '--customer', 'Budi', '--hwid', 'VOLUME987654321']
      const { stdout } = await kunci(env, 'licences', 'create', ...order)
      const [key = ''] = /^[0-9A-Z]{5}(-[0-9A-Z]{5}){4}$/m.exec(stdout) ?? []
      t.match(stdout, 'shown this once')
      const made = await kunci(env, 'tokens', 'create', '--name', 'console')
      const [token = ''] = /^kop_\S+$/m.exec(made.stdout) ?? []
      t.match(made.stdout, 'shown this once')
      const [licence] = await json(env, 'licences', 'list')
      const looks = [
        ['licences', 'list'],
        ['licences', 'show', licence.id, '--json'],
        ['licences', 'renew', licence.id, '--perpetual'],
        ['devices', 'list'],
        ['events', 'list', '--json'],
        ['tokens', 'list'],
      ]
      const seen: string[] = [await everythingStored(installation)]
      for (const look of looks) seen.push((await kunci(env, ...look)).stdout)
      t.ok(key.length === 29 && token.length === 47 && seen.join().includes('Budi'))
      for (const secret of [key, key.replaceAll('-', ''), token, 'VOLUME987654321', '987654321'])
        t.notOk(seen.join('\n').includes(secret), secret)
    })

    t.test('what the command line changes counts from the next check on', async (t) => {
      const installation = await install(t, database)
      const { env, config } = installation
      await json(env, 'products', 'create', '--code', 'demo', '--name', 'Demo')
      const order = ['--product', 'demo', '--customer', 'Budi']
      const { id, key } = await json(env, 'licences', 'create', ...order)
      const bench = await openBench(t, config)
      const check = async (hwid: string) => {
        bench.clock.advance(1000)
        return (await runProgram(bench, hwid, key)).json().message
      }
      const granted = 'Access granted'
      const denied = 'Access denied (HWID Not Found).'
      t.equal(await check('1111'), granted, 'the first machine is bound')
      t.equal(await check('2222'), denied, 'another is not')
      await json(env, 'licences', 'suspend', id)
      t.equal(await check('1111'), denied)
      await json(env, 'licences', 'resume', id)
      t.equal(await check('1111'), granted)

      const [device] = await json(env, 'devices', 'list', '--licence', id)
      t.match(device, { id: /^dev_/, licence_id: id, state: 'bound', released_at: null })
      const reset = ['devices', 'reset', id]
      t.match(await failure(env, ...reset, '--device', 'dev_NONE'), { exitCode: 3, code: 'device_not_found' })
      t.match(await failure(env, 'devices', 'reset', 'lic_NONE'), { exitCode: 3, code: 'licence_not_found' })
      t.match(await failure(env, 'devices', 'list', '--licence', 'lic_NONE'), { exitCode: 3 })
      t.match(await json(env, ...reset, '--device', device.id), [{ id: device.id, state: 'released' }])
      t.same(await json(env, ...reset), [], 'a second time there is nothing to release')
      t.equal(await check('2222'), granted, 'now another machine is bound')
      t.equal(await check('1111'), denied)
      t.match(await json(env, 'devices', 'list'), [{ state: 'bound' }, { state: 'released' }])
      await json(env, ...reset)
      t.equal(await check('1111'), granted, 'and back again')
    })

    t.test('events are listed by type, licence and support code, the newest last', async (t) => {
      const { env, config } = await install(t, database)
      await json(env, 'products', 'create', '--code', 'demo', '--name', 'Demo')
      const order = ['--product', 'demo', '--customer', 'Budi', '--hwid', '1111']
      const { id } = await json(env, 'licences', 'create', ...order)
      const bench = await openBench(t, config, Date.now() + 1000)
      await runProgram(bench, '1111')
      bench.clock.advance(1)
      const reply = await runProgram(bench, '9999')
      const supportCode = String(reply.headers['x-support-code'])
      const types = async (...filter: string[]) => {
        const events: { type: string }[] = await json(env, 'events', 'list', ...filter)
        return events.map(({ type }) => type)
      }
      const all = ['product_created', 'licence_created', 'licence_check_allowed', 'licence_check_denied']
      t.same(await types(), all)
      t.same(await types('--type', 'licence_created'), ['licence_created'])
      t.same(await types('--licence', id), ['licence_created', 'licence_check_allowed'])
      t.same(await types('--support-code', supportCode.toLowerCase()), ['licence_check_denied'])
      t.same(await types('--support-code', supportCode, '--licence', id), [])
      t.same(await types('--limit', '1'), ['licence_check_denied'])
      const [event] = await json(env, 'events', 'list', '--support-code', supportCode)
      t.match(event, {
        ...{ actor: 'client', address: '198.51.100.7', support_code: supportCode, count: 1 },
        detail: { reason: 'unknown' },
        at: /^\d{4}-.*Z$/,
      })
      const { stdout } = await kunci(env, 'events', 'list', '--type', 'product_created')
      t.match(stdout, /^AT +TYPE +ACTOR .*\n\S+Z +product_created +cli\S* +- .* code=demo\n$/)
      t.match((await kunci(env, 'events', 'list', '--licence', 'lic_NONE')).stdout, /^There is no such event/)
    })

    t.test('tokens are created, listed and revoked', async (t) => {
      const { env } = await install(t, database)
      const expires = ['--expires', '2040-01-01']
      const { token, ...made } = await json(env, 'tokens', 'create', '--name', 'console', ...expires)
      t.match(token, /^kop_[\w-]{43}$/)
      t.same(await json(env, 'tokens', 'list'), [made])
      t.equal(made.expires_at, '2040-01-01T23:59:59.000Z')
      t.match(await failure(env, 'tokens', 'create', '--name', 'x', '--expires', '2020-01-01'), {
        exitCode: 2,
      })
      t.match(await failure(env, 'tokens', 'create', '--name', ''), { exitCode: 2 })
      t.same(await json(env, 'tokens', 'revoke', made.id), { id: made.id, revoked: true })
      t.match(await failure(env, 'tokens', 'revoke', made.id), { exitCode: 3, code: 'token_not_found' })
      t.match(await json(env, 'tokens', 'list'), [{ id: made.id, revoked_at: /Z$/ }])
    })

    t.test('cleanup session-keys removes what is long over, and only that', async (t) => {
      const installation = await install(t, database)
      const { env, config } = installation
      if (config.databaseUrl !== undefined) await sql(installation, 'DROP EVENT cleanup_expired_sessions')
      await asOperator(installation, async ({ sessionKeys }) => {
        for (let i = 0; i < 3; i++) await sessionKeys.handOut('192.0.2.1')
      })
      t.same(await json(env, 'cleanup', 'session-keys'), { removed: 0 })
      await sql(
        installation,
        "UPDATE session_keys SET expires_at = '2020-01-01 00:00:00' WHERE id < (SELECT m FROM (SELECT MAX(id) AS m FROM session_keys) x)",
      )
      t.same(await json(env, 'cleanup', 'session-keys'), { removed: 2 })
      t.equal((await sql(installation, 'SELECT id FROM session_keys')).length, 1)
    })

    t.test('events list --follow prints what is new and what has grown, until Ctrl-C', async (t) => {
      const installation = await install(t, database)
      const { env } = installation
      await json(env, 'products', 'create', '--code', 'old', '--name', 'Old')
      // In one minute, whatever the time is: refusals of another minute have another row.
      const nowMs = Date.now()
      const refuse = async (app: App) => app.events.refuse('authn_token_refused', '192.0.2.9')
      const refuseOnce = () => asOperator(installation, refuse, { clock: () => nowMs })
      await refuseOnce()
      const follower = spawnKunci(['events', 'list', '--follow', '--limit', '1', '--json'], env)
      t.teardown(() => follower.kill('SIGKILL'))
      const refusals = () => follower.stdout.filter((line) => line.includes('authn_token_refused'))
      await follower.waitForLine(/"(product_created|authn_token_refused)"/)
      const before = refusals().length
      await json(env, 'products', 'create', '--code', 'new', '--name', 'New')
      await follower.waitForLine(/"code":"new"/)
      await refuseOnce()
      await follower.waitForLine(/"authn_token_refused".*"count":2/)
      t.same(await follower.kill('SIGINT'), { code: 0, signal: null })
      t.equal(refusals().length, before + 1)
      t.equal(follower.stdout.length, 3, 'one of before, the new one, the grown one')
      t.same(follower.stderr, [])
    })
  })
}
