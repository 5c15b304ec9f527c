import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { createApp, migrateDatabase } from '../../src/app.ts'
import { createServer } from '../../src/http/server.ts'
import { createLogger } from '../../src/log.ts'
import { ROLES, type Role } from '../../src/store/accounts.ts'
import { freshConfig } from '../support/databases.ts'
import { ACTOR, handOut, openBench } from '../support/legacy.ts'
import { injecting, openSession, pinOf } from '../support/sealed.ts'
import { addUser, at, CHEAP, signIn } from '../support/users.ts'

const PUBLIC = 'anybody'
const CLIENT = 'a client with a living session token'
const SEALED = 'who holds the key of a sealed session'
const USER = 'whoever is signed in'
const ADMIN = 'an admin or superadmin who is signed in'
const OPERATOR = 'an operator'

/** Every route, and who may pass its door. A route that is missing here fails the test below. */
const WHO_MAY_PASS: Record<string, string> = {
  'GET /health/live': PUBLIC,
  'GET /health/ready': PUBLIC,
  'GET /.well-known/jwks.json': PUBLIC,
  'GET /.well-known/dsk1-keys.jwt': PUBLIC,
  'GET /api/auth/get-session-key': PUBLIC,
  'POST /api/auth/get-session-key': PUBLIC,
  'GET /api/auth/get-session-key.php': PUBLIC,
  'POST /api/auth/get-session-key.php': PUBLIC,
  'POST /v1/session': PUBLIC,
  'POST /v1/call': SEALED,
  'GET /api/1.php': CLIENT,
  'POST /api/1.php': CLIENT,
  'GET /api/licence/check': CLIENT,
  'POST /api/licence/check': CLIENT,
  'GET /api/admin/events': OPERATOR,
  'GET /api/admin/counters': OPERATOR,
  'POST /api/auth/login': PUBLIC,
  'POST /api/auth/take-over': PUBLIC,
  'POST /api/setup': PUBLIC,
  'GET /api/auth/me': USER,
  'POST /api/auth/logout': USER,
  'POST /api/auth/password': USER,
  'POST /api/auth/totp': USER,
  'POST /api/auth/totp/confirm': USER,
  'DELETE /api/auth/totp': USER,
  'GET /api/sessions': USER,
  'DELETE /api/sessions': USER,
  'DELETE /api/sessions/:sessionId': USER,
  'POST /api/sessions/answer': USER,
  'GET /api/events': USER,
  'POST /api/events/ticket': USER,
  'GET /api/events/poll': USER,
  'GET /api/user-sessions/active-users': ADMIN,
  'GET /api/user-sessions/user/:userId/sessions': ADMIN,
  'POST /api/user-sessions/force-logout/:sessionId': ADMIN,
  'POST /api/user-sessions/cleanup-expired': ADMIN,
}

/** What is not in form is refused before anything else is asked. */
const WELL_FORMED_CALL = {
  ...{ v: 1, session_id: '0'.repeat(64), seq: 1, op: 'ping' },
  ...{ salt: 'A'.repeat(22), box: 'AAAA' },
}

function routesOf(server: FastifyInstance): string[] {
  const routes: string[] = []
  const lines = server.printRoutes({ commonPrefix: false, includeHooks: false }).split('\n')
  const path: string[] = []
  for (const line of lines) {
    const [, indent = '', segment = '', methods = ''] =
      /^([\s│]*)[├└]── (.*?) \(([A-Z, ]+)\)$/.exec(line) ?? []
    if (segment === '') continue
    const depth = indent.length / 4
    path.length = depth
    path[depth] = segment
    for (const method of methods.split(', ')) routes.push(`${method} ${path.join('')}`)
  }
  return routes.filter((route) => !/ \/docs/.test(route))
}

t.test('every route is known to this table, and every row of the table is a route', async (t) => {
  const bench = await openBench(t, await freshConfig(t))
  await bench.server.ready()
  t.same(routesOf(bench.server).sort(), Object.keys(WHO_MAY_PASS).sort())
})

t.test('every route lets through exactly the callers of its door', async (t) => {
  const bench = await openBench(t, await freshConfig(t, { ...CHEAP, RATE_LIMIT_PER_MINUTE: '0' }))
  const { token: session } = await handOut(bench)
  const sealed = await openSession(injecting(bench), pinOf(bench.app))
  for (const role of ROLES) await addUser(bench.app, `${role}@example.com`, role)
  const operator = await bench.app.tokens.create(ACTOR, 'console', null)
  const revoked = await bench.app.tokens.create(ACTOR, 'old', null)
  await bench.app.tokens.revoke(ACTOR, revoked.id)
  const expired = await bench.app.tokens.create(ACTOR, 'gone', bench.clock() - 1)
  // Signed in anew for each request, as some sign out.
  const signedIn = (role: Role) => async () =>
    `Bearer ${(await signIn(at(bench), `${role}@example.com`)).token}`
  type Authorization = string | (() => Promise<string>) | undefined
  const callers: [who: string, authorization: Authorization, passes: string[]][] = [
    ['nobody', undefined, [PUBLIC]],
    ['garbage', 'Bearer garbage', [PUBLIC]],
    ['no scheme', operator.token, [PUBLIC]],
    ['another scheme', `Basic ${operator.token}`, [PUBLIC]],
    ['a client', `Bearer ${session}`, [PUBLIC, CLIENT]],
    ['an operator', `Bearer ${operator.token}`, [PUBLIC, OPERATOR]],
    ['a revoked operator', `Bearer ${revoked.token}`, [PUBLIC]],
    ['an expired operator', `Bearer ${expired.token}`, [PUBLIC]],
    ['a sealed session', `Bearer ${sealed.token}`, [PUBLIC]],
    ['a user', signedIn('user'), [PUBLIC, USER]],
    ['an admin', signedIn('admin'), [PUBLIC, USER, ADMIN]],
    ['a superadmin', signedIn('superadmin'), [PUBLIC, USER, ADMIN]],
  ]
  for (const [route, door] of Object.entries(WHO_MAY_PASS))
    for (const [who, given, passes] of callers) {
      const [method = 'GET', url = ''] = route.split(' ')
      const authorization = typeof given === 'function' ? await given() : given
      const headers = authorization === undefined ? {} : { authorization }
      const payload = door === SEALED ? WELL_FORMED_CALL : undefined
      const reply = await bench.server.inject({
        ...{ method: method as 'POST', url, headers, payloadAsStream: true, query: { wait: '0' } },
        ...(payload === undefined ? {} : { payload }),
      })
      // A stream has no end of its own.
      reply.stream().destroy()
      const { statusCode } = reply
      t.equal(![401, 403].includes(statusCode), passes.includes(door), `${route} as ${who}: ${statusCode}`)
    }
})

t.test('an operator token is dead from the request after its revocation', async (t) => {
  const bench = await openBench(t, await freshConfig(t))
  const operator = await bench.app.tokens.create(ACTOR, 'console', null)
  const headers = { authorization: `Bearer ${operator.token}` }
  const status = async () => (await bench.server.inject({ url: '/api/admin/events', headers })).statusCode
  t.equal(await status(), 200)
  await bench.app.tokens.revoke(ACTOR, operator.id)
  t.equal(await status(), 401)
})

t.test('the OpenAPI document names every route but the documentation itself', async (t) => {
  const bench = await openBench(t, await freshConfig(t))
  const document = (await bench.server.inject('/docs/json')).json()
  const documented = Object.entries<Record<string, unknown>>(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  )
  t.same(documented.sort(), Object.keys(WHO_MAY_PASS).sort())
  t.equal((await bench.server.inject('/docs/')).statusCode, 200)
})

t.test('browsers are told to insist on HTTPS only where there is HTTPS', async (t) => {
  const plain = await openBench(t, await freshConfig(t))
  const { headers } = await plain.server.inject('/health/live')
  t.equal(headers['strict-transport-security'], undefined)
  t.notMatch(headers['content-security-policy'], /upgrade-insecure/)
  t.equal(headers['x-content-type-options'], 'nosniff')
  const config = await freshConfig(t, { TRUST_PROXY: '127.0.0.1' })
  await migrateDatabase(config)
  const app = await createApp(config, { logger: createLogger('silent') })
  const server = await createServer(app)
  t.teardown(async () => {
    await server.close()
    await app.close()
  })
  const proxied = await server.inject({ url: '/health/live', headers: { 'x-forwarded-proto': 'https' } })
  t.match(proxied.headers['strict-transport-security'], /max-age/)
})
