import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { DATABASES } from '../support/databases.ts'
import { type Installation, install, serve, sql } from '../support/installation.ts'
import type { Claims } from '../support/legacy.ts'
import { findProgram } from '../support/mariadb-install.ts'
import { runKunci } from '../support/server.ts'

const SCRIPT = fileURLToPath(new URL('python_client.py', import.meta.url))
/** Not from PATH: a version manager's `python3` may stand for a version that is not installed. */
const PLACES = ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin']
const JWT_SECRET = 'the-secret-of-the-old-server-51b7c2d9'
const WAYS = ['urllib', 'http.client', 'socket'] as const
const HAND_OUTS = ['/api/auth/get-session-key', '/api/auth/get-session-key.php']
const CHECK = '/api/1.php'
const DAY_MS = 86_400_000
const ENDS = '2099-12-31T23:59:59Z'

const EXPIRED = '{"status":"error","message":"License expired.","code":"EXPIRED"}'
const NOT_FOUND = '{"status":"error","message":"Access denied (HWID Not Found).","code":"NOT_FOUND"}'
const SESSION_EXPIRED = '{"status":"error","message":"Session expired."}'
const UNREADABLE = '{"status":"error","message":"Security verification failed."}'
const AUTH_REQUIRED = '{"status":"error","message":"Authentication required."}'
const INVALID_SESSION = '{"status":"error","message":"Invalid or expired session."}'
const MALFORMED = '{"status":"error","message":"Invalid request format."}'

type Way = (typeof WAYS)[number]
type Reply = { status: number; headers: Record<string, string>; body: string }
type Session = Reply & { token: string; claims: Claims; header_text: string; is_signed: boolean }
type Request = {
  way?: Way
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: string
}

function program(name: string): string {
  const path = findProgram([name], PLACES)
  if (path === undefined) throw new Error(`${name} is not installed: looked in ${PLACES.join(', ')}`)
  return path
}

/** The old program, which does what it is told one thing after the other. */
function startPython(t: Pick<Test, 'teardown'>, url: string) {
  const child = spawn(program('python3'), [SCRIPT, url], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { JWT_SECRET, OPENSSL: program('openssl') },
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  t.teardown(() => child.stdin.end())
  const tell = async <T>(order: object): Promise<T> => {
    child.stdin.write(`${JSON.stringify(order)}\n`)
    const { value, done } = await lines.next()
    if (done) throw new Error('the Python program has ended')
    return JSON.parse(value) as T
  }
  const send = <T extends Reply = Reply>({
    way = 'urllib',
    method = 'POST',
    path = CHECK,
    ...rest
  }: Request) => tell<T>({ do: 'send', way, method, path, ...rest })
  return {
    send,
    handOut: () => send<Session>({ path: HAND_OUTS[1] ?? '' }),
    /** The check as the program sends it. */
    check: (token: string, body: string, way: Way = 'urllib') =>
      send({
        way,
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        body,
      }),
    encrypt: async ({ claims: { key, iv } }: Session, hwid: string) =>
      (await tell<{ hex: string }>({ do: 'encrypt', key, iv, hwid })).hex,
    sign: async (claims: object, header: object = { typ: 'JWT', alg: 'HS256' }) =>
      (await tell<{ token: string }>({ do: 'sign', header, claims })).token,
  }
}

type Python = ReturnType<typeof startPython>

async function operate({ env, config }: Installation, ...args: string[]): Promise<Record<string, string>> {
  const result = await runKunci([...args, '--json'], env, { cwd: config.dataDir })
  if (result.code !== 0) throw new Error(`kunci ${args.join(' ')}: ${result.stderr}`)
  return JSON.parse(result.stdout)
}

async function sell(installation: Installation): Promise<void> {
  await operate(
    installation,
    'products',
    'create',
    '--code',
    'demo',
    '--name',
    'Demo',
    '--sk',
    'key to the feed',
  )
  const licence = (customer: string, hwid: string) =>
    operate(
      installation,
      ...['licences', 'create', '--product', 'demo', '--customer', customer],
      ...['--hwid', hwid, '--expires', ENDS],
    )
  await licence('Budi Santoso', '1234567890')
  const { id = '' } = await licence('Siti', '2345678901')
  await operate(installation, 'licences', 'renew', id, '--expires', '2020-01-01T00:00:00Z')
}

/** Days go by at midnight: either number is right then. */
function granted(startMs: number): string[] {
  return [startMs, Date.now()].map((nowMs) => {
    const days = Math.floor((Date.parse(ENDS) - nowMs) / DAY_MS)
    return `{"status":"success","message":"Access granted","expiry_date":"2099-12-31 23:59:59","days_remaining":${days},"user":"Budi Santoso","sk":"key to the feed","sck":"","maintenance":"no","status1_text":""}`
  })
}

function assertReply(
  t: Test,
  reply: Reply,
  status: number,
  bodies: string | readonly string[],
  what: string,
) {
  const { 'cache-control': cache, 'x-support-code': supportCode, 'content-type': type } = reply.headers
  t.equal(reply.status, status, what)
  t.ok([bodies].flat().includes(reply.body), `${what}: ${reply.body}`)
  t.equal(cache, 'no-store')
  t.match(supportCode, /^[0-9A-Z]{5}-[0-9A-Z]{5}$/)
  t.equal(type, 'application/json; charset=utf-8')
}

async function assertHandOuts(t: Test, python: Python): Promise<void> {
  for (const way of WAYS)
    for (const path of HAND_OUTS)
      for (const request of [{ method: 'GET' }, { method: 'POST' }, { method: 'POST', body: '' }]) {
        const beforeS = Math.floor(Date.now() / 1000)
        const reply = await python.send<Session>({ way, path, ...request })
        const what = `${way} ${request.method} ${path}`
        const body = `{"status":"success","session_token":"${reply.token}","expires_in":300,"message":"Session key generated successfully"}`
        assertReply(t, reply, 200, body, what)
        t.ok(reply.is_signed, 'signed under JWT_SECRET')
        t.same(JSON.parse(reply.header_text), { typ: 'JWT', alg: 'HS256' })
        const { claims } = reply
        t.same(Object.keys(claims), ['session_id', 'key', 'iv', 'ip', 'purpose', 'iat', 'exp', 'jti'])
        t.match(claims, {
          key: /^[0-9a-f]{64}$/,
          iv: /^[0-9a-f]{32}$/,
          ip: '127.0.0.1',
          purpose: 'hwid_encryption',
        })
        t.equal(claims.exp, claims.iat + 300)
        t.ok(Math.abs(claims.iat - beforeS) <= 2)
      }
}

for (const database of DATABASES)
  t.test(database.name, async (t) => {
    const installation = await install(t, database, { JWT_SECRET })
    const { kunci, url } = await serve(t, installation)
    await sell(installation)
    const python = startPython(t, url)

    t.test('a session key comes by either method from either address, and its token is signed', (t) =>
      assertHandOuts(t, python),
    )

    t.test('a licensed machine is let in, again within the five minutes, and by either header', async (t) => {
      const session = await python.handOut()
      const hwid = await python.encrypt(session, '1234567890')
      const startMs = Date.now()
      for (const way of WAYS) {
        const reply = await python.check(session.token, JSON.stringify({ hwid }), way)
        assertReply(t, reply, 200, granted(startMs), `Bearer, ${way}`)
      }
      const headers = { 'X-Session-Token': session.token, 'Content-Type': 'application/json' }
      const body = `{"hwid": "${hwid.toUpperCase()}", "version": "3.2.1", "machine": {"os": "Windows"}}`
      assertReply(t, await python.send({ headers, body }), 200, granted(startMs), 'X-Session-Token')
      const renamed = { path: '/api/licence/check', headers, body }
      assertReply(t, await python.send(renamed), 200, granted(startMs), 'the new address')
    })

    t.test('an expired licence and an unknown machine get the old words', async (t) => {
      const session = await python.handOut()
      const check = async (hwid: string) =>
        python.check(session.token, JSON.stringify({ hwid: await python.encrypt(session, hwid) }))
      assertReply(t, await check('2345678901'), 200, EXPIRED, 'expired')
      assertReply(t, await check('3456789012'), 200, NOT_FOUND, 'not found')
    })

    t.test('what does not open has one answer for every cause', async (t) => {
      const session = await python.handOut()
      const sealed = await python.encrypt(session, '1234567890')
      // Not one sealed under another key: one in 256 of those has a padding that looks right.
      for (const hwid of ['', 'zz', sealed.slice(1), sealed.slice(2), '1234567890'])
        assertReply(t, await python.check(session.token, JSON.stringify({ hwid })), 200, UNREADABLE, hwid)
    })

    t.test('a body without a hwid is malformed', async (t) => {
      const { token } = await python.handOut()
      for (const body of ['', '{', '[]', 'null', '{}', '{"hwid":1}', '{"HWID":"00"}', 'hwid=00'])
        assertReply(t, await python.check(token, body), 400, MALFORMED, body)
    })

    t.test(
      'a token that is missing, foreign, altered or over is refused before anything is read',
      async (t) => {
        const { token, claims } = await python.handOut()
        const body = '{"hwid":"00"}'
        assertReply(t, await python.send({ body }), 401, AUTH_REQUIRED, 'no token')
        assertReply(
          t,
          await python.send({ headers: { Authorization: 'Basic YTpi' }, body }),
          401,
          AUTH_REQUIRED,
          'Basic',
        )
        const [header, payload, signature = ''] = token.split('.')
        const bad = {
          garbage: 'garbage',
          'another signature': `${header}.${payload}.${signature.slice(0, -2)}${signature.endsWith('AA') ? 'BB' : 'AA'}`,
          'no signature': `${header}.${payload}.`,
          'alg none': await python.sign(claims, { typ: 'JWT', alg: 'none' }),
          'alg HS512': await python.sign(claims, { typ: 'JWT', alg: 'HS512' }),
          'an exp that has passed': await python.sign({ ...claims, exp: claims.iat - 1 }),
        }
        for (const [what, token] of Object.entries(bad))
          assertReply(t, await python.check(token, body), 401, INVALID_SESSION, what)
      },
    )

    t.test('a good token whose row is gone says so, with 200', async (t) => {
      const session = await python.handOut()
      const body = JSON.stringify({ hwid: await python.encrypt(session, '1234567890') })
      const stranger = await python.sign({ ...session.claims, session_id: 'f'.repeat(32) })
      assertReply(t, await python.check(stranger, body), 200, SESSION_EXPIRED, 'never was')
      await sql(installation, `DELETE FROM session_keys WHERE session_id = '${session.claims.session_id}'`)
      assertReply(t, await python.check(session.token, body), 200, SESSION_EXPIRED, 'deleted')
    })

    t.test('a session key that has had its time is refused', async (t) => {
      const env = { ...installation.env, SESSION_KEY_TTL_S: '2' }
      const brief = await serve(t, { ...installation, env })
      const python = startPython(t, brief.url)
      const session = await python.handOut()
      t.match(session.body, '"expires_in":2,')
      const body = JSON.stringify({ hwid: await python.encrypt(session, '1234567890') })
      const startMs = Date.now()
      let reply = await python.check(session.token, body)
      assertReply(t, reply, 200, granted(startMs), 'still alive')
      while (reply.status === 200 && Date.now() < startMs + 10_000) {
        // The session may end between the look at its token and the look at its row.
        const isRight = reply.body === SESSION_EXPIRED || granted(startMs).includes(reply.body)
        if (!isRight) t.fail(reply.body)
        reply = await python.check(session.token, body)
      }
      assertReply(t, reply, 401, INVALID_SESSION, 'over')
      t.equal((await brief.kunci.kill()).code, 0)
    })

    t.test('and the server ends in order', async (t) => t.equal((await kunci.kill()).code, 0))
  })
