import type { Ed25519Jwk, P256Jwk } from '../crypto/jwk.ts'
import type { SealedSuite } from '../crypto/suites.ts'
import { AppError } from '../errors.ts'
import type { Keyring } from '../store/keyring.ts'
import { idsOf, type KeyState, type Ring, type RingName, stateOf } from '../store/ring.ts'
import type { KeyPairs } from './key-pairs.ts'

const SUITES = ['S1', 'S2', 'S3'] as const

/** What may be told of a key. Times are epoch milliseconds, `null` where its file does not say. */
export type KeyFacts = {
  readonly ring: RingName
  readonly id: string
  /** By which others know it, of keys that have a public half. */
  readonly kid: string | null
  readonly state: KeyState
  readonly madeMs: number | null
  /** When it came into this state; of a next key, when it will be current. */
  readonly sinceMs: number | null
}

/** A key-exchange key as clients pin it: 16 hex characters, and the public key in base64url. */
export type KexPin = { readonly kid: string; readonly pub: string }

/** A key that verifies ES256, as clients pin it: RFC 7638 thumbprint, coordinates in base64url. */
export type P256Pin = Pick<P256Jwk, 'kty' | 'crv' | 'kid' | 'x' | 'y'>

/** What is compiled into a client. */
export type Pins = { readonly [S in SealedSuite]?: readonly KexPin[] } & {
  readonly lease: readonly P256Pin[]
}

/** A key has been current since the one before it ceased to be, or since it was made where it is the first. */
function sinceOf(ring: Ring, id: string): number | null {
  const { next, madeMs, retiredMs } = ring
  const [state, made = null, retired = null] = [stateOf(ring, id), madeMs.get(id), retiredMs.get(id)]
  if (state === 'next') return next?.fromMs ?? null
  if (state === 'retired') return retired
  return retiredMs.size === 0 ? made : Math.max(...retiredMs.values())
}

export function p256Pin({ kty, crv, kid, x, y }: P256Jwk): P256Pin {
  return { kty, crv, kid, x, y }
}

export type Keys = ReturnType<typeof createKeys>

/** The long-term keys as operators see them. */
export function createKeys({ keyring, keyPairs }: { keyring: Keyring; keyPairs: KeyPairs }) {
  function kidsOf(name: RingName): Map<string, string> {
    const pairs: Partial<Record<RingName, readonly { id: string; kid: string }[]>> = {
      jwt: keyPairs.jwt(),
      lease: keyPairs.lease(),
      'kex-s1': keyPairs.kex('S1'),
      'kex-s2': keyPairs.kex('S2'),
      'kex-s3': keyPairs.kex('S3'),
    }
    return new Map(pairs[name]?.map(({ id, kid }) => [id, kid]))
  }

  /** Every key, ring by ring: the current one, the next one, those that were current before. */
  function list(): KeyFacts[] {
    return (Object.entries(keyring) as [RingName, Ring][]).flatMap(([name, ring]) => {
      const kids = kidsOf(name)
      return idsOf(ring).map((id) => ({
        ...{ ring: name, id, kid: kids.get(id) ?? null, state: stateOf(ring, id) },
        ...{ madeMs: ring.madeMs.get(id) ?? null, sinceMs: sinceOf(ring, id) },
      }))
    })
  }

  /** A retired key still answers whoever has pinned it, but nobody is told to pin it any more. */
  function kexPins(suite: SealedSuite): KexPin[] {
    const pinned = keyPairs.kex(suite).filter(({ state }) => state !== 'retired')
    return pinned.map(({ kid, publicKey }) => ({ kid, pub: publicKey.toString('base64url') }))
  }

  /** The keys that verify leases; retired ones too, as leases that they signed are still out. */
  function leaseJwks(): P256Jwk[] {
    return keyPairs.lease().map(({ publicJwk }) => publicJwk)
  }

  /**
   * What is to be compiled into clients, the current key first in each list.
   * @param only the one suite that the client speaks.
   * @throws {AppError} `invalid_argument` for a suite that is switched off.
   */
  function pins(only?: SealedSuite): Pins {
    const served = SUITES.filter((suite) => keyPairs.kex(suite).length > 0)
    const named = only === undefined ? served : served.filter((suite) => suite === only)
    if (named.length === 0)
      throw new AppError('invalid_argument', { detail: `suite ${only} is switched off: see SEALED_S3` })
    return {
      ...Object.fromEntries(named.map((suite) => [suite, kexPins(suite)])),
      lease: leaseJwks().map(p256Pin),
    }
  }

  return {
    list,
    pins,
    leaseJwks,
    /** The keys that verify the tokens of sessions; the next one is there before it signs. */
    jwtJwks: (): Ed25519Jwk[] => keyPairs.jwt().map(({ publicJwk }) => publicJwk),
  }
}
