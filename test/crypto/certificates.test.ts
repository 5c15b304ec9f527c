import { execFileSync, spawnSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import forge from 'node-forge'
import t from 'tap'
import { type CertifiedKey, createAuthority, issueServerCertificate } from '../../src/crypto/certificates.ts'

const HOUR_MS = 3_600_000
const notBefore = new Date(Date.now() - HOUR_MS)
const notAfter = new Date(Date.now() + 24 * HOUR_MS)
const permitted = { hostNames: ['kunci.example'], ipAddresses: ['127.0.0.1'] }

const free = createAuthority({ commonName: 'Kunci tëst 鍵', notBefore, notAfter })
const bound = createAuthority({ commonName: 'Kunci bound', notBefore, notAfter, permitted })

const NO_OPENSSL =
  spawnSync('openssl', ['version']).error === undefined ? false : 'no openssl on this machine'

/** What `openssl verify` says of a chain, with its strictest reading of RFC 5280. */
function opensslVerify(directory: string, authority: CertifiedKey, leaf: CertifiedKey, ...args: string[]) {
  const [caPath, leafPath] = [join(directory, 'ca.pem'), join(directory, 'leaf.pem')]
  writeFileSync(caPath, authority.certPem)
  writeFileSync(leafPath, leaf.certPem)
  const options = ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', caPath, ...args, leafPath]
  const { stdout, stderr } = spawnSync('openssl', options, { encoding: 'utf8' })
  return stdout + stderr
}

function extension(certPem: string, name: string) {
  return forge.pki.certificateFromPem(certPem).getExtension(name) as Record<string, unknown> | null
}

t.test('an authority can certify servers and nothing below itself', async (t) => {
  for (const { certPem, keyPem } of [free, bound]) {
    t.equal(extension(certPem, 'basicConstraints')?.cA, true)
    t.equal(extension(certPem, 'basicConstraints')?.pathLenConstraint, 0)
    t.equal(extension(certPem, 'basicConstraints')?.critical, true)
    t.match(extension(certPem, 'keyUsage'), { critical: true, keyCertSign: true, cRLSign: true })
    t.equal(extension(certPem, 'keyUsage')?.digitalSignature, false)
    const certificate = new X509Certificate(certPem)
    t.ok(certificate.checkPrivateKey(createPrivateKey(keyPem)))
    t.ok(certificate.verify(certificate.publicKey))
    t.equal(certificate.publicKey.asymmetricKeyDetails?.modulusLength, 3072)
    t.match(keyPem, /^-----BEGIN PRIVATE KEY-----\n/, 'PKCS#8')
    t.notMatch(certPem, /\r/)
  }
})

t.test('a server certificate carries every name it was asked for, and only those', async (t) => {
  const { certPem, keyPem } = issueServerCertificate({
    authority: free,
    hostNames: ['kunci.example', 'KUNCI.Local', 'xn--kunc-7pa.example', 'pc-1'],
    ipAddresses: ['127.0.0.1', '::1', '2001:DB8::a:0:1', '::ffff:192.0.2.7', '1:2:3:4:5:6:7:8', '::'],
    notBefore,
    notAfter,
  })
  const certificate = new X509Certificate(certPem)
  t.equal(
    certificate.subjectAltName,
    [
      ...['DNS:kunci.example', 'DNS:kunci.local', 'DNS:xn--kunc-7pa.example', 'DNS:pc-1'],
      ...['IP Address:127.0.0.1', 'IP Address:0:0:0:0:0:0:0:1', 'IP Address:2001:DB8:0:0:0:A:0:1'],
      ...['IP Address:0:0:0:0:0:FFFF:C000:207', 'IP Address:1:2:3:4:5:6:7:8', 'IP Address:0:0:0:0:0:0:0:0'],
    ].join(', '),
  )
  t.equal(certificate.checkHost('kunci.local'), 'kunci.local')
  t.equal(certificate.checkHost('other.example'), undefined)
  t.equal(certificate.checkIP('2001:db8::a:0:1'), '2001:db8::a:0:1')
  t.equal(certificate.ca, false)
  t.same(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'serverAuth alone')
  t.match(extension(certPem, 'keyUsage'), { critical: true, digitalSignature: true, keyCertSign: false })
  t.ok(certificate.checkPrivateKey(createPrivateKey(keyPem)))
  t.equal(certificate.validToDate.getTime(), Math.floor(notAfter.getTime() / 1000) * 1000)
})

t.test('openssl accepts the chain, by host name and by address', { skip: NO_OPENSSL }, async (t) => {
  for (const authority of [free, bound]) {
    const leaf = issueServerCertificate({ authority, ...permitted, notBefore, notAfter })
    const directory = t.testdir()
    t.match(opensslVerify(directory, authority, leaf, '-verify_hostname', 'kunci.example'), /leaf\.pem: OK/)
    t.match(opensslVerify(directory, authority, leaf, '-verify_ip', '127.0.0.1'), /leaf\.pem: OK/)
    t.match(opensslVerify(directory, authority, leaf, '-verify_hostname', 'other.example'), /mismatch/)
  }
})

t.test('a chain is good for addresses alone, too', { skip: NO_OPENSSL }, async (t) => {
  const only = { hostNames: [], ipAddresses: ['::1'] }
  const authority = createAuthority({ commonName: 'Addresses', notBefore, notAfter, permitted: only })
  const leaf = issueServerCertificate({ authority, ...only, notBefore, notAfter })
  t.match(opensslVerify(t.testdir(), authority, leaf, '-verify_ip', '::1'), /leaf\.pem: OK/)
  for (const names of [
    { hostNames: ['kunci.example'], ipAddresses: [] },
    { hostNames: [], ipAddresses: ['::2'] },
    { hostNames: [], ipAddresses: ['127.0.0.1'] },
  ]) {
    t.throws(() => issueServerCertificate({ authority, ...names, notBefore, notAfter }), /may not certify/)
  }
})

t.test('an authority refuses names outside its constraints, and allows those below them', async (t) => {
  const issue = (hostNames: string[], ipAddresses: string[] = []) =>
    issueServerCertificate({ authority: bound, hostNames, ipAddresses, notBefore, notAfter })
  t.doesNotThrow(() => issue(['eu.kunci.example']))
  t.throws(() => issue(['kunci.example', 'bank.example']), /may not certify bank\.example/)
  t.throws(() => issue(['notkunci.example']), /may not certify/)
  t.throws(() => issue([], ['127.0.0.2']), /may not certify/)
  t.throws(() => issue([], ['::1']), /may not certify/, 'no IPv6 address was permitted')
})

t.test(
  'a thief of the key cannot pose as a site outside the constraints',
  { skip: NO_OPENSSL },
  async (t) => {
    // The thief does not ask our code: the same key and subject without the extension sign what he likes.
    const stolen = forge.pki.certificateFromPem(bound.certPem)
    stolen.setExtensions(stolen.extensions.filter(({ name }) => name !== 'nameConstraints'))
    stolen.sign(forge.pki.privateKeyFromPem(bound.keyPem), forge.md.sha256.create())
    const authority = { certPem: forge.pki.certificateToPem(stolen), keyPem: bound.keyPem }
    for (const names of [
      { hostNames: ['bank.example'], ipAddresses: [] },
      { hostNames: [], ipAddresses: ['192.0.2.1'] },
      { hostNames: [], ipAddresses: ['2001:db8::1'] },
    ]) {
      const leaf = issueServerCertificate({ authority, ...names, notBefore, notAfter })
      t.match(opensslVerify(t.testdir(), authority, leaf), /leaf\.pem: OK/, 'his own chain holds')
      t.match(
        opensslVerify(t.testdir(), bound, leaf),
        /subtree violation/,
        'the one that is trusted does not',
      )
    }
  },
)

t.test('every serial number is positive, 16 bytes long and new', async (t) => {
  const leaves = Array.from({ length: 4 }, () =>
    issueServerCertificate({ authority: free, ...permitted, notBefore, notAfter }),
  )
  const serials = [free, bound, ...leaves].map(({ certPem }) => new X509Certificate(certPem).serialNumber)
  for (const serial of serials) t.match(serial, /^[4-7][0-9A-F]{31}$/)
  t.equal(new Set(serials).size, serials.length)
})

t.test('an issuer name outside ASCII comes through unchanged', async (t) => {
  const { certPem } = issueServerCertificate({ authority: free, ...permitted, notBefore, notAfter })
  t.equal(new X509Certificate(certPem).issuer, 'CN=Kunci tëst 鍵')
  t.equal(new X509Certificate(free.certPem).subject, 'CN=Kunci tëst 鍵')
})

t.test('a name that is none is refused', async (t) => {
  const issue = (hostNames: string[], ipAddresses: string[]) => () =>
    issueServerCertificate({ authority: free, hostNames, ipAddresses, notBefore, notAfter })
  t.throws(issue([], []), RangeError)
  const long = `${'a'.repeat(60)}.`.repeat(5)
  const hosts = [
    '',
    '.',
    'a..b',
    'a.',
    '-a',
    'a-',
    'a_b',
    '*.a.example',
    'http://a',
    'a b',
    'künci.example',
    '127.0.0.1',
  ]
  for (const host of [...hosts, 'a\0b', '::1', 'a'.repeat(64), `${long}example`])
    t.throws(issue([host], []), RangeError, host)
  const addresses = [
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4/8',
    '1:2',
    '::1%eth0',
    '[::1]',
    ':::',
    'localhost',
    '::1]/x[',
  ]
  for (const address of [...addresses, '1.2.3.4.', '::1.2.3.256', '1::2::3'])
    t.throws(issue([], [address]), RangeError, address)
})

t.test('an authority that is none is refused', async (t) => {
  const leaf = issueServerCertificate({ authority: free, ...permitted, notBefore, notAfter })
  const issue = (authority: CertifiedKey) => () =>
    issueServerCertificate({ authority, ...permitted, notBefore, notAfter })
  t.throws(issue(leaf), /not one of an authority/)
  t.throws(issue({ ...free, keyPem: bound.keyPem }), /belongs to another certificate/)
  t.throws(issue({ ...free, keyPem: free.certPem }), /not a readable private key/)
})

t.test('no certificate ends before it begins or outlives its authority', async (t) => {
  const issue = (from: Date, to: Date) => () =>
    issueServerCertificate({ authority: free, ...permitted, notBefore: from, notAfter: to })
  t.throws(issue(notAfter, notBefore), RangeError)
  t.throws(issue(new Date(Number.NaN), notAfter), RangeError)
  t.throws(issue(notBefore, new Date(notAfter.getTime() + 1000)), RangeError)
  t.throws(() => createAuthority({ commonName: 'x', notBefore: notAfter, notAfter: notBefore }), RangeError)
  t.throws(() => createAuthority({ commonName: '', notBefore, notAfter }), RangeError)
})

t.test(
  'an authority that ends after 2049 is written as RFC 5280 wants it',
  { skip: NO_OPENSSL },
  async (t) => {
    const { certPem } = createAuthority({
      commonName: 'Late',
      notBefore,
      notAfter: new Date('2061-02-03T04:05:06Z'),
    })
    const text = execFileSync('openssl', ['x509', '-noout', '-enddate'], { input: certPem, encoding: 'utf8' })
    t.match(text, /Feb {2}3 04:05:06 2061 GMT/)
  },
)
