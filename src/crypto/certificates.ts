import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import forge from 'node-forge'

/**
 * X.509 certificates for a server that has no public one: a small authority of one's own, and the server
 * certificates that it signs. The keys come from node:crypto, as node-forge makes them slowly; node-forge builds
 * and signs, as Node cannot issue certificates; node:crypto then checks what node-forge made. No certificate of a
 * stranger is read here.
 */

const { asn1, pki, util } = forge

const AUTHORITY_KEY_BITS = 3072
const SERVER_KEY_BITS = 2048

// Names stand in subjectAltName only (RFC 9525 section 2). A CN that looks like a host name would, in a certificate
// that has addresses only, be held against the name constraints as a host name.
const SERVER_COMMON_NAME = 'Kunci server'

// GeneralName tags (RFC 5280 section 4.2.1.6).
const DNS_NAME = 2
const IP_ADDRESS = 7

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const HOST_NAME = new RegExp(`^(?:${LABEL}\\.)*${LABEL}$`)
const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`)
const IPV6 = /^[0-9a-f.]*:[0-9a-f:.]*$/i

/** A certificate and its private key, both PEM with `\n` line ends. The key is RSA, PKCS#8 (RFC 5958), unencrypted. */
export interface CertifiedKey {
  certPem: string
  keyPem: string
}

/**
 * What a server is called. Host names are ASCII (an international name in its `xn--` form) without wildcard and
 * without final dot; addresses are IPv4 or IPv6 in their usual text forms, without zone and without mask.
 */
export interface ServerNames {
  hostNames: readonly string[]
  ipAddresses: readonly string[]
}

/** When a certificate holds, both ends included (RFC 5280 section 4.1.2.5); milliseconds are cut off. */
export interface Validity {
  notBefore: Date
  notAfter: Date
}

interface GeneralName {
  type: typeof DNS_NAME | typeof IP_ADDRESS
  /** ASCII text, or 4 or 16 address bytes, one a character. */
  value: string
}

/**
 * Makes a certificate authority: RSA of 3,072 bits, self-signed with SHA-256, basicConstraints `CA:TRUE, pathlen:0`
 * (RFC 5280 section 4.2.1.9). It blocks the thread for some tenths of a second.
 * @param options.commonName what people see in their trust store, 1 to 64 characters.
 * @param options.permitted the only names that it can ever certify, as critical nameConstraints (RFC 5280 section
 *   4.2.1.10; a host name stands for itself and every name below it): a thief of the key can then pose as nothing
 *   else to those who trust the authority. Left out, it can certify any name.
 * @throws {RangeError} when the common name, a permitted name or the validity is not well formed.
 */
export function createAuthority(
  options: Validity & { commonName: string; permitted?: ServerNames },
): CertifiedKey {
  const { commonName, permitted } = options
  if (commonName.length < 1 || commonName.length > 64) {
    throw new RangeError('the common name of an authority has 1 to 64 characters')
  }
  const constraints = permitted === undefined ? [] : [nameConstraints(generalNames(permitted))]
  const { cert, keyPem } = unsigned(AUTHORITY_KEY_BITS, options)
  cert.setSubject(distinguishedName(commonName))
  cert.setIssuer(distinguishedName(commonName))
  cert.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: true },
    ...constraints,
  ])
  const certPem = sign(cert, keyPem)
  assertIssuedBy(certPem, certPem)
  return { certPem, keyPem }
}

/**
 * Issues a server certificate: RSA of 2,048 bits, signed with SHA-256, extendedKeyUsage serverAuth, every name in
 * subjectAltName, a random serial number of 16 bytes.
 * @param options.authority what {@link createAuthority} made.
 * @throws {RangeError} when there is no name at all, a name or the validity is not well formed, or the validity ends
 *   after the authority's.
 * @throws {Error} when the authority is none (no CA, another key, not RSA) or its name constraints leave out a name.
 */
export function issueServerCertificate(
  options: Validity & ServerNames & { authority: CertifiedKey },
): CertifiedKey {
  const { authority } = options
  const altNames = generalNames(options)
  if (altNames.length === 0) throw new RangeError('a server certificate needs a host name or an address')
  const ca = readAuthority(authority)
  if (seconds(options.notAfter) > seconds(ca.validity.notAfter)) {
    throw new RangeError('the server certificate would outlive its authority')
  }
  const { cert, keyPem } = unsigned(SERVER_KEY_BITS, options)
  cert.setSubject(distinguishedName(SERVER_COMMON_NAME))
  cert.setIssuer(subjectOf(ca))
  cert.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
    { name: 'extKeyUsage', serverAuth: true },
    { name: 'subjectAltName', altNames },
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: keyIdentifierOf(ca) },
  ])
  const certPem = sign(cert, authority.keyPem)
  assertIssuedBy(certPem, authority.certPem)
  assertPermitted(certPem, ca)
  return { certPem, keyPem }
}

function unsigned(bits: number, validity: Validity): { cert: forge.pki.Certificate; keyPem: string } {
  if (!(seconds(validity.notBefore) < seconds(validity.notAfter)))
    throw new RangeError('the validity ends before it begins')
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: bits,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const cert = pki.createCertificate()
  cert.publicKey = pki.publicKeyFromPem(publicKey)
  cert.serialNumber = serialNumber()
  cert.validity.notBefore = validity.notBefore
  cert.validity.notAfter = validity.notAfter
  return { cert, keyPem: privateKey }
}

/** A certificate holds whole seconds, so whole seconds are compared. */
function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000)
}

/** 16 bytes in hex. The top bits are 01: positive and in the shortest form, as DER wants it (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0)
  return bytes.toString('hex')
}

function sign(cert: forge.pki.Certificate, keyPem: string): string {
  cert.sign(pki.privateKeyFromPem(keyPem), forge.md.sha256.create())
  return pki.certificateToPem(cert).replaceAll('\r\n', '\n')
}

function distinguishedName(commonName: string): forge.pki.CertificateField[] {
  // The typings want a class here; node-forge wants the string type (RFC 5280 section 4.1.2.4: UTF8String).
  return [{ name: 'commonName', value: commonName, valueTagClass: asn1.Type.UTF8 as number }]
}

/** The subject as setIssuer wants it: node-forge decodes no UTF-8 when it reads, but encodes when it writes. */
function subjectOf(cert: forge.pki.Certificate): forge.pki.CertificateField[] {
  return cert.subject.attributes.map((attribute) =>
    (attribute.valueTagClass as number | undefined) === asn1.Type.UTF8 && typeof attribute.value === 'string'
      ? { ...attribute, value: util.decodeUtf8(attribute.value) }
      : attribute,
  )
}

function keyIdentifierOf(cert: forge.pki.Certificate): string {
  const extension = cert.getExtension('subjectKeyIdentifier') as { subjectKeyIdentifier?: string } | null
  const hex = extension?.subjectKeyIdentifier
  return hex === undefined ? cert.generateSubjectKeyIdentifier().getBytes() : util.hexToBytes(hex)
}

function readAuthority({ certPem, keyPem }: CertifiedKey): forge.pki.Certificate {
  const certificate = new X509Certificate(certPem)
  if (!certificate.ca) throw new Error('the certificate is not one of an authority (CA:TRUE)')
  const publicKey = publicHalf(keyPem)
  if (!certificate.publicKey.equals(publicKey))
    throw new Error("the authority's key belongs to another certificate")
  if (publicKey.asymmetricKeyType !== 'rsa') throw new Error("the authority's key is not RSA")
  return pki.certificateFromPem(certPem)
}

function publicHalf(keyPem: string): KeyObject {
  try {
    return createPublicKey(createPrivateKey(keyPem))
  } catch (cause) {
    throw new Error("the authority's key is not a readable private key", { cause })
  }
}

function generalNames({ hostNames, ipAddresses }: ServerNames): GeneralName[] {
  return [
    ...hostNames.map((value): GeneralName => ({ type: DNS_NAME, value: dnsName(value) })),
    ...ipAddresses.map((value): GeneralName => ({ type: IP_ADDRESS, value: ipBytes(value) })),
  ]
}

function dnsName(text: string): string {
  const name = text.toLowerCase()
  if (name.length > 253 || !HOST_NAME.test(name) || IPV4.test(name)) {
    throw new RangeError(`not a host name: ${JSON.stringify(text)}`)
  }
  return name
}

/** 4 or 16 bytes, one a character. node-forge's own reader takes 1.2.3.999 and refuses ::ffff:1.2.3.4. */
function ipBytes(text: string): string {
  const bytes = IPV4.test(text) ? text.split('.').map(Number) : IPV6.test(text) ? ipv6Bytes(text) : null
  if (bytes === null) throw new RangeError(`not an IP address: ${JSON.stringify(text)}`)
  return String.fromCharCode(...bytes)
}

function ipv6Bytes(text: string): number[] | null {
  // The URL parser checks the address and leaves hexadecimal groups with at most one `::` (WHATWG URL section 3.5).
  const canonical = URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1)
  if (canonical === undefined) return null
  const [head = [], tail = []] = canonical.split('::').map((part) => (part === '' ? [] : part.split(':')))
  const zeros = Array<string>(8 - head.length - tail.length).fill('0')
  return [...head, ...zeros, ...tail]
    .map((group) => Number.parseInt(group, 16))
    .flatMap((n) => [n >> 8, n & 0xff])
}

function nameConstraints(names: GeneralName[]): object {
  const addresses = names.filter(({ type }) => type === IP_ADDRESS).map(({ value }) => value)
  const hosts = names.filter(({ type }) => type === DNS_NAME)
  // A kind of name that is not mentioned is not constrained. The usual way to forbid every host name is to exclude the
  // empty one, and Java cannot read that; to permit one that can never exist (RFC 6761 section 6.4) does the same.
  if (hosts.length === 0) hosts.push({ type: DNS_NAME, value: 'invalid' })
  const permitted = addresses.map((value) => subtree(IP_ADDRESS, value + '\xff'.repeat(value.length)))
  const excluded = [4, 16]
    .filter((size) => !addresses.some((value) => value.length === size))
    .map((size) => subtree(IP_ADDRESS, '\0'.repeat(2 * size)))
  const value = sequence([
    subtrees(0, [...hosts.map((name) => subtree(DNS_NAME, name.value)), ...permitted]),
    ...(excluded.length === 0 ? [] : [subtrees(1, excluded)]),
  ])
  return { name: 'nameConstraints', id: '2.5.29.30', critical: true, value }
}

function subtrees(tag: 0 | 1, list: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag as number, true, list)
}

function subtree(type: GeneralName['type'], base: string): forge.asn1.Asn1 {
  return sequence([asn1.create(asn1.Class.CONTEXT_SPECIFIC, type as number, false, base)])
}

function sequence(list: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, list)
}

function assertIssuedBy(certPem: string, authorityPem: string): void {
  const certificate = new X509Certificate(certPem)
  const authority = new X509Certificate(authorityPem)
  if (!certificate.checkIssued(authority) || !certificate.verify(authority.publicKey)) {
    throw new Error('the new certificate does not verify under its authority')
  }
}

/** OpenSSL and Node have no call for this outside a TLS handshake; node-forge checks constraints from 1.4.3 on. */
function assertPermitted(certPem: string, ca: forge.pki.Certificate): void {
  try {
    pki.verifyCertificateChain(pki.createCaStore([ca]), [pki.certificateFromPem(certPem)], {
      validityCheckDate: null,
    })
  } catch (cause) {
    const { message, nameValue = 'this' } = cause as { message: string; nameValue?: string }
    throw new Error(`the authority may not certify ${nameValue}: ${message.replace(/\.$/, '')}`, { cause })
  }
}
