import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { type Installation, install, serve, until } from '../support/installation.ts'
import { claimsOf, encrypt } from '../support/legacy.ts'
import { runKunci } from '../support/server.ts'
import { loops, wireClient } from '../support/wire-client.ts'

const [SQLITE] = DATABASES as [TestDatabase]
const PROMPTLY_MS = 5000

type Paths = { readonly cert_path: string; readonly key_path: string; readonly ca_path: string }

async function tlsInit({ env, config }: Installation, ...options: string[]): Promise<Paths> {
  const result = await runKunci(['tls', 'init', '--json', ...options], env, { cwd: config.dataDir })
  if (result.code !== 0) throw new Error(result.stderr)
  return JSON.parse(result.stdout)
}

async function securedInstallation(t: Pick<Test, 'teardown'>) {
  const plain = await install(t, SQLITE)
  const paths = await tlsInit(plain)
  const env = { ...plain.env, TLS_CERT: paths.cert_path, TLS_KEY: paths.key_path }
  return { installation: { ...plain, env }, paths, ca: readFileSync(paths.ca_path, 'utf8') }
}

async function openTls(t: Pick<Test, 'teardown'>, port: number, ca: string): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port, ca })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  socket.on('error', () => {})
  return socket
}

const serialOf = (path: string) => new X509Certificate(readFileSync(path)).serialNumber

t.test(
  'what "kunci tls init" makes serves HTTPS to clients that trust its authority, and nobody else',
  async (t) => {
    const { installation, ca } = await securedInstallation(t)
    const { kunci, url, port } = await serve(t, installation)
    t.match(url, /^https:/)
    const trusting = wireClient(url, { ca })
    t.teardown(() => trusting.close())
    const token: string = JSON.parse((await trusting.handOut()).text).session_token
    const reply = await trusting.check(token, { hwid: encrypt(claimsOf(token), '1234567890') })
    t.equal(reply.text, '{"status":"error","message":"Access denied (HWID Not Found).","code":"NOT_FOUND"}')
    t.match(reply.headers, { 'strict-transport-security': /max-age/ })
    const named = wireClient(`https://localhost:${port}`, { ca })
    t.equal((await named.send('/health/live', { method: 'GET' })).status, 200)
    named.close()
    const doubting = wireClient(url)
    await t.rejects(doubting.handOut(), { code: /SELF_SIGNED|UNABLE_TO_VERIFY/ })
    doubting.close()
    const plain = wireClient(`http://127.0.0.1:${port}`)
    await t.rejects(plain.handOut(), 'no word in the clear on this port')
    plain.close()
    t.notMatch(kunci.stdout.join('\n'), /server\.plain_http/)
    t.equal((await kunci.kill()).code, 0)
  },
)

t.test(
  'a replaced certificate is served without a restart, a broken one is not, and no request is lost',
  async (t) => {
    const { installation, paths, ca } = await securedInstallation(t)
    const { kunci, url, port } = await serve(t, installation)
    const served = async () => {
      const socket = await openTls(t, port, ca)
      const { serialNumber } = socket.getPeerCertificate()
      socket.destroy()
      return serialNumber
    }
    const old = serialOf(paths.cert_path)
    t.equal(await served(), old)

    const clients = [true, false].map((keepAlive) => wireClient(url, { ca, keepAlive }))
    let answered = 0
    const load = loops(4, async (loop) => {
      const { status } = (await clients[loop % clients.length]?.handOut()) ?? {}
      if (status !== 200) throw new Error(`HTTP ${status}`)
      answered++
    })
    await tlsInit(installation, '--force')
    const fresh = serialOf(paths.cert_path)
    t.not(fresh, old)
    await until('the new certificate is served', async () => (await served()) === fresh)
    await kunci.waitForLine(/tls\.reloaded/)

    renameSync(paths.cert_path, `${paths.cert_path}.kept`)
    writeFileSync(paths.cert_path, 'not yet whole')
    await kunci.waitForLine(/tls\.not_reloaded/)
    t.equal(await served(), fresh)
    await load.stop()
    for (const client of clients) client.close()
    t.ok(answered > 0, `${answered} hand-outs meanwhile`)
    t.equal((await kunci.kill()).code, 0)
  },
)

t.test('connections that nobody uses do not hold the end up, half-open handshakes neither', async (t) => {
  const { installation, ca } = await securedInstallation(t)
  const { kunci, url, port } = await serve(t, installation)
  const idle = wireClient(url, { ca })
  t.equal((await idle.handOut()).status, 200)
  await openTls(t, port, ca)
  const mute = connectTcp(port, '127.0.0.1')
  t.teardown(() => mute.destroy())
  mute.on('error', () => {})
  await once(mute, 'connect')
  const startMs = performance.now()
  t.same(await kunci.kill(), { code: 0, signal: null })
  const tookMs = Math.round(performance.now() - startMs)
  t.ok(tookMs < PROMPTLY_MS, `it took ${tookMs} ms`)
  idle.close()
})

t.test('a certificate that is not there stops the start with exit code 5, and words', async (t) => {
  const { env, config } = await install(t, SQLITE)
  const missing = { TLS_CERT: '/nowhere/cert.pem', TLS_KEY: '/nowhere/key.pem', PORT: '0' }
  const result = await runKunci(['serve'], { ...env, ...missing }, { cwd: config.dataDir })
  t.equal(result.code, 5)
  t.match(
    result.stderr,
    /kunci: The TLS certificate \/nowhere\/cert\.pem cannot be read: there is no such file/,
  )
})
