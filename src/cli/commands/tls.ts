import { randomBytes, X509Certificate } from 'node:crypto'
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type CertifiedKey,
  createAuthority,
  issueServerCertificate,
  type ServerNames,
} from '../../crypto/certificates.ts'
import { SetupError } from '../../errors.ts'

const DAY_MS = 86_400_000
const AUTHORITY_LIFE_MS = 3_653 * DAY_MS
// Some clients refuse server certificates that live longer than 398 days.
const SERVER_LIFE_MS = 397 * DAY_MS
// The clock of a client may be behind ours.
const BACKDATE_MS = 3_600_000

const LOOPBACK: ServerNames = { hostNames: ['localhost'], ipAddresses: ['127.0.0.1', '::1'] }

export interface InitTlsOptions extends ServerNames {
  /** Made, open to its owner only, when it is not there. */
  directory: string
  /** Epoch milliseconds. */
  nowMs: number
  /** Issue a new server certificate over the one that is there. The authority is never replaced. */
  force: boolean
}

export interface InitTlsResult {
  /** The server's certificate, for `TLS_CERT`. */
  certPath: string
  /** The server's private key, for `TLS_KEY`. */
  keyPath: string
  /** What clients have to trust. */
  caPath: string
  /** False when certificate and key were there already; nothing was written then. */
  created: boolean
}

interface NewFile {
  path: string
  text: string
  /** File mode bits. */
  mode: number
}

/**
 * Writes `ca.pem`, `ca-key.pem`, `server.pem` and `server-key.pem` into a directory: an authority that lives ten years,
 * and a server certificate of 397 days that it signed. An authority that is there already is used again, so that
 * clients which trust it go on working. A new one can certify the names given, those below them, and this machine
 * (localhost) only. Without any name the certificate is for this machine.
 *
 * Each file appears complete or not at all.
 * @throws {RangeError} when a name is not a host name or not an address.
 * @throws {SetupError} when only one file of a pair is there, or when the authority cannot issue (expired, damaged,
 *   made for other names). The message says what to do.
 */
export async function initTls(options: InitTlsOptions): Promise<InitTlsResult> {
  const { directory, nowMs, force } = options
  const given = options.hostNames.length + options.ipAddresses.length > 0
  const names: ServerNames = given ? options : LOOPBACK
  const [certPath, keyPath] = [join(directory, 'server.pem'), join(directory, 'server-key.pem')]
  const [caPath, caKeyPath] = [join(directory, 'ca.pem'), join(directory, 'ca-key.pem')]

  if (!force && (await bothExist(certPath, keyPath))) return { certPath, keyPath, caPath, created: false }
  const present = await bothExist(caPath, caKeyPath)
  const found = present ? await readPair(caPath, caKeyPath) : undefined
  const authority = found ?? newAuthority(names, nowMs)
  const server = issue(authority, names, nowMs, caPath)

  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writeAll([
    ...(present ? [] : pairFiles(authority, caPath, caKeyPath)),
    ...pairFiles(server, certPath, keyPath),
  ])
  return { certPath, keyPath, caPath, created: true }
}

function newAuthority({ hostNames, ipAddresses }: ServerNames, nowMs: number): CertifiedKey {
  const day = new Date(nowMs).toISOString().slice(0, 10)
  return createAuthority({
    commonName: `Kunci local authority ${day}`,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + AUTHORITY_LIFE_MS),
    permitted: {
      hostNames: [...new Set([...hostNames, ...LOOPBACK.hostNames])],
      ipAddresses: [...new Set([...ipAddresses, ...LOOPBACK.ipAddresses])],
    },
  })
}

function issue(authority: CertifiedKey, names: ServerNames, nowMs: number, caPath: string): CertifiedKey {
  const cure =
    'Move ca.pem and ca-key.pem away to have a new authority made; clients must then trust that one.'
  const expiresAtMs = expiryOf(authority, caPath)
  if (expiresAtMs <= nowMs) throw new SetupError(`The authority ${caPath} has expired. ${cure}`)
  try {
    return issueServerCertificate({
      authority,
      hostNames: names.hostNames,
      ipAddresses: names.ipAddresses,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(Math.min(nowMs + SERVER_LIFE_MS, expiresAtMs)),
    })
  } catch (cause) {
    if (cause instanceof RangeError) throw cause
    throw new SetupError(`${caPath} cannot issue this certificate: ${(cause as Error).message}. ${cure}`, {
      cause,
    })
  }
}

function expiryOf({ certPem }: CertifiedKey, caPath: string): number {
  try {
    return new X509Certificate(certPem).validToDate.getTime()
  } catch (cause) {
    throw new SetupError(
      `${caPath} is no certificate. Put the right file back, or move it and ca-key.pem away.`,
      {
        cause,
      },
    )
  }
}

/** @throws {SetupError} when only one of the two is there. */
async function bothExist(certPath: string, keyPath: string): Promise<boolean> {
  const [cert, key] = await Promise.all([exists(certPath), exists(keyPath)])
  if (cert === key) return cert
  const [there, missing] = cert ? [certPath, keyPath] : [keyPath, certPath]
  throw new SetupError(
    `${there} is there, but ${missing} is not. Put the missing file back, or move the other away.`,
  )
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

async function readPair(certPath: string, keyPath: string): Promise<CertifiedKey> {
  const [certPem, keyPem] = await Promise.all([readFile(certPath, 'utf8'), readFile(keyPath, 'utf8')])
  return { certPem, keyPem }
}

function pairFiles({ certPem, keyPem }: CertifiedKey, certPath: string, keyPath: string): NewFile[] {
  return [
    { path: keyPath, text: keyPem, mode: 0o600 },
    { path: certPath, text: certPem, mode: 0o644 },
  ]
}

/** Everything is on the disk under other names before the first file gets its own. */
async function writeAll(files: NewFile[]): Promise<void> {
  const suffix = `.${randomBytes(6).toString('hex')}.tmp`
  try {
    for (const file of files) await writeSynced({ ...file, path: file.path + suffix })
    for (const { path } of files) await rename(path + suffix, path)
  } catch (error) {
    await Promise.all(files.map(({ path }) => rm(path + suffix, { force: true })))
    throw error
  }
}

async function writeSynced({ path, text, mode }: NewFile): Promise<void> {
  await using handle = await open(path, 'wx', mode)
  await handle.writeFile(text)
  await handle.sync()
}
