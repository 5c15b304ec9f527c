import {
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
  verify,
} from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import t, { type Test } from 'tap'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { count, type Installation, sql } from '../support/installation.ts'
import { type Bench, handOut } from '../support/legacy.ts'
import { injecting, openSession, pinOf } from '../support/sealed.ts'
import {
  type Answer,
  addUser,
  ask,
  at,
  clientOf,
  clientWith,
  isIn,
  login,
  openHouse,
  PASSWORD,
  START_MS,
  signIn,
} from '../support/users.ts'

const ANI = 'ani@example.com'
const ADMIN = 'admin@example.com'
const DAY_MS = 24 * 60 * 60_000
const STEP_MS = 30_000

const rowsOf = ({ config }: Bench): Installation => ({ config, env: {} })

function codesOf(secret: string) {
  const totp = new TOTP({ secret: Secret.fromBase32(secret) })
  return (ms: number) => totp.generate({ timestamp: ms })
}

function partsOf(token: string) {
  const [head = '', payload = '', signature = ''] = token.split('.')
  const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
  return { header: read(head), claims: read(payload), signed: `${head}.${payload}`, signature }
}

const b64u = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token of any header and claims, signed as we please. */
function forge(header: object, claims: object, sign: (text: Buffer) => Buffer): string {
  const signed = `${b64u(header)}.${b64u(claims)}`
  return `${signed}.${sign(Buffer.from(signed)).toString('base64url')}`
}

/** The same bytes in base64url that ends in other spare bits, as lenient decoders take it. */
function respelt(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return `${text.slice(0, -1)}${alphabet[alphabet.indexOf(text.slice(-1)) + 1]}`
}

function refusal({ status, body }: Answer) {
  return `${status} ${body.code}`
}

/** One-time codes switched on; the codes that the authenticator shows, and the recovery codes. */
async function withTotp(t: Test, bench: Bench, email: string) {
  const client = await signIn(at(bench), email)
  const offer = (await client.ask('POST /api/auth/totp')).body.data
  const codeAt = codesOf(offer.secret)
  const confirmed = await client.ask('POST /api/auth/totp/confirm', {
    ...{ password: PASSWORD, secret: offer.secret, code: codeAt(bench.clock()) },
  })
  t.equal(confirmed.status, 200)
  return { client, offer, codeAt, recoveryCodes: confirmed.body.data.recoveryCodes as string[] }
}

function signingTests(t: Test, database: TestDatabase): void {
  t.test('the requests of the AdonisJS document are answered with its members, to the letter', async (t) => {
    const bench = await openHouse(t, database)
    const { id } = await addUser(bench.app, ANI)
    await addUser(bench.app, ADMIN, 'admin')
    const answer = await login(at(bench), ` ANI@Example.com `, {
      headers: { 'user-agent': 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0' },
    })
    const ani = clientOf(at(bench), answer)
    t.match(answer.body, { token: { token: /^eyJ/ }, sessionId: /^[0-9a-f]{32}$/ })
    t.same(answer.body, {
      message: 'Login berhasil',
      token: {
        type: 'bearer',
        token: ani.token,
        expires_at: new Date(START_MS + 30 * DAY_MS).toISOString(),
      },
      user: { id, email: ANI, fullName: 'Name of ani', isActive: true, roles: ['user'] },
      sessionId: ani.sessionId,
    })
    t.equal(answer.headers['cache-control'], 'no-store')

    const admin = await signIn(at(bench), ADMIN)
    const headers = { 'x-session-id': admin.sessionId }
    const lists = [
      await admin.ask('GET /api/user-sessions/active-users', undefined, headers),
      await admin.ask(`GET /api/user-sessions/user/${id}/sessions`, undefined, headers),
    ]
    for (const { status, body } of lists) {
      t.equal(status, 200)
      t.equal(body.success, true)
      const session = body.data.find(({ userId }: { userId: number }) => userId === id)
      t.ok(Number.isSafeInteger(session.id))
      const ofDocument = {
        ...{ userId: id, sessionId: ani.sessionId, ipAddress: '198.51.100.7' },
        ...{ userAgent: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0', deviceType: 'desktop' },
        ...{ isActive: true, lastActivity: '2031-01-01T00:00:00.000Z' },
        ...{ loginAt: '2031-01-01T00:00:00.000Z', logoutAt: null },
        user: { id, email: ANI, fullName: 'Name of ani' },
      }
      t.has(session, ofDocument)
    }
    const forced = await admin.ask(
      `POST /api/user-sessions/force-logout/${ani.sessionId}`,
      undefined,
      headers,
    )
    t.match(forced, {
      status: 200,
      body: {
        success: true,
        data: { isActive: false, logoutAt: '2031-01-01T00:00:00.000Z', endReason: 'forced' },
      },
    })
    t.notOk(await isIn(ani))
    const cleaned = await admin.ask('POST /api/user-sessions/cleanup-expired', undefined, headers)
    t.match(cleaned, { status: 200, body: { success: true, data: { ended: 0 } } })
  })

  t.test('me says who I am, and logging out ends the one session that did', async (t) => {
    const bench = await openHouse(t, database)
    const user = await addUser(bench.app, ANI)
    const [one, other] = [await signIn(at(bench), ANI), await signIn(at(bench), ANI)]
    t.match((await one.ask('GET /api/auth/me')).body, {
      user: { id: user.id, email: ANI, roles: ['user'] },
      sessionId: one.sessionId,
      session: { sessionId: one.sessionId, isActive: true },
    })
    t.match(await one.ask('POST /api/auth/logout'), { status: 200, body: { message: 'Logout berhasil' } })
    t.notOk(await isIn(one))
    t.ok(await isIn(other))
    t.equal(refusal(await one.ask('POST /api/auth/logout')), '401 sign_in_required')
    t.match(await bench.app.sessions.find(one.sessionId), { endReason: 'logout', endedBy: `user:${user.id}` })
  })

  t.test('unknown, wrong and disabled are one answer', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    await bench.app.users.disable({ name: 'test' }, await addUser(bench.app, 'gone@example.com'))
    const wrong = [
      await login(at(bench), 'nobody@example.com'),
      await login(at(bench), 'no address'),
      await login(at(bench), ANI, { password: `${PASSWORD}!` }),
      await login(at(bench), ANI, { password: 'x'.repeat(1024) }),
      await login(at(bench), 'gone@example.com'),
      await login(at(bench), 'gone@example.com', { password: 'another password' }),
    ]
    for (const { status, body, headers } of wrong) {
      const { request_id, ...said } = body
      t.same([status, said], [401, { status: 'error', code: 'invalid_credentials', message: said.message }])
      t.equal(headers['retry-after'], undefined)
    }
    t.equal(new Set(wrong.map(({ body }) => body.message)).size, 1)
    t.equal(await count(rowsOf(bench), 'user_sessions'), 0)
  })

  t.test('each code of an authenticator is good once, and none of an earlier step after it', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    const { offer, codeAt, client } = await withTotp(t, bench, ANI)
    t.match(offer.uri, /^otpauth:\/\/totp\/.*ani.*secret=/)
    t.equal(refusal(await client.ask('POST /api/auth/totp')), '409 totp_state')
    const house = at(bench)
    t.equal(refusal(await login(house, ANI)), '401 totp_required')
    t.equal(refusal(await login(house, ANI, { password: 'wrong' })), '401 invalid_credentials', 'not before')
    const used = codeAt(bench.clock())
    t.equal(
      refusal(await login(house, ANI, { code: used })),
      '401 invalid_credentials',
      'it confirmed already',
    )
    bench.clock.advance(STEP_MS)
    const code = codeAt(bench.clock())
    const both = await Promise.all([login(house, ANI, { code }), login(house, ANI, { code })])
    t.same(both.map(({ status }) => status).sort(), [200, 401], 'of two at once one gets in')
    t.equal(refusal(await login(house, ANI, { code: used })), '401 invalid_credentials')
    bench.clock.advance(3 * STEP_MS)
    const late = codeAt(bench.clock() - STEP_MS)
    t.equal((await login(house, ANI, { code: `${late.slice(0, 3)} ${late.slice(3)}` })).status, 200)
    t.equal(
      refusal(await login(house, ANI, { code: codeAt(bench.clock() - 2 * STEP_MS) })),
      '401 invalid_credentials',
    )
    t.equal((await login(house, ANI, { code: codeAt(bench.clock()) })).status, 200)
    const [{ totp_secret: stored }] = (await sql(rowsOf(bench), 'SELECT totp_secret FROM kunci_users')) as [
      { totp_secret: string },
    ]
    t.match(stored, /^u1\./)
    t.notMatch(stored, offer.secret)
  })

  t.test('each recovery code is good once, and gone when codes are switched off', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    const house = at(bench)
    const { recoveryCodes, client } = await withTotp(t, bench, ANI)
    t.equal(new Set(recoveryCodes).size, 10)
    const [first = '', second = '', third = ''] = recoveryCodes
    const both = await Promise.all([login(house, ANI, { code: first }), login(house, ANI, { code: first })])
    t.same(both.map(({ status }) => status).sort(), [200, 401])
    t.equal(refusal(await login(house, ANI, { code: first })), '401 invalid_credentials')
    t.equal((await login(house, ANI, { code: second.toLowerCase().replace('-', ' ') })).status, 200)
    t.equal(await count(rowsOf(bench), 'kunci_recovery_codes', `code_hash = '${third}'`), 0, 'kept as hashes')
    const used = await bench.app.events.list({ type: 'authn_recovery_code_used', limit: 10 })
    t.equal(used.length, 2)
    t.equal(
      refusal(await client.ask('DELETE /api/auth/totp', { password: 'wrong' })),
      '401 invalid_credentials',
    )
    t.equal((await client.ask('DELETE /api/auth/totp', { password: PASSWORD })).status, 200)
    t.equal(await count(rowsOf(bench), 'kunci_recovery_codes'), 0)
    t.equal((await login(house, ANI)).status, 200)
    t.equal(refusal(await client.ask('DELETE /api/auth/totp', { password: PASSWORD })), '409 totp_state')
  })

  t.test(
    'of two who switch one-time codes on at once one counts, with secret and recovery codes',
    async (t) => {
      const bench = await openHouse(t, database)
      await addUser(bench.app, ANI)
      const house = at(bench)
      const client = await signIn(house, ANI)
      const confirm = async () => {
        const { secret } = (await client.ask('POST /api/auth/totp')).body.data
        const code = codesOf(secret)(bench.clock())
        return { secret, code }
      }
      const wishes = [await confirm(), await confirm()]
      const answers = await Promise.all(
        wishes.map((wish) => client.ask('POST /api/auth/totp/confirm', { password: PASSWORD, ...wish })),
      )
      // One after the other both do, and the later counts.
      t.ok(answers.every(({ status }) => [200, 401].includes(status)))
      t.equal(await count(rowsOf(bench), 'kunci_recovery_codes'), 10)
      const good = []
      for (const [i, { status, body }] of answers.entries())
        if (status === 200 && (await login(house, ANI, { code: body.data.recoveryCodes[0] })).status === 200)
          good.push(wishes[i]!.secret)
      t.equal(good.length, 1)
      bench.clock.advance(STEP_MS)
      t.equal((await login(house, ANI, { code: codesOf(good[0]!)(bench.clock()) })).status, 200)
    },
  )

  t.test('a wrong confirmation switches nothing on', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    const client = await signIn(at(bench), ANI)
    const { secret } = (await client.ask('POST /api/auth/totp')).body.data
    const code = codesOf(secret)(bench.clock())
    const confirm = (body: object) => client.ask('POST /api/auth/totp/confirm', body)
    t.equal(refusal(await confirm({ password: 'wrong', secret, code })), '401 invalid_credentials')
    t.equal(refusal(await confirm({ password: PASSWORD, secret, code: '000000' })), '422 totp_invalid')
    t.equal(refusal(await confirm({ password: PASSWORD, secret: 'A'.repeat(32), code })), '422 totp_invalid')
    t.equal(
      refusal(await confirm({ password: PASSWORD, secret: '1'.repeat(32), code })),
      '400 invalid_request',
    )
    t.equal((await login(at(bench), ANI)).status, 200)
    t.equal(await count(rowsOf(bench), 'kunci_recovery_codes'), 0)
  })

  t.test('who changes his password stays where he is and is signed out elsewhere', async (t) => {
    const bench = await openHouse(t, database)
    const user = await addUser(bench.app, ANI)
    const [here, elsewhere] = [await signIn(at(bench), ANI), await signIn(at(bench), ANI)]
    const change = (password: string, newPassword: string) =>
      here.ask('POST /api/auth/password', { password, newPassword })
    t.equal(refusal(await change('wrong', 'a good long new password')), '401 invalid_credentials')
    t.equal(refusal(await change(PASSWORD, 'short')), '422 password_too_short')
    t.equal(refusal(await change(PASSWORD, `${ANI} kunci`)), '422 password_too_common')
    t.ok(await isIn(elsewhere), 'nothing has changed')
    t.equal((await change(PASSWORD, 'a good long new password')).status, 200)
    t.ok(await isIn(here))
    t.notOk(await isIn(elsewhere))
    t.match(await bench.app.sessions.find(elsewhere.sessionId), { endReason: 'password_changed' })
    t.equal(refusal(await login(at(bench), ANI)), '401 invalid_credentials')
    t.equal((await login(at(bench), ANI, { password: 'a good long new password' })).status, 200)
    t.equal(await bench.app.users.setPassword({ name: 'test' }, user, PASSWORD), 2)
    t.notOk(await isIn(here), "an operator's reset ends them all")
  })

  t.test('a password that an operator sets is not undone by its owner of a moment before', async (t) => {
    const bench = await openHouse(t, database)
    const user = await addUser(bench.app, ANI)
    const here = await signIn(at(bench), ANI)
    bench.clock.advance(1)
    const reset = 'what the operator has set'
    const mine = 'what the owner wants to set'
    const [answer] = await Promise.all([
      here.ask('POST /api/auth/password', { password: PASSWORD, newPassword: mine }),
      bench.app.users.setPassword({ name: 'test' }, user, reset),
    ])
    const opens = await Promise.all([mine, reset].map((password) => login(at(bench), ANI, { password })))
    const [ofOwner, ofOperator] = opens.map(({ status }) => status)
    t.equal(ofOperator, 200, `the operator's counts; the owner was told ${answer.status}`)
    t.equal(ofOwner, 401)
    t.notOk(await isIn(here))
  })
}

function setupTests(t: Test, database: TestDatabase): void {
  const user = { email: 'first@example.com', fullName: 'First', password: 'the very first password' }

  t.test('the set-up code makes one superadmin, once, within an hour', async (t) => {
    const bench = await openHouse(t, database)
    const house = at(bench)
    const setup = (code: string, body: object = user) =>
      ask(house, 'POST /api/setup', { body: { code, ...body } })
    const stale = (await bench.app.setup.newCode()) ?? ''
    t.match(stale, /^([0-9A-Z]{4}-){3}[0-9A-Z]{4}$/)
    bench.clock.advance(60 * 60_000)
    t.equal(refusal(await setup(stale)), '401 setup_code_invalid', 'an hour is over')
    const replaced = (await bench.app.setup.newCode()) ?? ''
    const code = (await bench.app.setup.newCode()) ?? ''
    t.equal(refusal(await setup(replaced)), '401 setup_code_invalid', 'a newer one counts')
    t.equal(refusal(await setup('0000-0000-0000-0000')), '401 setup_code_invalid')
    t.equal(refusal(await setup(code, { ...user, password: 'short' })), '422 password_too_short')
    const [{ value }] = (await sql(
      rowsOf(bench),
      "SELECT value FROM kunci_settings WHERE name = 'setup-code'",
    )) as [{ value: string }]
    t.match(value, /^[0-9a-f]{64}$/, 'kept as a hash')
    const others = { ...user, email: 'second@example.com' }
    const both = await Promise.all([setup(code.toLowerCase()), setup(code, others)])
    t.same(both.map(({ status }) => status).sort(), [201, 401], 'of two with one code one is made')
    t.match(both.find(({ status }) => status === 201)?.body, { roles: ['superadmin'], isActive: true })
    t.equal(await count(rowsOf(bench), 'kunci_users'), 1)
    t.equal(refusal(await setup(code)), '401 setup_code_invalid', 'it is used up')
    t.equal(await bench.app.setup.newCode(), null, 'and nobody needs another')
  })

  t.test('without the set-up code nobody learns whose email is known', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    const code = (await bench.app.setup.newCode()) ?? ''
    const setup = (code: string, body: object) =>
      ask(at(bench), 'POST /api/setup', { body: { code, ...body } })
    for (const wrong of [
      { ...user, email: ANI },
      { ...user, email: 'no address' },
      { ...user, password: 'short' },
      { ...user, fullName: ' ' },
    ])
      t.equal(
        refusal(await setup('0000-0000-0000-0000', wrong)),
        '401 setup_code_invalid',
        JSON.stringify(wrong),
      )
    t.equal(refusal(await setup(code, { ...user, email: ANI })), '409 user_exists')
    t.equal((await setup(code, user)).status, 201)
  })

  t.test('a code is worth nothing once there is a superadmin, whoever made him', async (t) => {
    const bench = await openHouse(t, database)
    const code = (await bench.app.setup.newCode()) ?? ''
    await addUser(bench.app, 'root@example.com', 'superadmin')
    const answer = await ask(at(bench), 'POST /api/setup', { body: { code, ...user } })
    t.equal(refusal(answer), '401 setup_code_invalid')
    t.equal(await count(rowsOf(bench), 'kunci_users'), 1)
  })
}

function tokenTests(t: Test, database: TestDatabase): void {
  t.test('a token says whose it is, and the published keys verify it', async (t) => {
    const bench = await openHouse(t, database)
    const user = await addUser(bench.app, ANI)
    const ani = await signIn(at(bench), ANI)
    const { header, claims, signed, signature } = partsOf(ani.token)
    const jwks = JSON.parse((await at(bench).send('/.well-known/jwks.json', { method: 'GET' })).text)
    const jwk = jwks.keys.find(({ kid }: { kid: string }) => kid === header.kid)
    t.match(header, { alg: 'EdDSA', typ: 'kunci-session+jwt' })
    t.ok(verify(null, Buffer.from(signed), { key: jwk, format: 'jwk' }, Buffer.from(signature, 'base64url')))
    t.match(claims, {
      ...{ sub: String(user.id), sid: ani.sessionId, iss: bench.app.issuer, aud: 'kunci-users' },
      ...{ iat: START_MS / 1000, exp: (START_MS + 30 * DAY_MS) / 1000 },
    })
    t.same(Object.keys(claims).sort(), ['aud', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub'], 'and nothing more')
  })

  t.test('no token gets through but the one that was given, while its session lives', async (t) => {
    const bench = await openHouse(t, database)
    await addUser(bench.app, ANI)
    await addUser(bench.app, 'budi@example.com')
    const house = at(bench)
    const [ani, other, budi] = [
      await signIn(house, ANI),
      await signIn(house, ANI),
      await signIn(house, 'budi@example.com'),
    ]
    const { header, claims, signed, signature } = partsOf(ani.token)
    const [own] = bench.app.keyPairs.jwt()
    if (own === undefined) throw new Error('no key')
    const ownKey: KeyObject = own.privateKey
    const bySelf = (text: Buffer) => signBytes(null, text, ownKey)
    const [leases] = bench.app.keyPairs.lease()
    const byLeaseKey = (text: Buffer) =>
      signBytes('sha256', text, { key: leases!.privateKey, dsaEncoding: 'ieee-p1363' })
    const legacy = await handOut(bench)
    const stranger = generateKeyPairSync('ed25519')
    const spki = createPublicKey(ownKey).export({ format: 'pem', type: 'spki' })
    const hmac = (key: string | Buffer) => (text: Buffer) => createHmac('sha256', key).update(text).digest()
    const x = Buffer.from(own.publicJwk.x, 'base64url')
    const without = (name: string) =>
      Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name))
    const sealed = await openSession(injecting(bench), pinOf(bench.app))
    t.ok(
      await isIn(clientWith(house, forge(header, claims, bySelf), ani.sessionId)),
      'the forger knows his trade',
    )
    const forged: Record<string, string> = {
      'alg none': `${b64u({ ...header, alg: 'none' })}.${b64u(claims)}.`,
      'alg none, signed': forge({ ...header, alg: 'none' }, claims, bySelf),
      'HS256 under the public key in PEM': forge({ ...header, alg: 'HS256' }, claims, hmac(String(spki))),
      'HS256 under the public key': forge({ ...header, alg: 'HS256' }, claims, hmac(x)),
      'HS256 under nothing': forge({ ...header, alg: 'HS256' }, claims, hmac('')),
      "a stranger's key": forge(header, claims, (text) => signBytes(null, text, stranger.privateKey)),
      "a stranger's key, which comes along": forge(
        { ...header, jwk: stranger.publicKey.export({ format: 'jwk' }) },
        claims,
        (text) => signBytes(null, text, stranger.privateKey),
      ),
      'no typ': forge({ alg: 'EdDSA', kid: header.kid }, claims, bySelf),
      'typ JWT': forge({ ...header, typ: 'JWT' }, claims, bySelf),
      'the typ of sealed sessions': forge({ ...header, typ: 'dsk-at+jwt' }, claims, bySelf),
      'another audience': forge(header, { ...claims, aud: 'dsk-api' }, bySelf),
      'no audience': forge(header, without('aud'), bySelf),
      'another issuer': forge(header, { ...claims, iss: 'urn:kunci:other' }, bySelf),
      'no issuer': forge(header, without('iss'), bySelf),
      'no jti': forge(header, without('jti'), bySelf),
      'no exp': forge(header, without('exp'), bySelf),
      'a kid __proto__': forge({ ...header, kid: '__proto__' }, claims, bySelf),
      'a kid constructor': forge({ ...header, kid: 'constructor' }, claims, bySelf),
      'a kid that is no text': forge({ ...header, kid: { toString: 1 } }, claims, bySelf),
      'no kid': forge({ alg: 'EdDSA', typ: header.typ }, claims, bySelf),
      'a path as kid': forge({ ...header, kid: '../../etc/passwd' }, claims, bySelf),
      "another user's id": forge(header, { ...claims, sub: String(partsOf(budi.token).claims.sub) }, bySelf),
      "another user's session": forge(header, { ...claims, sid: budi.sessionId }, bySelf),
      'a session that never was': forge(header, { ...claims, sid: '0'.repeat(32) }, bySelf),
      'a sub that is a list': forge(header, { ...claims, sub: [claims.sub, 1] }, bySelf),
      'a sid that is a list': forge(header, { ...claims, sid: [claims.sid, 1] }, bySelf),
      'no signature': `${signed}.`,
      'its signature of other claims': `${b64u(header)}.${b64u({ ...claims, iat: 0 })}.${signature}`,
      'a signature cut short': ani.token.slice(0, -4),
      'more parts': `${ani.token}.AAAA`,
      'fewer parts': signed,
      'a token of a sealed session': sealed.token,
      'a token of the old contract': legacy.token,
      'HS256 under the secret of the old contract': forge(
        { ...header, alg: 'HS256' },
        claims,
        hmac(bench.app.legacySecrets()[0]),
      ),
      'ES256 under the key of leases': forge({ ...header, alg: 'ES256' }, claims, byLeaseKey),
      'EdDSA in small letters': forge({ ...header, alg: 'eddsa' }, claims, bySelf),
      'its signature in another spelling': `${signed}.${respelt(signature)}`,
      'its signature with padding': `${ani.token}==`,
      'critical extensions that nobody knows': forge({ ...header, crit: ['x'], x: 1 }, claims, bySelf),
      garbage: 'garbage',
      dots: '..',
      'a long one': `${ani.token}${'A'.repeat(8000)}`,
      'no UTF-8': Buffer.from([0xff, 0xfe, 0x2e, 0xff]).toString('latin1'),
    }
    for (const [what, token] of Object.entries(forged)) {
      const answer = await clientWith(house, token, '').ask('GET /api/auth/me')
      t.equal(refusal(answer), '401 sign_in_required', what)
      t.equal(answer.headers['www-authenticate'], 'Bearer', what)
    }
    const named = (id: string) => ani.ask('GET /api/auth/me', undefined, { 'x-session-id': id })
    for (const wrong of [
      other.sessionId,
      budi.sessionId,
      '',
      ani.sessionId.toUpperCase(),
      `${ani.sessionId} x`,
    ])
      t.equal(refusal(await named(wrong)), '401 sign_in_required', `x-session-id ${wrong}`)
    t.equal((await named(ani.sessionId)).status, 200)
    for (const scheme of ['Basic', 'Token', ''])
      t.equal(
        (await ask(house, 'GET /api/auth/me', { headers: { authorization: `${scheme} ${ani.token}` } }))
          .status,
        401,
      )
    t.equal((await ask(house, 'GET /api/auth/me?token='.concat(ani.token))).status, 401, 'never from a URL')
    t.equal((await ask(house, 'GET /api/auth/me', { headers: { cookie: `token=${ani.token}` } })).status, 401)

    for (const [path, body] of [
      ['/v1/call', sealed.seal('ping', {}).body],
      ['/api/1.php', { hwid: 'ab'.repeat(16) }],
      ['/api/admin/events', undefined],
    ] as const) {
      const route = `${body === undefined ? 'GET' : 'POST'} ${path}`
      t.equal((await ani.ask(route, body)).status, 401, `a user's token at ${path}`)
    }
    bench.clock.advance(30 * DAY_MS)
    t.notOk(await isIn(ani), 'expired')
  })
}

for (const database of DATABASES)
  t.test(`on ${database.name}`, async (t) => {
    signingTests(t, database)
    setupTests(t, database)
    tokenTests(t, database)
  })
