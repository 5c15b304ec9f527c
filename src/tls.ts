import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'

/** Where the certificate (with its chain, leaf first) and its private key lie, both PEM. Links are followed. */
export interface TlsPaths {
  certPath: string
  keyPath: string
}

/** What a TLS server takes as options, and `setSecureContext` too: the bytes of the two files. */
export interface TlsPair {
  cert: Buffer
  key: Buffer
}

/**
 * Reads a certificate and its key and checks that they can serve: both readable, PEM, made for each other, not
 * expired, accepted by OpenSSL. A certificate that is not valid *yet* passes: machines without a battery clock start
 * in the past, and are put right while they run.
 * @param nowMs epoch milliseconds.
 * @throws {Error} whose message says what is wrong, in which file, and what mends it. It never quotes a file.
 */
export function loadTls({ certPath, keyPath }: TlsPaths, nowMs: number = Date.now()): TlsPair {
  const cert = read(certPath, 'certificate')
  const key = read(keyPath, 'private key')
  const certificate = parseCertificate(cert, certPath)
  if (!certificate.checkPrivateKey(parseKey(key, keyPath))) {
    throw new Error(
      `The TLS key ${keyPath} does not belong to the certificate ${certPath}. ` +
        'Name two files that were made together, or put both in place again.',
    )
  }
  if (certificate.validToDate.getTime() <= nowMs) {
    throw new Error(
      `The TLS certificate ${certPath} expired on ${certificate.validToDate.toISOString()}. ` +
        'Renew it, or put the clock of this machine right if that is what is wrong.',
    )
  }
  assertUsable({ cert, key }, certPath)
  return { cert, key }
}

function read(path: string, what: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Error(`The TLS ${what} ${path} cannot be read: ${whyUnreadable(codeOf(error))}`, {
      cause: error,
    })
  }
}

function whyUnreadable(code: string): string {
  if (code === 'ENOENT')
    return 'there is no such file. Correct the path, or make a pair with "kunci tls init".'
  if (code === 'EACCES' || code === 'EPERM') return 'access denied. Let the account that runs Kunci read it.'
  if (code === 'EISDIR') return 'it is a directory. Name the file in it.'
  return `${code}.`
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}

function parseCertificate(pem: Buffer, path: string): X509Certificate {
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    const hint = pem.includes('PRIVATE KEY-----')
      ? 'It holds a private key: were the two paths exchanged?'
      : 'A DER file is converted by "openssl x509 -inform der -in FILE -out FILE.pem".'
    throw new Error(`The TLS certificate ${path} is not in PEM form. ${hint}`)
  }
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new Error(`The TLS certificate ${path} is damaged. Copy it again, or issue it again.`, { cause })
  }
}

function parseKey(pem: Buffer, path: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    throw new Error(`The TLS key ${path} ${whyNoKey(pem)}`, { cause })
  }
}

function whyNoKey(pem: Buffer): string {
  // The word of PKCS#8 and of the older PEM header (RFC 1421) alike; OpenSSL's error names no cause.
  if (pem.includes('ENCRYPTED')) {
    return 'is locked by a passphrase. Take it off: "openssl pkey -in FILE -out NEW-FILE".'
  }
  if (pem.includes('PRIVATE KEY-----'))
    return 'is damaged. Copy it again, or issue certificate and key again.'
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return 'holds a certificate: were the two paths exchanged?'
  return 'holds no private key in PEM form. A DER file is converted by "openssl pkey -inform der -in FILE -out FILE.pem".'
}

/** What only OpenSSL knows: keys and digests too weak for it, a chain that does not parse. */
function assertUsable(pair: TlsPair, certPath: string): void {
  try {
    createSecureContext(pair)
  } catch (cause) {
    const reason = (cause as Error).message
    throw new Error(`The TLS certificate ${certPath} is refused by OpenSSL (${reason}). Issue it anew.`, {
      cause,
    })
  }
}
