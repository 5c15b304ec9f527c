import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { holdUp, install, serve, sql, until } from '../support/installation.ts'
import { claimsOf } from '../support/legacy.ts'
import { runKunci } from '../support/server.ts'
import { type Exchange, loops, wireClient } from '../support/wire-client.ts'

const CLIENTS = 32
const HAND_OUT = '/api/auth/get-session-key'
/** Far below KEEP_ALIVE_TIMEOUT_MS and SHUTDOWN_TIMEOUT_MS, far above what an idle machine needs. */
const PROMPTLY_MS = 5000
const [SQLITE] = DATABASES as [TestDatabase]

async function rawConnection(t: Pick<Test, 'teardown'>, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** All that the server says until it closes the connection. */
async function everything(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

for (const database of DATABASES)
  t.test(database.name, async (t) => {
    t.test('SIGTERM under load: every request that was sent before it gets its whole reply', async (t) => {
      const installation = await install(t, database)
      for (const keepAlive of [true, false]) {
        const { kunci, url } = await serve(t, installation)
        const client = wireClient(url, { connections: CLIENTS, keepAlive })
        const underWay = new Set<Exchange>()
        const later = { answered: 0, refused: 0 }
        let isTold = false
        let good = 0
        const load = loops(CLIENTS, async () => {
          const exchange = client.begin(HAND_OUT)
          underWay.add(exchange)
          const wasTold = isTold
          try {
            const { status } = await exchange.reply
            if (status === 200) good++
            if (wasTold) later.answered++
          } catch (error) {
            if (!isTold) throw error
            later.refused++
          } finally {
            underWay.delete(exchange)
          }
        })
        await until('200 hand-outs', () => good >= 200)
        isTold = true
        const ended = kunci.kill('SIGTERM')
        const sent = [...underWay].filter((exchange) => exchange.isSent())
        const replies = await Promise.allSettled(sent.map(({ reply }) => reply))
        const bad = replies.filter(
          (result) => result.status === 'rejected' || JSON.parse(result.value.text).status !== 'success',
        )
        t.same(bad, [], `${replies.length} requests under way (keep-alive ${keepAlive})`)
        t.same(await ended, { code: 0, signal: null })
        await load.stop()
        client.close()
        t.comment(`sent after it: ${later.answered} answered, ${later.refused} refused`)
      }
    })

    t.test('SIGTERM while hand-outs wait for the database: they are answered, and kept', async (t) => {
      const installation = await install(t, database)
      const { kunci, url } = await serve(t, installation)
      const client = wireClient(url)
      t.teardown(() => client.close())
      const letGo = await holdUp(t, installation)
      const exchanges = Array.from({ length: 8 }, () => client.begin(HAND_OUT))
      await until('all are sent', () => exchanges.every((exchange) => exchange.isSent()))
      const ended = kunci.kill('SIGTERM')
      await kunci.waitForLine(/server\.stopping/)
      const startMs = performance.now()
      await letGo()
      const rows = new Set<string>()
      for (const { reply } of exchanges) {
        const { status, text } = await reply
        t.equal(status, 200)
        rows.add(claimsOf(JSON.parse(text).session_token).session_id)
      }
      t.same(await ended, { code: 0, signal: null })
      t.ok(performance.now() - startMs < PROMPTLY_MS, 'though the clients keep their connections open')
      const kept = await sql(installation, 'SELECT session_id FROM session_keys')
      t.same(new Set(kept.map(({ session_id }) => session_id)), rows)
    })
  })

t.test('SIGTERM in the middle of a request: its other half is waited for, and it is answered', async (t) => {
  const { kunci, port } = await serve(t, await install(t, SQLITE))
  const socket = await rawConnection(t, port)
  const body = '{"hwid":"00"}'
  socket.write(
    `POST /api/1.php HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
  )
  const other = await rawConnection(t, port)
  other.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(other, 'data')
  const ended = kunci.kill('SIGTERM')
  await kunci.waitForLine(/server\.stopping/)
  socket.write(body.slice(5))
  const reply = await everything(socket)
  t.match(reply, /^HTTP\/1\.1 401 /)
  t.match(reply, /\{"status":"error","message":"Authentication required\."\}$/)
  t.same(await ended, { code: 0, signal: null })
})

t.test('connections that nobody uses do not hold the end up', async (t) => {
  const { kunci, port } = await serve(t, await install(t, SQLITE))
  const silent = await Promise.all(Array.from({ length: 4 }, () => rawConnection(t, port)))
  const idle = await Promise.all(Array.from({ length: 4 }, () => rawConnection(t, port)))
  for (const socket of idle) {
    socket.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket, 'data')
  }
  for (const socket of [...silent, ...idle]) socket.resume()
  const startMs = performance.now()
  t.same(await kunci.kill('SIGTERM'), { code: 0, signal: null })
  const tookMs = Math.round(performance.now() - startMs)
  t.ok(tookMs < PROMPTLY_MS, `it took ${tookMs} ms`)
})

t.test('a port that is taken: exit code 5, and words that say so', async (t) => {
  const { port } = await serve(t, await install(t, SQLITE))
  const { env, config } = await install(t, SQLITE)
  const result = await runKunci(['serve'], { ...env, PORT: String(port) }, { cwd: config.dataDir })
  t.equal(result.code, 5)
  t.match(result.stderr, `kunci: Cannot listen on 127.0.0.1:${port}: `)
  t.match(result.stderr, /EADDRINUSE/)
  t.notMatch(result.stderr, /\n {4}at /, 'no stack')
})

t.test('two servers on one fresh SQLite file at once: both come up, the tables are made once', async (t) => {
  const installation = await install(t, SQLITE)
  const two = await Promise.all([serve(t, installation), serve(t, installation)])
  const rows = await sql(installation, 'SELECT name, finished_at_ms FROM kunci_migrations')
  t.ok(rows.length > 0)
  t.equal(new Set(rows.map(({ name }) => name)).size, rows.length)
  t.ok(rows.every(({ finished_at_ms }) => Number(finished_at_ms) > 0))
  const [a, b] = two.map(({ url }) => wireClient(url))
  const token = JSON.parse((await a!.handOut()).text).session_token
  const reply = await b!.check(token, { hwid: 'zz' })
  t.equal(reply.text, '{"status":"error","message":"Security verification failed."}', 'they share their keys')
  a!.close()
  b!.close()
  for (const { kunci } of two) t.same(await kunci.kill(), { code: 0, signal: null })
})

t.test(
  'two "kunci migrate" on one fresh MariaDB database at once: both succeed, the tables are made once',
  async (t) => {
    const [, mariadb] = DATABASES
    const config = await mariadb!.freshConfig(t)
    const env = { DATABASE_URL: config.databaseUrl ?? '', DATA_DIR: config.dataDir }
    const two = await Promise.all([1, 2].map(() => runKunci(['migrate'], env, { cwd: config.dataDir })))
    t.same(
      two.map(({ code }) => code),
      [0, 0],
      two.map(({ stderr }) => stderr).join('\n'),
    )
    const rows = await sql({ config, env }, 'SELECT name, finished_at_ms FROM kunci_migrations')
    t.ok(rows.length > 0)
    t.ok(rows.every(({ finished_at_ms }) => Number(finished_at_ms) > 0))
  },
)

t.test(
  'plain HTTP for every interface warns in the log, and on loopback or behind a proxy it does not',
  async (t) => {
    const cases = [
      { env: { HOST: '0.0.0.0' }, warns: true },
      { env: { HOST: '0.0.0.0', TRUST_PROXY: '127.0.0.1' }, warns: false },
      { env: {}, warns: false },
    ]
    for (const { env, warns } of cases) {
      const { kunci } = await serve(t, await install(t, SQLITE, env))
      await kunci.kill()
      t.equal(
        kunci.stdout.some((line) => line.includes('server.plain_http')),
        warns,
        JSON.stringify(env),
      )
    }
  },
)

t.test(
  'the first start says where it wrote its secrets, which only their owner can read; the next one does not',
  async (t) => {
    const installation = await install(t, SQLITE)
    const { keysDir } = installation.config
    const first = await serve(t, installation)
    await first.kunci.kill()
    const [said] = first.kunci.stdout
      .filter((line) => line.includes('keys.created'))
      .map((line) => JSON.parse(line))
    t.match(said.msg, keysDir)
    t.same(
      said.files.sort(),
      readdirSync(keysDir)
        .map((file) => join(keysDir, file))
        .sort(),
    )
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
    t.equal(mode(keysDir), '700')
    for (const file of said.files) t.equal(mode(file), '600', file)
    const second = await serve(t, installation)
    await second.kunci.kill()
    t.notMatch(second.kunci.stdout.join('\n'), /keys\.created/)
  },
)
