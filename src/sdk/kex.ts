import { type Backend, type KeyPair, need } from './backend.ts'
import { type Bytes, concat, lp, toHex, u8 } from './encoding.ts'
import { type SealedSuite, SIZES, SUITE_ID } from './suites.ts'
import { newXwingKey, xwingEncapsulate } from './xwing.ts'

/** The client's side of one key exchange. */
export type Kex = {
  /** The client's share, as long as the suite says. */
  readonly clientPublic: Bytes
  /** With the pinned key: 32 bytes. Only its holder comes to the same. */
  readonly ss1: Bytes
  /**
   * With the server's share: 32 bytes.
   * @throws {Error} for a share of another length, off the curve or of low order.
   */
  readonly finish: (serverPublic: Bytes) => Promise<Bytes>
}

const KID_BYTES = 8
const UNCOMPRESSED = 0x04

/** The id of a pinned key: SHA-256 of suite and public key, cut to 8 bytes, as hex. */
export async function kexKeyId(backend: Backend, suite: SealedSuite, publicKey: Bytes): Promise<string> {
  const digest = await backend.sha256(concat(lp('dsk1/kid'), u8(SUITE_ID[suite]), lp(publicKey)))
  return toHex(digest.subarray(0, KID_BYTES))
}

function requireShare(suite: SealedSuite, share: Bytes, length: number): void {
  if (share.length !== length) throw new RangeError(`a share of ${share.length} bytes, not of ${length}`)
  if (suite === 'S2' && share[0] !== UNCOMPRESSED) throw new RangeError('not an uncompressed point')
}

function requireSecret(secret: Bytes): Bytes {
  // X25519 of a point of low order: platforms refuse it themselves, but a curve may be handed in.
  if (secret.every((byte) => byte === 0)) throw new RangeError('a point of low order')
  return secret
}

/** The exchange of S1 and S2 with a key that is there already. */
export async function dhKex(suite: 'S1' | 'S2', own: KeyPair, staticPublic: Bytes): Promise<Kex> {
  const agree = async (share: Bytes, length: number) => {
    requireShare(suite, share, length)
    return requireSecret(await own.agree(share))
  }
  return {
    clientPublic: own.publicKey,
    ss1: await agree(staticPublic, SIZES[suite].static),
    finish: (serverPublic) => agree(serverPublic, SIZES[suite].server),
  }
}

async function xwingKex(backend: Backend, staticPublic: Bytes): Promise<Kex> {
  requireShare('S3', staticPublic, SIZES.S3.static)
  const { ciphertext, sharedSecret } = await xwingEncapsulate(backend, staticPublic)
  const own = await newXwingKey(backend)
  return {
    clientPublic: concat(ciphertext, own.publicKey),
    ss1: sharedSecret,
    finish: async (serverPublic) => {
      requireShare('S3', serverPublic, SIZES.S3.server)
      return own.decapsulate(serverPublic)
    },
  }
}

/**
 * Draws a fresh share and agrees with the pinned key.
 * @param staticPublic the pinned key, as long as the suite says.
 * @throws {Error} when the platform lacks what the suite needs, or the pinned key is none.
 */
export async function startKex(backend: Backend, suite: SealedSuite, staticPublic: Bytes): Promise<Kex> {
  if (suite === 'S3') return xwingKex(backend, staticPublic)
  const curve =
    suite === 'S1' ? need(backend.x25519, 'X25519', backend) : need(backend.p256, 'P-256', backend)
  return dhKex(suite, await curve.generate(), staticPublic)
}
