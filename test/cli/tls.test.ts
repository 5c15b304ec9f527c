import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { connect, createServer } from 'node:tls'
import t, { type Test } from 'tap'
import { initTls } from '../../src/cli/commands/tls.ts'
import { createAuthority } from '../../src/crypto/certificates.ts'
import { loadTls } from '../../src/tls.ts'

const DAY_MS = 86_400_000
const NOW_MS = Date.now()
const NO_MODES = process.platform === 'win32' ? 'no file modes on Windows' : false
const FILES = ['ca-key.pem', 'ca.pem', 'server-key.pem', 'server.pem']

const names = { hostNames: ['kunci.example'], ipAddresses: ['192.0.2.7'] }
const init = (directory: string, options: Partial<Parameters<typeof initTls>[0]> = {}) =>
  initTls({ directory, ...names, nowMs: NOW_MS, force: false, ...options })
const certificate = (path: string) => new X509Certificate(readFileSync(path))

// RSA keys cost most of a test's time: those that begin with a finished directory get a copy of this one.
const template = join(t.testdir(), 'tls')
const made = await init(template)

function finished(t: Pick<Test, 'testdir'>) {
  const directory = join(t.testdir(), 'tls')
  cpSync(template, directory, { recursive: true })
  const inside = (path: string) => join(directory, basename(path))
  return {
    directory,
    certPath: inside(made.certPath),
    keyPath: inside(made.keyPath),
    caPath: inside(made.caPath),
  }
}

/** Every file of a directory with the digest of its bytes: equal when nothing was touched. */
function contents(directory: string): Record<string, string> {
  const digest = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(directory, name)))
      .digest('hex')
  return Object.fromEntries(
    readdirSync(directory)
      .sort()
      .map((name) => [name, digest(name)]),
  )
}

t.test('what it writes serves TLS to a client that trusts ca.pem', async (t) => {
  const { certPath, keyPath, caPath, created } = await init(join(t.testdir(), 'tls'), {
    hostNames: [],
    ipAddresses: [],
  })
  t.equal(created, true)
  const server = createServer(loadTls({ certPath, keyPath })).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  for (const servername of ['localhost', '']) {
    const socket = connect({ host: '127.0.0.1', port, servername, ca: readFileSync(caPath) })
    await once(socket, 'secureConnect')
    t.ok(socket.authorized, servername || '127.0.0.1')
    socket.destroy()
  }
})

t.test('the four files are there, the keys for their owner only', { skip: NO_MODES }, async (t) => {
  const directory = join(t.testdir(), 'deep', 'tls')
  await init(directory)
  t.same(readdirSync(directory).sort(), FILES)
  const mode = (name: string) => statSync(join(directory, name)).mode & 0o777
  t.equal(mode('.'), 0o700)
  t.equal(mode('ca-key.pem'), 0o600)
  t.equal(mode('server-key.pem'), 0o600)
})

t.test('the authority lives ten years, the server certificate 397 days, both from an hour ago', async (t) => {
  const { certPath, caPath } = finished(t)
  const [server, ca] = [certificate(certPath), certificate(caPath)]
  const days = (to: Date) => Math.round((to.getTime() - NOW_MS) / DAY_MS)
  t.equal(days(server.validToDate), 397)
  t.equal(days(ca.validToDate), 3653)
  t.ok(server.validFromDate.getTime() <= NOW_MS - 3_600_000)
  t.ok(ca.validFromDate.getTime() <= NOW_MS - 3_600_000)
  t.equal(server.subjectAltName, 'DNS:kunci.example, IP Address:192.0.2.7')
})

t.test('a second run changes no byte, whatever names it is given', async (t) => {
  const { directory, ...paths } = finished(t)
  const before = contents(directory)
  t.same(await init(directory, { hostNames: ['other.example'] }), { ...paths, created: false })
  t.same(contents(directory), before)
})

t.test('forced, it issues anew from the same authority, so that clients go on trusting it', async (t) => {
  const { directory, certPath, caPath } = finished(t)
  const before = contents(directory)
  t.equal((await init(directory, { force: true, hostNames: ['eu.kunci.example'] })).created, true)
  const after = contents(directory)
  t.equal(after['ca.pem'], before['ca.pem'])
  t.equal(after['ca-key.pem'], before['ca-key.pem'])
  t.not(after['server.pem'], before['server.pem'])
  t.not(after['server-key.pem'], before['server-key.pem'])
  t.ok(certificate(certPath).verify(certificate(caPath).publicKey))
  t.equal(certificate(certPath).subjectAltName, 'DNS:eu.kunci.example, IP Address:192.0.2.7')
})

t.test('a lost server pair comes back from the authority that is there', async (t) => {
  const { directory, certPath, keyPath, caPath } = finished(t)
  const ca = readFileSync(caPath, 'utf8')
  rmSync(certPath)
  rmSync(keyPath)
  t.equal((await init(directory)).created, true)
  t.equal(readFileSync(caPath, 'utf8'), ca)
})

t.test('an authority whose key was stored elsewhere is asked for, not replaced', async (t) => {
  const { directory } = finished(t)
  rmSync(join(directory, 'ca-key.pem'))
  const before = contents(directory)
  await t.rejects(init(directory, { force: true }), { message: /ca\.pem is there, but .*ca-key\.pem is not/ })
  t.same(contents(directory), before)
})

t.test('half a server pair is not written over unless forced', async (t) => {
  const { directory, keyPath } = finished(t)
  rmSync(keyPath)
  const before = contents(directory)
  await t.rejects(init(directory), { message: /server\.pem is there, but .*server-key\.pem is not/ })
  t.same(contents(directory), before)
  t.equal((await init(directory, { force: true })).created, true)
})

t.test('an authority that cannot issue is named, with the way out, and nothing is touched', async (t) => {
  const { directory, caPath } = finished(t)
  const before = contents(directory)
  const refused = async (message: RegExp, options: Parameters<typeof init>[1] = {}) => {
    await t.rejects(init(directory, { force: true, ...options }), { name: 'SetupError', message })
    await t.rejects(init(directory, { force: true, ...options }), {
      message: /Move ca\.pem and ca-key\.pem away/,
    })
  }
  await refused(/may not certify bank\.example/, { hostNames: ['bank.example'] })
  await refused(/ca\.pem has expired/, { nowMs: NOW_MS + 3_654 * DAY_MS })
  t.same(contents(directory), before)

  const validity = { notBefore: new Date(NOW_MS), notAfter: new Date(NOW_MS + DAY_MS) }
  writeFileSync(caPath, createAuthority({ commonName: 'Another', ...validity }).certPem)
  await refused(/key belongs to another certificate/)
  writeFileSync(caPath, 'scrambled')
  await t.rejects(init(directory, { force: true }), { message: /ca\.pem is no certificate/ })
})

t.test('no server certificate outlives its authority', async (t) => {
  const { directory, certPath, caPath } = finished(t)
  await init(directory, { force: true, nowMs: NOW_MS + 3_600 * DAY_MS })
  t.same(certificate(certPath).validToDate, certificate(caPath).validToDate)
})

t.test('a name that is none stops it before the directory is made', async (t) => {
  const directory = join(t.testdir(), 'tls')
  await t.rejects(init(directory, { hostNames: ['no name'] }), {
    name: 'RangeError',
    message: /not a host name: "no name"/,
  })
  await t.rejects(init(directory, { ipAddresses: ['1.2.3.400'] }), {
    name: 'RangeError',
    message: /not an IP address/,
  })
  t.notOk(existsSync(directory))
})

t.test('a write that fails leaves no temporary file behind', async (t) => {
  const { directory, certPath } = finished(t)
  renameSync(certPath, `${certPath}.kept`)
  mkdirSync(certPath)
  await t.rejects(init(directory, { force: true }))
  t.same(readdirSync(directory).sort(), [...FILES, 'server.pem.kept'].sort())
})
