import { createHash, type KeyObject } from 'node:crypto'
import { lp, u8 } from './encoding.ts'
import { newP256Key, p256, p256KeyOf, p256Public } from './p256.ts'
import { type SealedSuite, SIZES, SUITE_ID } from './suites.ts'
import { newX25519Key, x25519, x25519KeyOf, x25519Public } from './x25519.ts'
import { xwingEncapsulate, xwingKey } from './xwing.ts'

/** What a handshake's two shares come to on the server's side. */
export type Agreed = {
  /** The server's share, as long as the suite says. */
  readonly serverPublic: Buffer
  /** With the static key: 32 bytes. Nobody but its holder has it. */
  readonly ss1: Buffer
  /** With the fresh key: 32 bytes. Nobody has it once both sides have forgotten theirs. */
  readonly ss2: Buffer
}

/** Takes the client's share; good for one handshake. `null`: the share is of another length, no point, or of low order. */
export type Agreement = (clientPublic: Uint8Array) => Agreed | null

/** A key-exchange key that clients pin. */
export type StaticKey = {
  readonly suite: SealedSuite
  /** 16 hex characters, see {@link kexKeyId}. */
  readonly kid: string
  readonly publicKey: Buffer
  /**
   * Makes the server's fresh share, which can be done ahead of the handshake it is for.
   * @param secret 32 bytes in its place, to compute a published vector. S3's share follows from the client's; it takes none.
   */
  readonly prepare: (secret?: Uint8Array) => Agreement
}

/** The id by which a client names the key it has pinned: SHA-256 of suite and public key, cut to 8 bytes, as hex. */
export function kexKeyId(suite: SealedSuite, publicKey: Uint8Array): string {
  return createHash('sha256')
    .update(lp('dsk1/kid'))
    .update(u8(SUITE_ID[suite]))
    .update(lp(publicKey))
    .digest('hex')
    .slice(0, 16)
}

/** One side's key of a Diffie-Hellman suite. */
type DhKey = { readonly privateKey: KeyObject; readonly publicKey: Buffer }
type Dh = {
  readonly keyOf: (secret: Uint8Array) => DhKey
  readonly newKey: () => DhKey
  /** Reads the other side's public key, once for both secrets. */
  readonly peerOf: (raw: Uint8Array) => KeyObject | null
  readonly secretOf: (privateKey: KeyObject, peer: KeyObject) => Buffer | null
}

const X25519: Dh = { keyOf: x25519KeyOf, newKey: newX25519Key, peerOf: x25519Public, secretOf: x25519 }
const P256: Dh = { keyOf: p256KeyOf, newKey: newP256Key, peerOf: p256Public, secretOf: p256 }

function dhStatic(suite: SealedSuite, dh: Dh, secret: Uint8Array): StaticKey {
  const own = dh.keyOf(secret)
  return {
    suite,
    kid: kexKeyId(suite, own.publicKey),
    publicKey: own.publicKey,
    prepare: (ephemeralSecret) => {
      const ephemeral = ephemeralSecret === undefined ? dh.newKey() : dh.keyOf(ephemeralSecret)
      return (clientPublic) => {
        const peer = clientPublic.length === SIZES[suite].client ? dh.peerOf(clientPublic) : null
        const ss1 = peer === null ? null : dh.secretOf(own.privateKey, peer)
        const ss2 = peer === null ? null : dh.secretOf(ephemeral.privateKey, peer)
        if (ss1 === null || ss2 === null) return null
        return { serverPublic: ephemeral.publicKey, ss1, ss2 }
      }
    },
  }
}

function xwingStatic(seed: Uint8Array): StaticKey {
  const { publicKey, decapsulate } = xwingKey(seed)
  const agree: Agreement = (clientPublic) => {
    if (clientPublic.length !== SIZES.S3.client) return null
    const ss1 = decapsulate(clientPublic.subarray(0, SIZES.S3.server))
    const fresh = xwingEncapsulate(clientPublic.subarray(SIZES.S3.server))
    if (ss1 === null || fresh === null) return null
    return { serverPublic: fresh.ciphertext, ss1, ss2: fresh.sharedSecret }
  }
  return { suite: 'S3', kid: kexKeyId('S3', publicKey), publicKey, prepare: () => agree }
}

/**
 * Makes a key-exchange key from its secret.
 * @param secret 32 bytes: an X25519 private key (S1), a P-256 scalar from 1 to n-1 (S2), an X-Wing seed (S3).
 * @throws {Error} of node:crypto for a scalar that is out of range.
 */
export function staticKey(suite: SealedSuite, secret: Uint8Array): StaticKey {
  if (suite === 'S3') return xwingStatic(secret)
  return suite === 'S1' ? dhStatic(suite, X25519, secret) : dhStatic(suite, P256, secret)
}
