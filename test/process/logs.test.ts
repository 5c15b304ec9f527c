import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DATABASES } from '../support/databases.ts'
import { asOperator, holdUp, type Installation, install, serve, sql, until } from '../support/installation.ts'
import { claimsOf, encrypt } from '../support/legacy.ts'
import { complaints, type KunciProcess } from '../support/server.ts'
import { type WireClient, type WireReply, wireClient } from '../support/wire-client.ts'

const HAND_OUT = '/api/auth/get-session-key'
const ENROLLED_HWID = 'Disk WX51A6480127'
const STRANGE_HWID = 'Disk ZZ99Q7735418'
const JWT_SECRET = 'the-secret-of-the-old-server-51b7c2d9'

type Secret = { readonly name: string; readonly forms: readonly string[]; readonly onlyInLogs?: true }
type Line = Record<string, unknown>

const hexOf = (bytes: Buffer) => ['hex', 'base64', 'base64url'].map((form) => bytes.toString(form as 'hex'))
const textForms = (text: string) => [text, ...hexOf(Buffer.from(text))]

function sessionSecrets(token: string): Secret[] {
  const { key, iv, session_id } = claimsOf(token)
  const [, payload = '', signature = ''] = token.split('.')
  return [
    { name: 'session token', forms: [token, payload, signature] },
    { name: 'session key', forms: hexOf(Buffer.from(key, 'hex')) },
    // Both are columns of session_keys by design.
    { name: 'session iv', forms: hexOf(Buffer.from(iv, 'hex')), onlyInLogs: true },
    { name: 'session id', forms: [session_id], onlyInLogs: true },
  ]
}

function ringSecrets({ config }: Installation): Secret[] {
  return readdirSync(config.keysDir).map((file) => {
    const { keys } = JSON.parse(readFileSync(join(config.keysDir, file), 'utf8')) as {
      keys: Record<string, string>
    }
    return { name: file, forms: Object.values(keys).flatMap((key) => hexOf(Buffer.from(key, 'base64url'))) }
  })
}

async function setUp(installation: Installation) {
  return asOperator(installation, async ({ products, licences, tokens }) => {
    const actor = { name: 'test' }
    await products.create(actor, 'demo', 'Demo')
    const create = (customer: string, expiresAtMs: number | null, hwid?: string) =>
      licences.create(actor, { productCode: 'demo', customer, expiresAtMs, hwid })
    const { key } = await create('Budi', null)
    await create('Siti', Date.now() - 1000, 'Disk EXPIRED0001')
    return { licenceKey: key, operatorToken: (await tokens.create(actor, 'console', null)).token }
  })
}

/** Sends what is not HTTP, and waits until the server has answered and hung up. */
function shout(port: number, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.on('error', reject)
    socket.on('close', () => resolve())
    socket.resume()
  })
}

/** Everything a client and an operator do, right and wrong; every reply that came. */
async function wholeFlow(
  client: WireClient,
  { licenceKey, operatorToken }: Awaited<ReturnType<typeof setUp>>,
) {
  const replies: WireReply[] = []
  const secrets: Secret[] = []
  const keep = async (reply: Promise<WireReply>) => {
    replies.push(await reply)
    return replies.at(-1) as WireReply
  }
  const handOut = async () => {
    const token: string = JSON.parse((await keep(client.handOut())).text).session_token
    secrets.push(...sessionSecrets(token))
    return token
  }
  const check = async (token: string, hwid: string, licence?: string) => {
    const payload = encrypt(claimsOf(token), hwid)
    secrets.push({ name: 'payload', forms: [payload] })
    return JSON.parse((await keep(client.check(token, { hwid: payload, licence }))).text)
  }
  const token = await handOut()
  const answers = [
    await check(token, ENROLLED_HWID, licenceKey),
    await check(await handOut(), ENROLLED_HWID),
    await check(token, ENROLLED_HWID, licenceKey.replaceAll('-', '').toLowerCase()),
    await check(token, STRANGE_HWID, licenceKey),
    await check(token, STRANGE_HWID),
    await check(token, STRANGE_HWID, licenceKey.slice(0, -1)),
    await check(token, 'Disk EXPIRED0001'),
  ]
  const post = (path: string, headers: Record<string, string>, body = '') =>
    keep(client.send(path, { headers, body }))
  const get = (path: string, headers: Record<string, string> = {}) =>
    keep(client.send(path, { method: 'GET', headers }))
  const bearer = (value: string) => ({ authorization: `Bearer ${value}` })
  await post('/api/1.php', bearer(token), `{"hwid":"${'ab'.repeat(16)}","licence":"${licenceKey}"}`)
  await post('/api/1.php', bearer(token), `{"hwid":"${ENROLLED_HWID}`)
  await post('/api/1.php', bearer(token), `{"hwid":["${ENROLLED_HWID}"],"licence":"${licenceKey}"}`)
  await post('/api/1.php', bearer(token), `{"hwid":"${licenceKey.repeat(1000)}"}`)
  await post('/api/1.php', bearer(`${token}x`), `{"hwid":"${ENROLLED_HWID}"}`)
  await post('/api/1.php', { 'x-session-token': token }, `{"hwid":"00","licence":"${licenceKey}"}`)
  await post('/api/1.php', {}, `{"hwid":"00","licence":"${licenceKey}"}`)
  await post(HAND_OUT, { cookie: token }, `{"suite":"S1","licence":"${licenceKey}"}`)
  await get(`/api/1.php?token=${token}&licence=${licenceKey}`, bearer(token))
  await get(`/${token}/${licenceKey}`)
  await get(`/health/live?token=${operatorToken}`)
  await get('/api/admin/events', bearer(operatorToken))
  await get(`/api/admin/events?token=${operatorToken}`, bearer(operatorToken))
  await get(`/api/admin/events?type=${operatorToken}`, bearer(operatorToken))
  await get('/api/admin/events', bearer(`${operatorToken.slice(0, -4)}AAAA`))
  await get('/api/admin/counters', { authorization: operatorToken })
  return { token, answers, replies, secrets, keep }
}

/** The database fails in the middle of a hand-out and of a check: what is logged then is what drivers say. */
async function withoutTable(installation: Installation, table: string, work: () => Promise<unknown>) {
  await sql(installation, `ALTER TABLE ${table} RENAME TO hidden_table`)
  await work()
  await sql(installation, `ALTER TABLE hidden_table RENAME TO ${table}`)
}

/** All rows of all tables as text. */
async function dump(installation: Installation): Promise<string> {
  const names =
    installation.config.databaseUrl === undefined
      ? "SELECT name FROM sqlite_master WHERE type = 'table'"
      : 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()'
  const tables: string[] = []
  for (const { name } of await sql(installation, names))
    tables.push(`${name} ${JSON.stringify(await sql(installation, `SELECT * FROM ${name}`))}`)
  return tables.join('\n')
}

function assertSilent(t: Test, where: string, text: string, secrets: readonly Secret[]): void {
  const lower = text.toLowerCase()
  const found = secrets.filter(({ forms }) => forms.some((form) => lower.includes(form.toLowerCase())))
  t.same([...new Set(found.map(({ name }) => name))], [], `no secret in ${where}`)
}

function requestLines({ stdout }: KunciProcess): Line[] {
  return stdout.map((line): Line => JSON.parse(line)).filter(({ event }) => event === 'http.request')
}

function assertOneLineEach(t: Test, kunci: KunciProcess, replies: readonly WireReply[]): void {
  const lines = requestLines(kunci)
  const ids = lines.map(({ request_id }) => request_id)
  t.equal(new Set(ids).size, ids.length, 'no request has two lines')
  let withSupportCode = 0
  for (const { headers, status } of replies) {
    const line = lines.find(({ request_id }) => request_id === headers['x-request-id'])
    const supportCode = headers['x-support-code']
    if (supportCode !== undefined) withSupportCode++
    if (
      line === undefined ||
      line.status !== status ||
      line.support_code !== (supportCode ?? line.support_code)
    )
      t.fail(`the line of ${JSON.stringify(headers)} is ${JSON.stringify(line)}`)
  }
  t.ok(withSupportCode > 15, `${replies.length} replies, ${withSupportCode} with a support code`)
}

for (const database of DATABASES)
  t.test(`${database.name}: a client that hangs up before its reply has its line all the same`, async (t) => {
    const installation = await install(t, database)
    const { kunci, url, port } = await serve(t, installation)
    const client = wireClient(url)
    t.teardown(() => client.close())
    const letGo = await holdUp(t, installation)
    const ask = `POST ${HAND_OUT} HTTP/1.1\r\nHost: localhost\r\n\r\n`
    for (const leave of ['destroy', 'resetAndDestroy'] as const) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      await new Promise((resolve) => socket.write(ask, resolve))
      // Once this is answered the other was read: what lies unread when a connection is reset is lost.
      await client.send('/health/live', { method: 'GET' })
      socket[leave]()
    }
    await until('both lines', () => requestLines(kunci).filter(({ status }) => status === 499).length === 2)
    await letGo()
    t.equal((await kunci.kill()).code, 0)
    const lines = requestLines(kunci).filter(({ route }) => route === HAND_OUT)
    t.match(lines, [{ outcome: 'client_gone' }, { outcome: 'client_gone' }])
    t.equal(lines.length, 2)
    t.notMatch(kunci.stdout.join('\n'), /"level":[56]0/, 'and is no error')
  })

for (const database of DATABASES)
  t.test(`${database.name}: no secret is logged or kept, and each request has its line`, async (t) => {
    const installation = await install(t, database, { LOG_LEVEL: 'trace', JWT_SECRET })
    const facts = await setUp(installation)
    const { kunci, url, port } = await serve(t, installation)
    const client = wireClient(url)
    t.teardown(() => client.close())

    const { token, answers, replies, secrets, keep } = await wholeFlow(client, facts)
    t.same(
      answers.map(({ code, status }) => code ?? status),
      ['success', 'success', 'success', 'NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND', 'EXPIRED'],
    )
    await shout(port, `${token} ${facts.licenceKey}\r\n\r\n`)
    await shout(port, `GET /${token} HTTP/1.1\r\nHost: a\r\n${token}\r\n\r\n`)
    const checkAgain = () =>
      client.check(token, { hwid: encrypt(claimsOf(token), ENROLLED_HWID), licence: facts.licenceKey })
    for (const table of ['session_keys', 'kunci_events', 'kunci_devices', 'kunci_tokens'])
      await withoutTable(installation, table, async () => {
        const broken =
          table === 'kunci_tokens'
            ? client.send('/api/admin/events', {
                method: 'GET',
                headers: { authorization: `Bearer ${facts.operatorToken}` },
              })
            : checkAgain()
        t.equal((await keep(broken)).status, 503, `without ${table}`)
        if (table === 'session_keys') t.equal((await keep(client.handOut())).status, 503)
      })
    const { text: afterwards } = await keep(checkAgain())
    t.match(JSON.parse(afterwards), { status: 'success' })
    t.equal((await kunci.kill()).code, 0)

    const all: Secret[] = [
      ...secrets,
      ...ringSecrets(installation),
      { name: 'HWID', forms: [ENROLLED_HWID, STRANGE_HWID].flatMap(textForms) },
      { name: 'HWID in its normal form', forms: ['DiskWX51A6480127', 'DiskZZ99Q7735418'].flatMap(textForms) },
      {
        name: 'licence key',
        forms: [facts.licenceKey, facts.licenceKey.replaceAll('-', '')].map((key) => key.slice(0, -1)),
      },
      { name: 'operator token', forms: [facts.operatorToken, facts.operatorToken.slice(4)] },
      { name: 'JWT_SECRET', forms: textForms(JWT_SECRET) },
    ]
    assertSilent(t, 'the log', [...kunci.stdout, ...kunci.stderr].join('\n'), all)
    t.same(complaints(kunci.stderr), [], 'nothing beside the log')
    const rows = await dump(installation)
    for (const table of ['session_keys', 'kunci_events', 'kunci_licences', 'kunci_device_components'])
      t.match(rows, new RegExp(`${table} \\[\\{`), `${table} was read`)
    assertSilent(
      t,
      'the database',
      rows,
      all.filter(({ onlyInLogs }) => !onlyInLogs),
    )
    assertOneLineEach(t, kunci, replies)
  })
