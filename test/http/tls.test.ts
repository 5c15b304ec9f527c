import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect, createServer, type Server } from 'node:tls'
import t, { type Test } from 'tap'
import { type CertifiedKey, createAuthority, issueServerCertificate } from '../../src/crypto/certificates.ts'
import { watchTls } from '../../src/http/tls.ts'
import { loadTls, type TlsPaths } from '../../src/tls.ts'

const DAY_MS = 86_400_000
const NOW_MS = Date.now()
const POLL_MS = 5
const validity = { notBefore: new Date(NOW_MS - DAY_MS), notAfter: new Date(NOW_MS + DAY_MS) }
const authority = createAuthority({ commonName: 'Kunci test', ...validity })
const issue = (notAfterMs = NOW_MS + DAY_MS) =>
  issueServerCertificate({
    authority,
    hostNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    notBefore: new Date(NOW_MS - 10 * DAY_MS),
    notAfter: new Date(notAfterMs),
  })
const first = issue()
const second = issue()
const expired = issue(NOW_MS - 1_000)

function pathsIn(directory: string): TlsPaths {
  return { certPath: join(directory, 'cert.pem'), keyPath: join(directory, 'key.pem') }
}

function put({ certPath, keyPath }: TlsPaths, { certPem, keyPem }: CertifiedKey): TlsPaths {
  writeFileSync(keyPath, keyPem)
  writeFileSync(certPath, certPem)
  return { certPath, keyPath }
}

function serial({ certPem }: CertifiedKey): string {
  return new X509Certificate(certPem).serialNumber
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(1)
}

/** The serial number of the certificate that a new connection is shown; rejects when the client does not trust it. */
async function served(server: Server, ca: string = authority.certPem): Promise<string> {
  const { port } = server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port, ca })
  await once(socket, 'secureConnect')
  const { serialNumber } = socket.getPeerCertificate()
  socket.destroy()
  return serialNumber
}

/** A server on a watched pair; what was reported, and how often the files were loaded. */
async function watched(t: Pick<Test, 'teardown'>, paths: TlsPaths) {
  const server = createServer(loadTls(paths)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const seen = { reloads: 0, errors: [] as string[], loads: 0 }
  const watch = watchTls(server, paths, {
    intervalMs: POLL_MS,
    onReload: () => seen.reloads++,
    onError: ({ message }) => seen.errors.push(message),
    clock: () => {
      seen.loads++
      return Date.now()
    },
  })
  t.teardown(() => {
    watch.close()
    server.close()
  })
  return { server, seen, watch }
}

t.test('a client that trusts the authority connects, and one that does not is turned away', async (t) => {
  const { server } = await watched(t, put(pathsIn(t.testdir()), first))
  t.equal(await served(server), serial(first))
  const stranger = createAuthority({ commonName: 'Stranger', ...validity })
  await t.rejects(served(server, stranger.certPem), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
})

t.test('a pair that fits is handed on unchanged', async (t) => {
  const { cert, key } = loadTls(put(pathsIn(t.testdir()), first))
  t.equal(cert.toString(), first.certPem)
  t.equal(key.toString(), first.keyPem)
})

t.test('a certificate is refused from the millisecond at which it expires', async (t) => {
  const paths = put(pathsIn(t.testdir()), expired)
  const endMs = new X509Certificate(expired.certPem).validToDate.getTime()
  t.doesNotThrow(() => loadTls(paths, endMs - 1))
  t.throws(() => loadTls(paths, endMs), { message: /cert\.pem expired on .*\. Renew it/ })
  t.throws(() => loadTls(paths), { message: /expired on/ }, 'by the clock of the machine where none is given')
})

t.test('a certificate that is not valid yet is taken, as clocks are put right later', async (t) => {
  t.doesNotThrow(() => loadTls(put(pathsIn(t.testdir()), first), 0))
})

t.test('whatever is wrong with the files is said with the file and the cure', async (t) => {
  const paths = pathsIn(t.testdir({ directory: {} }))
  const { certPath, keyPath } = paths
  const der = new X509Certificate(first.certPem).raw
  const locked = createPrivateKey(first.keyPem)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString()
  const cut = (pem: string) => pem.slice(0, pem.length / 2)
  const weak = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  })

  t.throws(() => loadTls(paths), {
    message: /certificate .*cert\.pem cannot be read: there is no such file\./,
  })
  writeFileSync(certPath, first.certPem)
  t.throws(() => loadTls(paths), {
    message: /private key .*key\.pem cannot be read: there is no such file\./,
  })
  const directory = join(certPath, '..', 'directory')
  t.throws(() => loadTls({ certPath: directory, keyPath }), {
    message: /directory cannot be read: it is a directory/,
  })
  t.throws(() => loadTls({ certPath: join(certPath, 'x'), keyPath }), { message: /cannot be read: ENOTDIR/ })

  const cases: [cert: string | Buffer, key: string | Buffer, message: RegExp][] = [
    [first.certPem, second.keyPem, /key .*key\.pem does not belong to the certificate .*cert\.pem\./],
    [first.certPem, String(weak), /does not belong/],
    [first.keyPem, first.keyPem, /cert\.pem is not in PEM form\. It holds a private key: were the two/],
    [der, first.keyPem, /cert\.pem is not in PEM form\. A DER file/],
    ['', first.keyPem, /cert\.pem is not in PEM form/],
    [cut(first.certPem), first.keyPem, /cert\.pem is damaged/],
    [first.certPem + cut(authority.certPem), first.keyPem, /cert\.pem is refused by OpenSSL/],
    [first.certPem, first.certPem, /key\.pem holds a certificate: were the two paths exchanged/],
    [first.certPem, locked, /key\.pem is locked by a passphrase/],
    [first.certPem, cut(first.keyPem), /key\.pem is damaged/],
    [first.certPem, '', /key\.pem holds no private key in PEM form/],
  ]
  for (const [cert, key, message] of cases) {
    writeFileSync(certPath, cert)
    writeFileSync(keyPath, key)
    t.throws(() => loadTls(paths), { message }, String(message))
  }
})

t.test('no message repeats what stands in a key file', async (t) => {
  const paths = put(pathsIn(t.testdir()), { ...first, keyPem: first.keyPem.replace('BEGIN', 'BEGUN') })
  const body = first.keyPem.split('\n')[1]!
  try {
    loadTls(paths)
    t.fail('a broken key was taken')
  } catch (error) {
    t.notOk((error as Error).message.includes(body))
    t.notOk(String((error as Error).cause).includes(body))
  }
})

t.test('a running server shows a renewed certificate to new connections', async (t) => {
  const paths = put(pathsIn(t.testdir()), first)
  const { server, seen } = await watched(t, paths)
  t.equal(await served(server), serial(first))
  put(paths, second)
  await until(() => seen.reloads > 0)
  t.equal(await served(server), serial(second))
})

t.test('a connection that is open goes on over a reload', async (t) => {
  const paths = put(pathsIn(t.testdir()), first)
  const { server, seen } = await watched(t, paths)
  server.on('secureConnection', (socket) => socket.pipe(socket))
  const { port } = server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port, ca: authority.certPem })
  await once(socket, 'secureConnect')
  put(paths, second)
  await until(() => seen.reloads > 0)
  socket.write('still here')
  t.equal(String((await once(socket, 'data'))[0]), 'still here')
  socket.destroy()
})

t.test('links that are turned to new files are noticed, as certbot does it', async (t) => {
  const directory = t.testdir({ archive: {} })
  const paths = pathsIn(directory)
  const turn = (number: number, pair: CertifiedKey) => {
    for (const [path, text] of [
      [paths.certPath, pair.certPem],
      [paths.keyPath, pair.keyPem],
    ] as const) {
      const file = join(directory, 'archive', `${number}-${path.endsWith('key.pem') ? 'key' : 'cert'}.pem`)
      writeFileSync(file, text)
      symlinkSync(file, `${path}.new`)
      renameSync(`${path}.new`, path)
    }
  }
  turn(1, first)
  const { server, seen } = await watched(t, paths)
  turn(2, second)
  await until(() => seen.reloads > 0)
  t.equal(await served(server), serial(second))
})

t.test('a key that does not fit is kept out, reported once, and mended without a restart', async (t) => {
  const paths = put(pathsIn(t.testdir()), first)
  const { server, seen } = await watched(t, paths)
  writeFileSync(paths.keyPath, second.keyPem)
  await until(() => seen.errors.length > 0)
  const { loads } = seen
  await until(() => seen.loads >= loads + 5)
  t.equal(seen.errors.length, 1, 'five more looks brought no second report')
  t.match(seen.errors[0], /does not belong/)
  t.equal(await served(server), serial(first))

  writeFileSync(paths.certPath, second.certPem)
  await until(() => seen.reloads > 0)
  t.equal(await served(server), serial(second))
})

t.test('each further change that is no good is reported, and the old pair serves on', async (t) => {
  const paths = put(pathsIn(t.testdir()), first)
  const { server, seen } = await watched(t, paths)
  const reported = async (message: RegExp) => {
    const at = seen.errors.length
    await until(() => seen.errors.length > at)
    t.match(seen.errors.at(-1), message)
    t.equal(await served(server), serial(first))
  }
  rmSync(paths.certPath)
  await reported(/there is no such file/)
  writeFileSync(`${paths.certPath}.half`, second.certPem.slice(0, 300))
  renameSync(`${paths.certPath}.half`, paths.certPath)
  await reported(/is damaged/)
  put(paths, expired)
  await until(() => seen.errors.some((message) => /expired on/.test(message)))
  t.equal(await served(server), serial(first), 'an expired one is not better than the one in use')
  t.equal(seen.reloads, 0)
})

t.test('a pair renewed between the start and the watch is not missed', async (t) => {
  const paths = put(pathsIn(t.testdir()), first)
  const server = createServer(loadTls(paths)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  put(paths, second)
  const watch = watchTls(server, paths, {
    onReload: () => t.fail('no news'),
    onError: t.fail,
    intervalMs: POLL_MS,
  })
  t.equal(await served(server), serial(second))
  watch.close()
  server.close()
})

t.test('a watch that was closed looks no more', async (t) => {
  const paths = put(pathsIn(t.testdir()), first)
  const { seen, watch } = await watched(t, paths)
  const other = await watched(t, paths)
  watch.close()
  copyFileSync(paths.keyPath, `${paths.keyPath}.copy`)
  renameSync(`${paths.keyPath}.copy`, paths.keyPath)
  await until(() => other.seen.reloads > 0)
  t.equal(seen.reloads, 0)
})
