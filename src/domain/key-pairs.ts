import { type Ed25519Jwk, ed25519Key, type P256Jwk, p256SigningKey, type SigningKey } from '../crypto/jwk.ts'
import { type StaticKey, staticKey } from '../crypto/kex.ts'
import type { SealedSuite } from '../crypto/suites.ts'
import { memoised } from '../memo.ts'
import type { Keyring } from '../store/keyring.ts'
import { idsOf, type KeyState, keyOf, type Ring, stateOf } from '../store/ring.ts'

const RING_OF = { S1: 'kex-s1', S2: 'kex-s2', S3: 'kex-s3' } as const

/** A key pair, and what its ring says of it. */
type Held<T> = T & { readonly id: string; readonly state: KeyState }

function perRing<T extends object>(derive: (secret: Buffer) => T): (ring: Ring) => readonly Held<T>[] {
  return memoised((ring) =>
    idsOf(ring).map((id) => {
      const secret = keyOf(ring, id).export()
      const pair = { ...derive(secret), id, state: stateOf(ring, id) }
      secret.fill(0)
      return pair
    }),
  )
}

export type KeyPairs = ReturnType<typeof createKeyPairs>

/**
 * The key pairs of the sealed suites, worked out once for each ring that is in force. Each list begins with the current
 * key; the next one follows where one waits, then those that were current before.
 */
export function createKeyPairs({ keyring }: { keyring: Keyring }) {
  const jwtPairs = perRing(ed25519Key)
  const leasePairs = perRing(p256SigningKey)
  const kexPairs = {
    S1: perRing((secret) => staticKey('S1', secret)),
    S2: perRing((secret) => staticKey('S2', secret)),
    S3: perRing((secret) => staticKey('S3', secret)),
  } as const

  /** The key-exchange keys of a suite; none of one that is switched off. */
  function kex(suite: SealedSuite): readonly Held<StaticKey>[] {
    const ring = keyring[RING_OF[suite]]
    return ring === undefined ? [] : kexPairs[suite](ring)
  }

  return {
    kex,
    /** Ed25519, for the tokens of sessions. */
    jwt: (): readonly Held<SigningKey<Ed25519Jwk>>[] => jwtPairs(keyring.jwt),
    /** P-256, for leases. */
    lease: (): readonly Held<SigningKey<P256Jwk>>[] => leasePairs(keyring.lease),
  }
}
