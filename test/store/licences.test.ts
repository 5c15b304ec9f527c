import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type App, createApp, migrateDatabase, openDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { PRODUCTS_KNOWN_FOR_MS } from '../../src/domain/products.ts'
import { AppError, StoreError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import { checkStore } from '../../src/store/checks.ts'
import type { Database } from '../../src/store/engine/database.ts'
import { type ManualClock, manualClock } from '../support/clock.ts'
import { DATABASES, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { ACTOR, encrypt } from '../support/legacy.ts'
import { runKunci } from '../support/server.ts'

type Teardown = Pick<Test, 'teardown'>

const ADDRESS = '198.51.100.7'
const HWID = '1234567890'
const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
const MANY = 20
const NOT_FOUND = { kind: 'not_found' }

/** Two servers on one database, and a connection past both of them. */
type House = { config: Config; app: App; other: App; db: Database; clock: ManualClock }

async function house(t: Teardown, { freshConfig }: TestDatabase, extraEnv: TestEnv = {}): Promise<House> {
  const config = await freshConfig(t, { RATE_LIMIT_PER_MINUTE: '0', ...extraEnv })
  await migrateDatabase(config)
  const clock = manualClock(Date.now())
  const ports = { logger: createLogger('silent'), clock }
  const [app, other] = [await createApp(config, ports), await createApp(config, ports)]
  const db = await openDatabase(config)
  t.teardown(async () => {
    for (const part of [app, other, db]) await part.close()
  })
  await app.products.create(ACTOR, 'demo', 'Demo', { sk: 'sk of the product', sck: 'sck of the product' })
  return { config, app, other, db, clock }
}

type Licence = Awaited<ReturnType<App['licences']['create']>>

function licence(
  { app }: House,
  facts: { hwid?: string; expiresAtMs?: number | null } = {},
): Promise<Licence> {
  return app.licences.create(ACTOR, { productCode: 'demo', customer: 'Sari', expiresAtMs: null, ...facts })
}

type HandOut = Awaited<ReturnType<App['sessionKeys']['handOut']>>

function check(
  app: App,
  session: HandOut,
  { hwid = HWID, key, payload }: { hwid?: string; key?: string; payload?: string } = {},
) {
  return app.checks.legacy({
    session,
    payload: payload ?? encrypt({ key: session.keyHex, iv: session.ivHex }, hwid),
    licenceKey: key,
    address: ADDRESS,
    supportCode: 'AAAAA-BBBBB',
  })
}

/** Hand-out and check in one go. */
async function ask(app: App, wish: { hwid?: string; key?: string } = {}) {
  return check(app, await app.sessionKeys.handOut(ADDRESS), wish)
}

function countBy(kinds: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    [...new Set(kinds)].sort().map((kind) => [kind, kinds.filter((k) => k === kind).length]),
  )
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

const numberOf = async (db: Database, table: string, where = '1 = 1') =>
  Number((await db.all<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table} WHERE ${where}`))[0]?.n)

for (const database of DATABASES)
  t.test(`on ${database.name}`, async (t) => {
    t.test(
      'a machine is found by its HWID, and an unbound licence by its key, which then binds it',
      async (t) => {
        const all = await house(t, database)
        const { app, other } = all
        const bound = await licence(all, { hwid: HWID })
        t.match(await ask(app), { kind: 'granted', licence: { id: bound.licence.id } })
        t.match(await ask(app, { hwid: ' 12345-67890 ' }), { licence: { id: bound.licence.id } })
        t.match(await ask(app, { hwid: '123456789' }), NOT_FOUND)
        t.match(await ask(app, { hwid: '--' }), NOT_FOUND)

        const free = await licence(all)
        const typed = free.key.toLowerCase().replaceAll('-', ' ')
        t.match(await ask(other, { hwid: 'AbC', key: typed }), { licence: { id: free.licence.id } })
        t.match(
          await ask(app, { hwid: 'AbC' }),
          { licence: { id: free.licence.id } },
          'from then on without it',
        )
        t.match(await ask(app, { hwid: 'abc' }), NOT_FOUND, 'case matters')
        t.match(await ask(app, { hwid: 'another', key: free.key }), NOT_FOUND, 'one machine')
        t.match(
          await ask(app, { key: `${free.key.slice(0, -1)}${free.key.endsWith('0') ? '1' : '0'}` }),
          NOT_FOUND,
        )
        t.match(await ask(app, { key: 'no key at all' }), NOT_FOUND, 'a key that is sent selects alone')
      },
    )

    t.test('a licence of another product is unknown', async (t) => {
      const all = await house(t, database, { LEGACY_PRODUCT: 'demo' })
      await all.app.products.create(ACTOR, 'second', 'Second')
      const wish = { productCode: 'second', customer: 'Sari', expiresAtMs: null, hwid: HWID }
      const { key } = await all.app.licences.create(ACTOR, wish)
      t.match(await ask(all.app), NOT_FOUND)
      t.match(await ask(all.app, { key }), NOT_FOUND)
    })

    t.test('the texts of a licence go before those of its product', async (t) => {
      const all = await house(t, database)
      const { licence: made } = await licence(all, { hwid: HWID })
      await all.app.licences.update(ACTOR, made.id, { sk: 'sk of the licence', status1Text: '' })
      t.match(await ask(all.app), {
        texts: { sk: 'sk of the licence', sck: 'sck of the product', maintenance: 'no', status1Text: '' },
      })
    })

    t.test('what anybody changes counts from the very next check', async (t) => {
      const all = await house(t, database)
      const { app, db, config } = all
      const { licence: made } = await licence(all, { hwid: HWID })
      const granted = { kind: 'granted' }
      const session = await app.sessionKeys.handOut(ADDRESS)
      const again = () => check(app, session)
      t.match(await again(), granted)

      const env = { DATA_DIR: config.dataDir, DATABASE_URL: config.databaseUrl ?? '' }
      const { code, stderr } = await runKunci(['licences', 'suspend', made.id, '--reason', 'unpaid'], env)
      t.equal(code, 0, stderr)
      t.match(await again(), NOT_FOUND, 'suspended by another process')
      await all.other.licences.resume(ACTOR, made.id)
      t.match(await again(), granted, 'resumed by another server')

      const set = (assignment: string) => db.run(`UPDATE kunci_licences SET ${assignment}`)
      await set("state = 'revoked'")
      t.match(await again(), NOT_FOUND, 'revoked by plain SQL')
      await set("state = 'active'")
      t.match(await again(), granted)
      await set('expires_at_ms = 1')
      t.match(await again(), { kind: 'expired' })
      await set('expires_at_ms = NULL')
      t.match(await again(), granted)
      await db.run('UPDATE kunci_products SET sk = ?', ['new'])
      await sleep(PRODUCTS_KNOWN_FOR_MS)
      t.match(await again(), { kind: 'granted', texts: { sk: 'new' } }, 'a product, within a second')

      await db.run('DELETE FROM kunci_devices')
      t.match(await again(), NOT_FOUND, 'the device row is gone')
    })

    t.test('a row that is deleted is gone from the very next check', async (t) => {
      const all = await house(t, database)
      const { app, db } = all
      const { key } = await licence(all, { hwid: HWID })
      const session = await app.sessionKeys.handOut(ADDRESS)
      t.match(await check(app, session, { key }), { kind: 'granted' })
      await db.run('DELETE FROM kunci_device_components')
      t.match(await check(app, session), NOT_FOUND, 'the component')
      t.match(await check(app, session, { key }), NOT_FOUND, 'which leaves the licence bound')
      await db.run('DELETE FROM kunci_licences')
      t.match(await check(app, session, { key }), NOT_FOUND, 'the licence')
      await db.run('DELETE FROM session_keys')
      t.match(await check(app, session, { key }), { kind: 'session_expired' }, 'the session key')
      await db.run('DELETE FROM kunci_products')
      t.match(await ask(app), NOT_FOUND, 'the product')
    })

    t.test('of many first checks of one licence exactly one machine is enrolled', async (t) => {
      const all = await house(t, database)
      const { key, licence: made } = await licence(all)
      const apps = [all.app, all.other]
      const sessions = await Promise.all(
        Array.from({ length: MANY }, () => all.app.sessionKeys.handOut(ADDRESS)),
      )
      const verdicts = await Promise.all(
        sessions.map((session, i) => check(apps[i % 2] ?? all.app, session, { hwid: `machine${i}`, key })),
      )
      t.same(countBy(verdicts.map(({ kind }) => kind)), { granted: 1, not_found: MANY - 1 })
      t.equal(await numberOf(all.db, 'kunci_devices'), 1)
      t.equal(await numberOf(all.db, 'kunci_device_components'), 1)
      t.equal(await numberOf(all.db, 'kunci_events', "type = 'licence_check_allowed'"), 1)
      t.equal(await numberOf(all.db, 'kunci_events', "type = 'licence_check_denied'"), MANY - 1)
      const winner = verdicts.findIndex(({ kind }) => kind === 'granted')
      t.match(await ask(all.app, { hwid: `machine${winner}` }), { licence: { id: made.id } })
    })

    t.test('of many first checks from one machine all are granted, and it is enrolled once', async (t) => {
      const all = await house(t, database)
      const { key } = await licence(all)
      const session = await all.app.sessionKeys.handOut(ADDRESS)
      const verdicts = await Promise.all(
        Array.from({ length: MANY }, (_, i) => check(i % 2 === 0 ? all.app : all.other, session, { key })),
      )
      t.same(countBy(verdicts.map(({ kind }) => kind)), { granted: MANY })
      t.equal(await numberOf(all.db, 'kunci_devices'), 1)
    })

    t.test(
      'a session key for single use is good for one granted check, however many come at once',
      async (t) => {
        const all = await house(t, database, { LEGACY_SINGLE_USE: 'true' })
        await licence(all, { hwid: HWID })
        const session = await all.app.sessionKeys.handOut(ADDRESS)
        t.match(
          await check(all.app, session, { hwid: 'unknown' }),
          NOT_FOUND,
          'one that is not granted leaves it',
        )
        const verdicts = await Promise.all(
          Array.from({ length: MANY }, (_, i) => check(i % 2 === 0 ? all.app : all.other, session)),
        )
        t.same(countBy(verdicts.map(({ kind }) => kind)), { granted: 1, session_expired: MANY - 1 })
        t.match(await check(all.app, session), { kind: 'session_expired' })
        t.equal(await numberOf(all.db, 'kunci_events', "type = 'licence_check_allowed'"), 1)
      },
    )

    t.test('a session key that is used up stays so, even to a check that began before', async (t) => {
      const { app, db, clock } = await house(t, database, { LEGACY_SINGLE_USE: 'true' })
      const { sessionId } = await app.sessionKeys.handOut(ADDRESS)
      const { record } = checkStore(db)
      const early = app.events.build('licence_check_allowed', ACTOR)
      clock.advance(3000)
      const late = app.events.build('licence_check_allowed', ACTOR)
      t.equal(await record({ event: late, endSessionId: sessionId }), 'recorded')
      t.equal(await record({ event: early, endSessionId: sessionId }), 'session_over')
      t.equal(await numberOf(db, 'kunci_events', "type = 'licence_check_allowed'"), 1)
    })

    t.test('a session whose beginning has yet to come, by another clock, ends all the same', async (t) => {
      const { app, db, clock } = await house(t, database, { LEGACY_SINGLE_USE: 'true' })
      clock.advance(90_000)
      const { sessionId } = await app.sessionKeys.handOut(ADDRESS)
      clock.advance(-90_000)
      const { record } = checkStore(db)
      const event = () => app.events.build('licence_check_allowed', ACTOR)
      t.equal(await record({ event: event(), endSessionId: sessionId }), 'recorded')
      t.equal(await record({ event: event(), endSessionId: sessionId }), 'session_over')
      t.equal(await app.sessionKeys.findLiving(sessionId), null)
    })

    t.test('sixteen payloads that do not open end a session, however many come at once', async (t) => {
      const all = await house(t, database)
      const session = await all.app.sessionKeys.handOut(ADDRESS)
      const healthy = await all.app.sessionKeys.handOut(ADDRESS)
      const verdicts = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          check(i % 2 === 0 ? all.app : all.other, session, { payload: 'ab'.repeat(16) }),
        ),
      )
      t.same(countBy(verdicts.map(({ kind }) => kind)), { session_expired: 34, unreadable: 16 })
      t.match(await check(all.app, session), { kind: 'session_expired' }, 'a good one comes too late')
      t.match(await check(all.app, healthy), NOT_FOUND, 'another session is well')
    })

    t.test('a session opens by its row alone: with this key, wrapped for it, and this IV', async (t) => {
      const all = await house(t, database)
      const { app, db } = all
      await licence(all, { hwid: HWID })
      const [session, another] = [
        await app.sessionKeys.handOut(ADDRESS),
        await app.sessionKeys.handOut(ADDRESS),
      ]
      const { sessionId, keyHex, ivHex } = session
      const row = await app.sessionKeys.findLiving(sessionId)
      const foreign = await app.sessionKeys.findLiving(another.sessionId)
      if (row === null || foreign === null) throw new Error('a session has a row')
      const wrapped = (key: string, iv = ivHex, id = sessionId) =>
        app.sessionKeys.adopt({
          ...{ row: 1, sessionId: id, key: Buffer.from(key, 'hex'), iv: Buffer.from(iv, 'hex') },
          ...{ clientIp: ADDRESS, createdAtMs: row.createdAtMs, expiresAtMs: row.expiresAtMs },
        }).wrappedKey
      const otherIv = 'ab'.repeat(16)
      const cases: readonly (readonly [what: string, kind: string, key: string, iv: string])[] = [
        ['as it was handed out', 'granted', row.wrappedKey, ivHex],
        ['the same key, wrapped anew', 'granted', wrapped(keyHex), ivHex],
        ['its IV in upper case', 'granted', row.wrappedKey, ivHex.toUpperCase()],
        ['another key, wrapped for this row', 'unreadable', wrapped('cd'.repeat(32)), ivHex],
        [
          'the same key, wrapped for another row',
          'unreadable',
          wrapped(keyHex, ivHex, another.sessionId),
          ivHex,
        ],
        ['the key of another session', 'unreadable', foreign.wrappedKey, ivHex],
        ['the same key with another IV', 'unreadable', row.wrappedKey, otherIv],
        ['the same key, wrapped with another IV', 'unreadable', wrapped(keyHex, otherIv), ivHex],
        ['the plain key', 'unreadable', keyHex, ivHex],
        ['nothing', 'unreadable', '', ivHex],
        ['as it was, in the end', 'granted', row.wrappedKey, ivHex],
      ]
      for (const [what, kind, key, iv] of cases) {
        const sql = 'UPDATE session_keys SET session_key = ?, session_iv = ? WHERE session_id = ?'
        t.equal(await db.run(sql, [key, iv, sessionId]), 1)
        t.match(await check(app, session), { kind }, what)
      }
      const forged = { ...another, sessionId }
      t.match(
        await check(app, forged),
        { kind: 'unreadable' },
        'claims of one session under the id of another',
      )
    })

    t.test('of several licences for one machine the living one that expires last counts', async (t) => {
      const all = await house(t, database)
      const { app, clock } = all
      const dead = await licence(all, { hwid: HWID })
      await app.licences.revoke(ACTOR, dead.licence.id, null)
      t.match(await ask(app), NOT_FOUND)
      await licence(all, { hwid: HWID, expiresAtMs: clock() - 1 })
      t.match(await ask(app), { kind: 'expired' })
      const soon = await licence(all, { hwid: HWID, expiresAtMs: clock() + DAY_MS })
      t.match(await ask(app), { kind: 'granted', licence: { id: soon.licence.id } })
      const later = await licence(all, { hwid: HWID, expiresAtMs: clock() + 2 * DAY_MS })
      const suspended = await licence(all, { hwid: HWID })
      await app.licences.suspend(ACTOR, suspended.licence.id, 'unpaid')
      t.match(await ask(app), { licence: { id: later.licence.id } })
      t.match(await ask(app, { key: soon.key }), { licence: { id: soon.licence.id } }, 'a key selects alone')
      const forever = await licence(all, { hwid: HWID })
      t.match(await ask(app), { licence: { id: forever.licence.id } })
    })

    t.test('a suspended or revoked licence looks unknown from outside; the record says why', async (t) => {
      const all = await house(t, database)
      const { app } = all
      const { licence: made, key } = await licence(all, { hwid: HWID })
      const refusals = async () => {
        const events = await app.events.list({ type: 'licence_check_denied', limit: 100 })
        return events.map(({ licenceId, detail }) => [licenceId, detail.reason])
      }
      const unknown = await ask(app, { hwid: 'unknown' })
      await app.licences.suspend(ACTOR, made.id, 'unpaid')
      t.same(await ask(app), unknown)
      t.same(await ask(app, { key }), unknown)
      await app.licences.revoke(ACTOR, made.id, 'fraud')
      t.same(await ask(app), unknown)
      t.same(
        (await refusals()).sort(),
        [
          [made.id, 'revoked'],
          [made.id, 'suspended'],
          [made.id, 'suspended'],
          [null, 'unknown'],
        ].sort(),
      )
    })

    t.test('a reset frees the binding for the next machine', async (t) => {
      const all = await house(t, database)
      const { app } = all
      const { licence: made, key } = await licence(all, { hwid: 'old' })
      t.match(await ask(app, { hwid: 'new', key }), NOT_FOUND)
      const released = await app.devices.reset(ACTOR, made.id, undefined)
      t.match(released, [{ licenceId: made.id, slotNo: null, releasedAtMs: all.clock() }])
      t.same(await app.devices.reset(ACTOR, made.id, undefined), [], 'once')
      t.match(await ask(app, { hwid: 'old' }), NOT_FOUND)
      t.match(await ask(app, { hwid: 'new', key }), { kind: 'granted' })
      t.match(await ask(app, { hwid: 'old', key }), NOT_FOUND)
      const devices = await app.devices.list({ licenceId: made.id, limit: 10 })
      t.same(devices.map(({ slotNo }) => slotNo).sort(), [0, null])
      const foreign = await failureOf(app.devices.reset(ACTOR, made.id, 'dev_0000000000000000'))
      t.match(foreign, { code: 'device_not_found' })
    })

    t.test('two operators who change one licence at once do not overwrite each other', async (t) => {
      const all = await house(t, database)
      const { licence: made } = await licence(all)
      const changes = [all.app, all.other, all.app, all.other].map((app, i) =>
        app.licences.renew(ACTOR, made.id, all.clock() + (i + 1) * DAY_MS),
      )
      const results = await Promise.allSettled(changes)
      const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
      t.ok(refused.every((error) => error instanceof AppError && error.code === 'licence_state'))
      const events = await all.app.events.list({ type: 'licence_renewed', limit: 10 })
      t.equal(events.length, 4 - refused.length, 'each act that was done is a row, and no other')
      t.ok(events.length >= 1)
    })

    t.test('a product code is given once', async (t) => {
      const { app, other } = await house(t, database)
      const results = await Promise.allSettled(
        [app, other, app, other].map(({ products }) => products.create(ACTOR, 'twice', 'Twice')),
      )
      t.same(countBy(results.map(({ status }) => status)), { fulfilled: 1, rejected: 3 })
      t.same(
        (await app.products.list()).map(({ code }) => code),
        ['demo', 'twice'],
      )
    })

    t.test('licences are listed by product and state, the newest first', async (t) => {
      const all = await house(t, database)
      const { app, clock } = all
      const made: string[] = []
      for (let i = 0; i < 3; i++) {
        made.unshift((await licence(all)).licence.id)
        clock.advance(1)
      }
      await app.licences.suspend(ACTOR, made[1] ?? '', null)
      const ids = async (filter: Parameters<App['licences']['list']>[0]) =>
        (await app.licences.list(filter)).map(({ id }) => id)
      t.same(await ids({ limit: 10 }), made)
      t.same(await ids({ limit: 2 }), made.slice(0, 2))
      t.same(await ids({ limit: 10, state: 'suspended' }), [made[1]])
      t.same(await ids({ limit: 10, productId: 'prd_0000000000000000' }), [])
    })

    t.test('an operator token that is revoked is dead at once, on every server', async (t) => {
      const { app, other, db, clock } = await house(t, database)
      const { token, id } = await app.tokens.create(ACTOR, 'phone', clock() + DAY_MS)
      t.match(await other.tokens.authenticate(token), { id, name: 'phone' })
      t.equal(
        await other.tokens.authenticate(`${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`),
        null,
      )
      await app.tokens.revoke(ACTOR, id)
      t.equal(await other.tokens.authenticate(token), null)
      t.match(await failureOf(app.tokens.revoke(ACTOR, id)), { code: 'token_not_found' })
      const second = await app.tokens.create(ACTOR, 'laptop', clock() + DAY_MS)
      await db.run('DELETE FROM kunci_tokens WHERE id = ?', [second.id])
      t.equal(await other.tokens.authenticate(second.token), null)
      const third = await app.tokens.create(ACTOR, 'desk', clock() + DAY_MS)
      clock.advance(DAY_MS)
      t.equal(await other.tokens.authenticate(third.token), null, 'and one that is past its time')
      t.notMatch(JSON.stringify(await db.all('SELECT * FROM kunci_tokens')), token.slice(4, 20))
    })

    t.test('every decided check and every act is a row, with who, what and which', async (t) => {
      const all = await house(t, database)
      const { app, db, clock } = all
      const { licence: made, key } = await licence(all)
      const session = await app.sessionKeys.handOut(ADDRESS)
      const acts = [
        () => check(app, session, { key }),
        () => check(app, session),
        () => app.licences.suspend({ name: 'cli:sari', address: '::1' }, made.id, 'unpaid'),
        () => check(app, session),
        () => app.devices.reset({ name: 'token:tok_1' }, made.id, undefined),
      ]
      for (const act of acts) {
        // Ids sort by their milliseconds only.
        clock.advance(1)
        await act()
      }
      const events = await app.events.list({ licenceId: made.id, limit: 100 })
      const [device] = await app.devices.list({ licenceId: made.id, limit: 1 })
      const about = { productId: made.productId, licenceId: made.id, count: 1 }
      const checked = { ...about, actor: 'client', address: ADDRESS, supportCode: 'AAAAA-BBBBB' }
      const allowed = { ...checked, type: 'licence_check_allowed', deviceId: device?.id }
      t.match(events, [
        { ...about, type: 'licence_created', actor: 'test' },
        { ...allowed, detail: { reason: 'device_enrolled' } },
        { ...allowed, detail: { reason: 'known_device' } },
        {
          ...about,
          type: 'licence_suspended',
          actor: 'cli:sari',
          address: '::1',
          detail: { reason: 'unpaid' },
        },
        { ...checked, type: 'licence_check_denied', deviceId: null, detail: { reason: 'suspended' } },
        { ...about, type: 'device_reset', actor: 'token:tok_1', deviceId: device?.id },
      ])
      t.equal(events.length, 6)
      const text = JSON.stringify(await db.all('SELECT * FROM kunci_events'))
      t.notMatch(text, HWID, 'no raw hardware id')
      t.notMatch(text, key.slice(0, 11), 'no licence key')
    })

    t.test('nothing is done whose record cannot be written', async (t) => {
      const all = await house(t, database)
      const { app, db } = all
      const { licence: made, key } = await licence(all)
      const bound = await licence(all, { hwid: HWID })
      const session = await app.sessionKeys.handOut(ADDRESS)
      await db.run('ALTER TABLE kunci_events RENAME TO aside')
      const acts = [
        () => check(app, session),
        () => check(app, session, { hwid: 'unknown' }),
        () => check(app, session, { hwid: 'new', key }),
        () => app.licences.suspend(ACTOR, made.id, null),
        () => app.devices.reset(ACTOR, bound.licence.id, undefined),
        () => licence(all, { hwid: 'third' }),
        () => app.tokens.create(ACTOR, 'phone', null),
        () => app.products.create(ACTOR, 'second', 'Second'),
      ]
      for (const act of acts) t.type(await failureOf(act()), StoreError, String(act))
      await db.run('ALTER TABLE aside RENAME TO kunci_events')
      t.equal((await app.licences.find(made.id)).state, 'active')
      t.equal(await numberOf(db, 'kunci_licences'), 2)
      t.equal(await numberOf(db, 'kunci_devices', 'slot_no = 0'), 1)
      t.equal(await numberOf(db, 'kunci_tokens'), 0)
      t.equal(await numberOf(db, 'kunci_products'), 1)
      t.match(await check(app, session), { kind: 'granted' }, 'healed without a restart')
    })

    t.test('a device is seen once a minute at most', async (t) => {
      const all = await house(t, database)
      const { app, clock } = all
      const { licence: made } = await licence(all, { hwid: HWID })
      const seenMs = async () => (await app.devices.list({ licenceId: made.id, limit: 1 }))[0]?.lastSeenMs
      t.equal(await seenMs(), null)
      await ask(app)
      const first = clock()
      t.equal(await seenMs(), first)
      clock.advance(MINUTE_MS / 2)
      await ask(app)
      t.equal(await seenMs(), first)
      clock.advance(MINUTE_MS)
      await ask(app)
      t.equal(await seenMs(), clock())
    })

    t.test(
      'refusals of strangers are one row per cause, address and minute, whoever counts them',
      async (t) => {
        const { app, other, db, clock } = await house(t, database)
        clock.advance(MINUTE_MS - (clock() % MINUTE_MS))
        const minuteMs = clock()
        const refuse = (address: string, times: number) => {
          for (let i = 0; i < times; i++)
            for (const { events } of [app, other]) events.refuse('authn_token_refused', address)
        }
        const flush = () => Promise.all([app.events.flush(), other.events.flush()])
        refuse(ADDRESS, 3)
        await flush()
        clock.advance(MINUTE_MS - 1)
        refuse(ADDRESS, 2)
        refuse('203.0.113.5', 1)
        app.events.refuse('input_validation_fail', ADDRESS)
        await flush()
        clock.advance(1)
        refuse(ADDRESS, 1)
        await flush()
        const rows = (await app.events.list({ limit: 100 })).filter(({ actor }) => actor === 'client')
        const facts = rows.map(({ atMs, type, address, count }) =>
          [atMs - minuteMs, type, address, count].join(' '),
        )
        t.same(facts.sort(), [
          `0 authn_token_refused ${ADDRESS} 10`,
          '0 authn_token_refused 203.0.113.5 2',
          `0 input_validation_fail ${ADDRESS} 1`,
          `${MINUTE_MS} authn_token_refused ${ADDRESS} 2`,
        ])
        t.equal(await numberOf(db, 'kunci_events', "actor = 'client'"), 4)
      },
    )

    t.test('refusals that the database did not take are counted later', async (t) => {
      const { app, db } = await house(t, database)
      app.events.refuse('authn_token_refused', ADDRESS)
      await db.run('ALTER TABLE kunci_events RENAME TO aside')
      await app.events.flush()
      app.events.refuse('authn_token_refused', ADDRESS)
      await app.events.flush()
      await db.run('ALTER TABLE aside RENAME TO kunci_events')
      await app.events.flush()
      const rows = await app.events.list({ type: 'authn_token_refused', limit: 10 })
      t.same(
        rows.map(({ count }) => count),
        [2],
      )
      await app.events.flush()
      t.equal((await app.events.list({ type: 'authn_token_refused', limit: 10 }))[0]?.count, 2)
    })

    t.test('events are found by type, support code and licence, the newest of them', async (t) => {
      const all = await house(t, database)
      const { app, clock } = all
      const { licence: made } = await licence(all, { hwid: HWID })
      for (let i = 0; i < 3; i++) {
        clock.advance(1)
        await ask(app)
      }
      const { list } = app.events
      const allowed = await list({ type: 'licence_check_allowed', limit: 2 })
      t.same(
        allowed.map(({ atMs }) => atMs),
        [clock() - 1, clock()],
        'oldest first',
      )
      t.equal((await list({ supportCode: 'AAAAA-BBBBB', limit: 10 })).length, 3)
      t.equal((await list({ supportCode: 'AAAAA-CCCCC', limit: 10 })).length, 0)
      t.equal((await list({ licenceId: made.id, limit: 10 })).length, 4)
      t.same(await list({ fromId: allowed[1]?.id, limit: 10 }), allowed.slice(1))
    })

    t.test('hundreds of checks at once are each decided and recorded', async (t) => {
      const all = await house(t, database)
      const { app, other, db } = all
      const hwids = Array.from({ length: 10 }, (_, i) => `machine${i}`)
      for (const hwid of hwids) await licence(all, { hwid })
      const verdicts = await Promise.all(
        Array.from({ length: 200 }, (_, i) => ask(i % 2 === 0 ? app : other, { hwid: `machine${i % 20}` })),
      )
      t.same(countBy(verdicts.map(({ kind }) => kind)), { granted: 100, not_found: 100 })
      t.equal(await numberOf(db, 'kunci_events', "type LIKE 'licence_check_%'"), 200)
    })
  })
