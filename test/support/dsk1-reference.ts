import { createHash, createPrivateKey, decapsulate, hkdfSync } from 'node:crypto'
import { p256ByHand, x25519ByHand } from './curves.ts'
import { forgeCbc, forgeGcm, forgeHash, forgeHmac } from './forge.ts'

/**
 * The protocol a second time, written from its description to be held against the first: it shares no line with
 * `src/crypto/`, and but for HKDF, SHA-3 and ML-KEM no library either.
 */

const PARAMETERS = {
  S1: { id: 1, key: 32, nonce: 12 },
  S2: { id: 2, key: 64, nonce: 16 },
  S3: { id: 3, key: 32, nonce: 12 },
}
export type ReferenceSuite = keyof typeof PARAMETERS

const ascii = (text: string) => Buffer.from(text, 'ascii')

function number(value: number, width: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * width, '0'), 'hex')
}

function prefixed(...values: (string | Uint8Array)[]): Buffer {
  const parts = values.map((value) => (typeof value === 'string' ? ascii(value) : Buffer.from(value)))
  return Buffer.concat(parts.flatMap((part) => [number(part.length, 2), part]))
}

function expanded(key: Uint8Array, info: Uint8Array, length: number): Buffer {
  let output = Buffer.alloc(0)
  let block = Buffer.alloc(0)
  for (let counter = 1; output.length < length; counter++) {
    block = Buffer.from(forgeHmac('sha256', key, block, info, number(counter, 1)))
    output = Buffer.concat([output, block])
  }
  return output.subarray(0, length)
}

function sealed(
  suite: ReferenceSuite,
  key: Buffer,
  nonce: Uint8Array,
  aad: Buffer,
  plaintext: Uint8Array,
): Buffer {
  if (suite !== 'S2') return forgeGcm(key, nonce, aad, plaintext)
  const ciphertext = forgeCbc(key.subarray(32), nonce, plaintext)
  const tag = forgeHmac('sha512', key.subarray(0, 32), aad, nonce, ciphertext, number(8 * aad.length, 8))
  return Buffer.concat([ciphertext, tag.subarray(0, 32)])
}

/** X-Wing's decapsulation. @param seed 32 bytes. @param ciphertext 1,120 bytes. */
function xwingSecret(seed: Uint8Array, ciphertext: Uint8Array): Buffer {
  const keys = createHash('shake256', { outputLength: 96 }).update(seed).digest()
  const mlkem = createPrivateKey({
    key: Buffer.concat([
      Buffer.from('3054020100300b060960864801650304040204428040', 'hex'),
      keys.subarray(0, 64),
    ]),
    ...{ format: 'der', type: 'pkcs8' },
  })
  const secretX = keys.subarray(64)
  const own = x25519ByHand(secretX, Buffer.from(`09${'00'.repeat(31)}`, 'hex'))
  const [ctM, ctX] = [ciphertext.subarray(0, 1088), ciphertext.subarray(1088)]
  return createHash('sha3-256')
    .update(Buffer.concat([decapsulate(mlkem, ctM), x25519ByHand(secretX, ctX), ctX, own, ascii('\\.//^\\')]))
    .digest()
}

/**
 * What one side has with the other.
 * @param secret a private key of 32 bytes. @param share the other's public key, or for S3 a ciphertext.
 */
export function referenceSecret(suite: ReferenceSuite, secret: Uint8Array, share: Uint8Array): Buffer {
  if (suite === 'S1') return x25519ByHand(secret, share)
  return suite === 'S2' ? p256ByHand(secret, share) : xwingSecret(secret, share)
}

/** Everything that both sides see of a handshake. */
export type ReferenceHello = {
  readonly suite: ReferenceSuite
  readonly staticPublic: Uint8Array
  readonly clientPublic: Uint8Array
  readonly sessionId: string
  readonly expiresInS: number
  readonly serverPublic: Uint8Array
}

export function referenceHandshake(hello: ReferenceHello, ss1: Uint8Array, ss2: Uint8Array) {
  const { id, key, nonce } = PARAMETERS[hello.suite]
  const suite = number(id, 1)
  const kid = forgeHash('sha256', Buffer.concat([prefixed('dsk1/kid'), suite, prefixed(hello.staticPublic)]))
    .toString('hex')
    .slice(0, 16)
  const th = forgeHash(
    'sha256',
    Buffer.concat([
      ...[
        prefixed('dsk1/th'),
        suite,
        prefixed(kid, hello.staticPublic, hello.clientPublic, '', hello.sessionId),
      ],
      ...[number(hello.expiresInS, 4), prefixed(hello.serverPublic)],
    ]),
  )
  const salt = forgeHmac('sha256', ascii('dsk1/kex'), ss1)
  // Chaining the second secret in and expanding is HKDF with the first one's HMAC for its salt.
  const output = (label: string, length: number) =>
    Buffer.from(hkdfSync('sha256', ss2, salt, Buffer.concat([prefixed(label), th]), length))
  const helloKey = output('dsk1/hello', key)
  return {
    kid,
    th,
    sessionKey: output('dsk1/session_key', 32),
    sessionIv: output('dsk1/session_iv', nonce),
    helloBox: (plaintext: Uint8Array) =>
      sealed(
        hello.suite,
        helloKey,
        Buffer.alloc(nonce),
        Buffer.concat([prefixed('dsk1/hello'), th]),
        plaintext,
      ),
  }
}

/** One request and its reply, byte for byte. */
export function referenceRecord(
  session: {
    readonly suite: ReferenceSuite
    readonly sessionId: string
    readonly sessionKey: Uint8Array
    readonly sessionIv: Uint8Array
  },
  message: {
    readonly seq: number
    readonly op: string
    readonly token: string
    readonly salts: readonly [request: Uint8Array, reply: Uint8Array]
    readonly plaintexts: readonly [request: Uint8Array, reply: Uint8Array]
  },
) {
  const { suite, sessionId, sessionKey, sessionIv } = session
  const { id, key } = PARAMETERS[suite]
  const seq = number(message.seq, 8)
  const nonce = Buffer.from(sessionIv)
  for (const [i, byte] of seq.entries()) nonce[nonce.length - 8 + i]! ^= byte
  const ofSession = (label: string) =>
    expanded(sessionKey, Buffer.concat([prefixed(label), number(id, 1), prefixed(sessionId)]), 32)
  const aadOf = (label: string, bound: Uint8Array) =>
    Buffer.concat([prefixed(label), number(id, 1), prefixed(sessionId), seq, prefixed(message.op, bound)])
  const keyOf = (from: string, ...bound: Uint8Array[]) =>
    expanded(ofSession(from), Buffer.concat([prefixed('dsk1/mk'), seq, prefixed(...bound)]), key)

  const [salt, replySalt] = message.salts
  const requestAad = aadOf('dsk1/req', forgeHash('sha256', ascii(message.token)))
  const request = sealed(suite, keyOf('dsk1/c2s', salt), nonce, requestAad, message.plaintexts[0])
  const requestHash = forgeHash('sha256', prefixed('dsk1/rh', requestAad, salt, request))
  const replyKey = keyOf('dsk1/s2c', replySalt, requestHash)
  const reply = sealed(suite, replyKey, nonce, aadOf('dsk1/res', requestHash), message.plaintexts[1])
  return { confirmation: ofSession('dsk1/cnf'), request, requestHash, reply }
}
