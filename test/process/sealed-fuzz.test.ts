import { isUtf8 } from 'node:buffer'
import { randomInt } from 'node:crypto'
import { statSync } from 'node:fs'
import t, { type Test } from 'tap'
import { usageOf } from '../../bench/measure.ts'
import { sqlitePath } from '../../src/config.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { install, type RunningKunci, serve } from '../support/installation.ts'
import { leaked, licenceSecrets, machineSecrets, type Secrets, sessionSecrets } from '../support/leaks.ts'
import { createLiveHeap } from '../support/live-heap.ts'
import { type Chance, MUTATIONS, seededChance } from '../support/mutations.ts'
import { type RawReply, repliesIn, write } from '../support/raw-http.ts'
import { checkData, furnish, openSession, type Post, posting } from '../support/sealed.ts'
import { complaints } from '../support/server.ts'

const [SQLITE] = DATABASES as [TestDatabase]
const SUITES = ['S1', 'S2', 'S3'] as const
const REQUESTS = Number(process.env.KUNCI_FUZZ_REQUESTS ?? 30_000)
const SEED = Number(process.env.KUNCI_FUZZ_SEED ?? randomInt(2 ** 31))
const WARM_UP = 10_000
/** A phase has sessions of its own, which are young enough to answer. */
const PHASE = 10_000
const CONNECTIONS = 8
const PIPELINED_MAX = 16
/** With little room garbage goes at once. */
const SMALL_HEAP = '--max-old-space-size=96 --max-semi-space-size=2'
/**
 * What lives may grow by so much: two memories fill, each with an end to it. They are those of genuine tokens (20,000) and
 * of what is counted for limits (100,000), and need most of a million requests for it.
 */
const LIVE_MAX_MIB = 24
const LIVE_MAX_BYTES_PER_REQUEST = 64
const LIVE_SLACK_MIB = 4
/** Each of SQLite's two threads keeps up to so much of what good handshakes have written. */
const PAGES_MAX_MIB = 32
/** Of resident memory: holes. */
const HOLES_MAX_MIB = 16

const BEGIN = '/v1/session'
const CALL = '/v1/call'
const OLD_BEGIN = '/api/auth/get-session-key'
const OLD_CALL = '/api/licence/check'
type Path = typeof BEGIN | typeof CALL | typeof OLD_BEGIN | typeof OLD_CALL

/** A request that is good as it stands. */
type Template = { readonly path: Path; readonly body: Buffer; readonly token: string | undefined }

/** Good requests of every suite and what must not be seen of them. */
async function stock({ url }: RunningKunci, { key, pin }: Awaited<ReturnType<typeof furnish>>) {
  const templates: Template[] = []
  /** The sealed replies to them, which their own bytes get again and nothing else does. */
  const replies = new Set<string>()
  const secrets: Secrets = { ...licenceSecrets(key), ...machineSecrets() }
  const send = posting(url)
  const post: Post = async (path, body, headers = {}) => {
    const reply = await send(path, body, headers)
    const token = headers.authorization?.split(' ')[1]
    for (const same of token === undefined ? ([BEGIN, OLD_BEGIN] as const) : ([CALL, OLD_CALL] as const))
      templates.push({ path: same, body: Buffer.from(JSON.stringify(body)), token })
    if (token !== undefined) replies.add(reply.text)
    return reply
  }
  for (const suite of SUITES) {
    const session = await openSession(post, pin(suite))
    const [, claims = '', signature = ''] = session.token.split('.')
    const own = { ...sessionSecrets(session), token: session.token, claims, signature }
    for (const [name, secret] of Object.entries(own)) secrets[`${name} of ${suite}`] = secret
    await session.call('licence.check', checkData(key))
    await session.call('licence.check', checkData('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'))
    await session.call('lease.issue', checkData(key))
    await session.call('log.push', { level: 'info', text: 'x'.repeat(2000) })
    await session.call('no.such_thing', {})
  }
  return { templates, replies, secrets }
}

type Stock = Awaited<ReturnType<typeof stock>>

/** Bytes for a connection. What is good HTTP has one reply; after a last one the server hangs up. */
type Shot = { readonly path: Path; readonly bytes: Buffer; readonly isLast: boolean }

const CONTENT_TYPES = [
  'application/json;charset=utf-8',
  'APPLICATION/JSON',
  'application/json; charset=utf-16',
  'application/jsonx',
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  '*/*',
  'json',
  '',
  ';',
  'a/'.repeat(500),
]

function authorizations(token: string | undefined, chance: Chance): readonly string[] {
  const known = token ?? 'e30.e30.AAAA'
  const at = chance.below(known.length)
  return [
    '',
    'Bearer',
    `bearer  ${known}`,
    `Basic ${known}`,
    `Bearer ${known} ${known}`,
    `Bearer ${known.slice(0, at)}`,
    `Bearer ${known.slice(0, at)}${chance.pick(['A', '.', '=', '~'])}${known.slice(at + 1)}`,
    `Bearer ${known.repeat(5)}`,
    `Bearer ${'.'.repeat(1 + chance.below(3000))}`,
  ]
}

const head = (path: Path, ...headers: string[]) =>
  [`POST ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...headers, '', ''].join('\r\n')

function chunked(body: Buffer, chance: Chance): Buffer {
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length; ) {
    const chunk = body.subarray(at, at + 1 + chance.below(400))
    chunks.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
    at += chunk.length
  }
  return Buffer.concat([...chunks, Buffer.from('0\r\n\r\n')])
}

/** After a body that is too long or cannot be read the server hangs up, as more of it may follow. */
function endsConnection(path: Path, body: Buffer): boolean {
  if (body.length > 8000) return true
  if (path === OLD_BEGIN || path === OLD_CALL) return false
  try {
    return !isUtf8(body) || /proto|constructor/.test(JSON.stringify(JSON.parse(body.toString())))
  } catch {
    return true
  }
}

/** A good request with something wrong in body, headers or framing. */
function malformed({ templates }: Stock, chance: Chance): Shot {
  const { path, body: good, token } = chance.pick(templates)
  let body = good
  let type = 'application/json'
  let authorization = token === undefined ? '' : `Bearer ${token}`
  const kind = chance.below(20)
  if (kind === 0) authorization = chance.pick(authorizations(token, chance))
  else if (kind === 1) type = chance.pick(CONTENT_TYPES)
  else if (kind === 2) body = Buffer.concat([good, Buffer.alloc(20_000, chance.pick([' ', 'A']))])
  else body = chance.pick(MUTATIONS)(good, chance)
  const isLast = endsConnection(path, body)
  const isChunked = chance.below(5) === 0
  const headers = [
    `Content-Type: ${type}`,
    ...(authorization === '' ? [] : [`Authorization: ${authorization}`]),
    isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`,
    ...(isLast ? ['Connection: close'] : []),
  ]
  const framed = isChunked ? chunked(body, chance) : body
  return { path, bytes: Buffer.concat([Buffer.from(head(path, ...headers)), framed]), isLast }
}

/** Hangs up after a request for nothing. */
const farewell: Shot = {
  path: BEGIN,
  bytes: Buffer.from(
    `${head(BEGIN, 'Content-Type: application/json', 'Content-Length: 2', 'Connection: close')}{}`,
  ),
  isLast: true,
}

/** A good request in no good HTTP. */
function broken({ templates }: Stock, chance: Chance): Pick<Shot, 'path' | 'bytes'> {
  const { path, body, token } = chance.pick(templates)
  const said = (...headers: string[]) =>
    Buffer.from(head(path, 'Content-Type: application/json', `Authorization: Bearer ${token}`, ...headers))
  const length = `Content-Length: ${body.length}`
  const bytes = chance.pick([
    Buffer.concat([said(`Content-Length: ${body.length + 1 + chance.below(9000)}`), body]),
    Buffer.concat([said(length), body.subarray(0, chance.below(body.length))]),
    Buffer.concat([said(`Content-Length: ${1 + chance.below(body.length - 1)}`), body]),
    Buffer.concat([said(length, 'Transfer-Encoding: chunked'), chunked(body, chance)]),
    Buffer.concat([said(length, `Content-Length: ${body.length + 1}`), body]),
    Buffer.concat([said(`Content-Length: -${body.length}`), body]),
    Buffer.concat([said(`Content-Length: ${'9'.repeat(30)}`), body]),
    Buffer.concat([said('Transfer-Encoding: chunked'), Buffer.from('zz\r\n'), body]),
    Buffer.concat([
      said('Transfer-Encoding: chunked'),
      chunked(body, chance).subarray(0, chance.below(body.length)),
    ]),
    Buffer.concat([said('Transfer-Encoding: chunked'), Buffer.from('ffffffffffffffff1\r\n'), body]),
    Buffer.concat([said(length, `X-Long: ${'x'.repeat(20_000)}`), body]),
    Buffer.concat([said(length, 'X-Nul: \0'), body]),
    Buffer.concat([said(length, ' folded: x'), body]),
    body,
  ])
  return { path, bytes }
}

const PLAIN = { request: 400, kex: 400, session: 401, size: 413, type: 415 } as const
const PLAIN_AT: Record<Path, readonly (keyof typeof PLAIN)[]> = {
  [BEGIN]: ['request', 'kex', 'size', 'type'],
  [CALL]: ['request', 'session', 'size', 'type'],
  [OLD_BEGIN]: ['request', 'kex'],
  [OLD_CALL]: ['request', 'session'],
}
const HELLO =
  /^\{"v":1,"suite":"S[123]","kid":"[0-9a-f]{16}","session_id":"[0-9a-f]{64}","expires_in":300,"pub":"[\w-]+","box":"[\w-]+"\}$/
const HAND_OUT = /^\{"status":"success","session_token":"[\w.-]+","expires_in":300,"message":"[\w ]+"\}$/
const OLD_REFUSAL =
  /^\{"status":"error","message":"(Authentication required|Invalid or expired session|Invalid request format)\."\}$/
const coded = (...codes: string[]) =>
  new RegExp(`^\\{"status":"error","code":"(${codes.join('|')})","message":"[^"]+","request_id":"\\w+"\\}$`)
const OLD_SIZE = coded('body_too_large')
const NO_HTTP = coded('invalid_request', 'headers_too_large')

/** What an answer is, of those that may be given at an address; `undefined`: none of them. */
function nameOf(path: Path, { status, text }: RawReply, { replies }: Stock): string | undefined {
  const isBegin = path === BEGIN || path === OLD_BEGIN
  const isOld = path === OLD_BEGIN || path === OLD_CALL
  const plain = (error: string) => `{${isOld ? '"success":false,' : ''}"v":1,"error":"${error}"}`
  if (status === 200 && !isBegin && replies.has(text)) return 'stored reply'
  if (status === 200 && isBegin && HELLO.test(text)) return 'hello'
  if (status === 200 && path === OLD_BEGIN && HAND_OUT.test(text)) return 'hand-out'
  if (path === OLD_CALL && (status === 400 || status === 401) && OLD_REFUSAL.test(text)) return 'old refusal'
  if (isOld && status === 413 && OLD_SIZE.test(text)) return 'old refusal'
  return PLAIN_AT[path].find((error) => status === PLAIN[error] && text === plain(error))
}

/** Sends bad requests until so many were answered. */
async function attack(t: Test, { port }: RunningKunci, wares: Stock, chance: Chance, requests: number) {
  const seen = new Map<string, number>()
  const judge = (path: Path, reply: RawReply, name = nameOf(path, reply, wares)) => {
    if (name === undefined) t.fail(`${path} answered ${reply.status} ${reply.text.slice(0, 500)}`)
    else seen.set(name, (seen.get(name) ?? 0) + 1)
  }
  let left = requests

  async function pipeline(): Promise<void> {
    const shots: Shot[] = []
    while (shots.length < PIPELINED_MAX && !shots.at(-1)?.isLast) shots.push(malformed(wares, chance))
    if (!shots.at(-1)?.isLast) shots.push(farewell)
    left -= shots.length
    const replies = repliesIn(await write(port, Buffer.concat(shots.map(({ bytes }) => bytes))))
    if (replies.length !== shots.length) t.fail(`${shots.length} requests had ${replies.length} replies`)
    for (const [i, reply] of replies.entries()) judge(shots[i]!.path, reply)
  }

  async function nonsense(): Promise<void> {
    const { path, bytes } = broken(wares, chance)
    left--
    const replies = repliesIn(await write(port, bytes, chance.pick(['end', 'end', 'reset'])))
    for (const reply of replies)
      judge(path, reply, NO_HTTP.test(reply.text) && reply.status < 500 ? 'no HTTP' : undefined)
  }

  const loop = async () => {
    while (left > 0) await (chance.below(4) === 0 ? nonsense() : pipeline())
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, loop))
  return seen
}

t.test('bad requests are refused in so many words, and leave nothing in log or memory', async (t) => {
  const heap = createLiveHeap(SMALL_HEAP)
  const installation = await install(t, SQLITE, { SEALED_S3: 'true', ...heap.env })
  const running = await serve(t, installation)
  const { kunci } = running
  const furnished = await furnish(installation)
  const chance = seededChance(SEED)
  t.comment(`KUNCI_FUZZ_SEED=${SEED}`)
  const total = new Map<string, number>()
  const live: number[] = []
  const rss: number[] = []
  for (let done = 0, read = 0; done < WARM_UP + REQUESTS; done += PHASE) {
    const wares = await stock(running, furnished)
    for (const [name, n] of await attack(t, running, wares, chance, PHASE))
      total.set(name, (total.get(name) ?? 0) + n)
    const lines = kunci.stdout.slice(read)
    read += lines.length
    t.same(leaked([Buffer.from(lines.join('\n'))], wares.secrets), [], 'no secret in the log')
    t.same(
      lines.filter((line) => /"level":[56]0/.test(line)),
      [],
      'nothing that was not foreseen',
    )
    live.push(await heap.mib(kunci.pid))
    rss.push(usageOf(kunci.pid)?.rssMib ?? Number.NaN)
  }
  t.comment(`answers: ${JSON.stringify(Object.fromEntries(total))}`)
  t.comment(`MiB that live after each ${PHASE} requests: ${live.map(Math.round).join(' ')}`)
  t.comment(`MiB resident: ${rss.map(Math.round).join(' ')}`)
  const names = [
    'request',
    'kex',
    'session',
    'size',
    'type',
    'hello',
    'hand-out',
    'stored reply',
    'old refusal',
    'no HTTP',
  ]
  t.same(
    names.filter((name) => !total.has(name)),
    [],
    'every answer there is was given',
  )
  t.same(complaints(kunci.stderr), [])
  const growth = (mib: readonly number[]) => (mib.at(-1) ?? 0) - (mib[WARM_UP / PHASE - 1] ?? 0)
  const filled = LIVE_SLACK_MIB + (REQUESTS * LIVE_MAX_BYTES_PER_REQUEST) / 2 ** 20
  const liveMax = Math.min(LIVE_MAX_MIB, filled)
  t.ok(growth(live) < liveMax, `${REQUESTS} requests left ${growth(live)} MiB behind`)
  const pages = 2 * Math.min(PAGES_MAX_MIB, statSync(sqlitePath(installation.config)).size / 2 ** 20)
  t.comment(`at most ${Math.round(pages)} MiB are pages of the database`)
  if (!rss.some(Number.isNaN))
    t.ok(growth(rss) < liveMax + pages + HOLES_MAX_MIB, `and ${growth(rss)} MiB resident`)
})
