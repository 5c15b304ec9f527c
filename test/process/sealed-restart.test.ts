import { randomBytes, sign } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { toB64u } from '../../src/crypto/encoding.ts'
import { padded, sealRequest, tokenHashOf } from '../../src/crypto/records.ts'
import { RINGS } from '../../src/store/ring.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import {
  asOperator,
  type Installation,
  install,
  type RunningKunci,
  serve,
  sql,
  until,
} from '../support/installation.ts'
import { ACTOR } from '../support/legacy.ts'
import { repliesIn, write } from '../support/raw-http.ts'
import {
  checkData,
  furnish,
  openSession,
  type Post,
  payloadOf,
  posting,
  type SealedSession,
} from '../support/sealed.ts'

const [, MARIADB] = DATABASES as [TestDatabase, TestDatabase]
const SUITES = ['S1', 'S2', 'S3'] as const
const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
/** Until every process has read its key files, with time to spare. */
const HANDOVER_MS = 8000
/** What a slow machine may take between two readings of one clock. */
const SLOWNESS_S = 60
const SESSION = { status: 401, text: '{"v":1,"error":"session"}' }

/** A request as it went over the wire, with the body of its reply. */
type Recorded = { readonly bytes: Buffer; readonly reply: { readonly status: number; readonly text: string } }

async function ask({ port }: RunningKunci, bytes: Buffer): Promise<Recorded['reply']> {
  const [reply] = repliesIn(await write(port, bytes))
  if (reply === undefined) throw new Error('the server hung up')
  return { status: reply.status, text: reply.text }
}

/** Posts to a server, and keeps what went to /v1/call and came back. */
function recording(running: RunningKunci): { post: Post; calls: Recorded[] } {
  const calls: Recorded[] = []
  const post: Post = async (path, body, headers = {}) => {
    const text = JSON.stringify(body)
    const fields = { Host: 'x', Connection: 'close', 'Content-Type': 'application/json', ...headers }
    const head = Object.entries({ ...fields, 'Content-Length': text.length }).map((field) => field.join(': '))
    const bytes = Buffer.from([`POST ${path} HTTP/1.1`, ...head, '', text].join('\r\n'))
    const reply = await ask(running, bytes)
    if (path === '/v1/call') calls.push({ bytes, reply })
    return reply
  }
  return { post, calls }
}

/** One message of each kind in each suite, and what they got. */
async function record(running: RunningKunci, { key, pin }: Awaited<ReturnType<typeof furnish>>) {
  const { post, calls } = recording(running)
  for (const suite of SUITES) {
    const session = await openSession(post, pin(suite))
    await session.call('licence.check', checkData(key))
    await session.call('licence.check', checkData('ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29'))
    await session.call('lease.issue', checkData(key))
    await session.call('log.push', { level: 'info', text: 'once' })
    await session.call('ping', {})
    await session.call('ping', { not: 'empty' })
    await session.call('no.such_thing', {})
  }
  return calls
}

/** Sends everything again, twice at once. @returns what is not answered as it was. */
async function replay(running: RunningKunci, calls: readonly Recorded[]): Promise<unknown[]> {
  const answers = await Promise.all([...calls, ...calls].map(({ bytes }) => ask(running, bytes)))
  return answers.filter(({ status, text }, i) => {
    const { reply } = calls[i % calls.length]!
    return status !== reply.status || text !== reply.text
  })
}

const effects = (installation: Installation) =>
  sql(
    installation,
    `SELECT type, COUNT(*) AS n FROM kunci_events
     WHERE type IN ('licence_check_allowed', 'licence_check_denied', 'lease_issued', 'client_log')
     GROUP BY type ORDER BY type`,
  )

/** Which key-encryption key a session key is wrapped under. */
async function kekOf(installation: Installation, session: SealedSession): Promise<string | undefined> {
  const rows = await sql(installation, 'SELECT session_id, session_key FROM session_keys')
  const own = rows.find(({ session_id: id }) => id === session.records.sessionId)
  return String(own?.session_key).split('.')[2]
}

/** Takes a key out of a ring by hand. */
function removeKey({ config }: Installation, ring: string, id: string): void {
  const file = join(config.keysDir, `${ring}.json`)
  const content = JSON.parse(readFileSync(file, 'utf8'))
  delete content.keys[id]
  writeFileSync(`${file}.new`, JSON.stringify({ ...content, current: 'k2', next: undefined }), {
    mode: 0o600,
  })
  renameSync(`${file}.new`, file)
}

const reloaded = ({ kunci }: RunningKunci) =>
  kunci.stdout.map((line) => JSON.parse(line)).filter(({ event }) => event === 'keys.reloaded')

for (const database of DATABASES)
  t.test(
    `${database.name}: neither a restart nor new keys change a reply, until its key is destroyed`,
    async (t) => {
      const installation = await install(t, database, { SEALED_S3: 'true', SESSION_KEY_TTL_S: '3600' })
      const furnished = await furnish(installation)
      const first = await serve(t, installation)
      const calls = await record(first, furnished)
      t.equal(calls.length, 7 * SUITES.length)
      const before = await effects(installation)

      const { post, calls: closed } = recording(first)
      const closing = await openSession(post, furnished.pin())
      await closing.call('ping', {})
      await closing.call('session.close', {})
      await first.kunci.kill('SIGTERM')
      const second = await serve(t, installation)
      t.same(await replay(second, closed), [], 'of a session that was closed')
      t.same(await replay(second, calls), [], 'after a restart')
      await second.kunci.kill('SIGKILL')
      const third = await serve(t, installation)
      t.same(await replay(third, calls), [], 'after a crash')

      const rings = RINGS.filter((ring) => ring !== 'legacy-jwt')
      await asOperator(installation, async ({ keyRotation, clock }) => {
        const fromMs = clock() + HANDOVER_MS
        for (const ring of rings) await keyRotation.rotate(ACTOR, ring, fromMs)
      })
      await until('the files are read', () => reloaded(third).length === rings.length)
      t.same(await replay(third, calls), [], 'with keys that wait')
      const begin = () => openSession(posting(third.url), furnished.pin())
      await until(
        'the next keys have taken over',
        async () => (await kekOf(installation, await begin())) === 'k2',
      )
      t.same(await replay(third, calls), [], 'under the next keys')
      const later = await record(third, furnished)
      await third.kunci.kill('SIGTERM')
      const fourth = await serve(t, installation)
      t.same(await replay(fourth, [...calls, ...later]), [], 'of both, after a restart')

      removeKey(installation, 'kek', 'k1')
      await until('the file is read', () => reloaded(fourth).length > 0)
      t.same(await replay(fourth, later), [])
      t.same(
        await Promise.all(calls.map(({ bytes }) => ask(fourth, bytes))),
        calls.map(() => SESSION),
      )
      t.same(
        await effects(installation),
        before.map(({ type, n }) => ({ type, n: 2 * Number(n) })),
        'each message had its effect once',
      )
    },
  )

/** Starts a node whose clock is wrong by so much. */
function serveAt(t: Test, { config, env }: Installation, offsetMs: number): Promise<RunningKunci> {
  const file = join(config.dataDir, `clock-${offsetMs}.mjs`)
  writeFileSync(
    file,
    `const { now } = Date
     globalThis.Date = class extends Date {
       constructor(...parts) { super(...(parts.length === 0 ? [now() + ${offsetMs}] : parts)) }
       static now() { return now() + ${offsetMs} }
     }`,
  )
  return serve(t, { config, env: { ...env, NODE_OPTIONS: `--import=${file}` } })
}

t.test('MariaDB: nodes whose clocks are a day off agree with the others about everything', async (t) => {
  const installation = await install(t, MARIADB)
  const { key, pin } = await furnish(installation)
  const nodes = await Promise.all([0, DAY_MS, -DAY_MS].map((offsetMs) => serveAt(t, installation, offsetMs)))
  const posts = nodes.map(({ url }) => posting(url))
  const now = async () => Number((await sql(installation, 'SELECT UNIX_TIMESTAMP() AS now'))[0]?.now)
  const isNow = async (second: number) => Math.abs(second - (await now())) < SLOWNESS_S
  const days = nodes.map(({ kunci }) => (JSON.parse(kunci.stdout[0] ?? '').time - Date.now()) / DAY_MS)
  t.same(days.map(Math.round), [0, 1, -1], 'their clocks are as wrong as they should be')

  for (const begun of posts) {
    const session = await openSession(begun, pin())
    t.ok(await isNow(payloadOf(session.token).iat))
    for (const used of posts) {
      const message = session.seal('lease.issue', checkData(key))
      const reply = await session.send(message, '/v1/call', used)
      const { status, server_time: time, data } = session.open(message, reply)
      t.equal(status, 200)
      t.ok((await isNow(time)) && (await isNow(payloadOf(data.lease).iat)))
      for (const other of posts) t.same(await session.send(message, '/v1/call', other), reply)
    }
  }

  // Tokens of a living session: 30 seconds beyond its end one still counts.
  const session = await openSession(posts[0]!, pin())
  const [header = '', claims = ''] = session.token.split('.')
  const ending = (exp: number) =>
    asOperator(installation, async ({ keyPairs }) => {
      const payload = { ...JSON.parse(Buffer.from(claims, 'base64url').toString()), exp }
      const input = `${header}.${toB64u(Buffer.from(JSON.stringify(payload)))}`
      return `${input}.${toB64u(sign(null, Buffer.from(input), keyPairs.jwt()[0]!.privateKey))}`
    })
  const send = (post: Post, seq: number, token: string) => {
    const [op, salt] = ['ping', randomBytes(16)]
    const plaintext = padded(JSON.stringify({ nonce: toB64u(salt), data: {} }))
    const { box } = sealRequest(session.records, { seq, op, salt, tokenHash: tokenHashOf(token) }, plaintext)
    const body = {
      v: 1,
      session_id: session.records.sessionId,
      seq,
      op,
      salt: toB64u(salt),
      box: toB64u(box),
    }
    return post('/v1/call', body, { authorization: `Bearer ${token}` })
  }
  const [living, dead] = [await ending((await now()) + 5), await ending((await now()) - 31)]
  for (const [i, post] of posts.entries()) {
    t.equal((await send(post, 10 + i, living)).status, 200)
    t.same(await send(post, 20 + i, dead), SESSION)
  }

  await asOperator(installation, ({ keyRotation, clock }) =>
    keyRotation.rotate(ACTOR, 'kek', clock() + HOUR_MS),
  )
  for (const [i, node] of nodes.entries()) {
    await until('the file is read', () => reloaded(node).length === 1)
    t.equal(
      await kekOf(installation, await openSession(posts[i]!, pin())),
      'k1',
      'the next key has an hour to wait',
    )
  }
})
