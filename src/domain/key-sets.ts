import type { Clock } from '../clock.ts'
import type { SigningKey } from '../crypto/jwk.ts'
import { signEs256 } from '../crypto/lease.ts'
import type { KeySet, KeySetStore } from '../store/key-sets.ts'
import type { Actor, Events } from './events.ts'
import type { KexPin, Keys } from './keys.ts'

const TYPE = 'dsk-keyset+jwt'

/** The public keys of this installation, signed by a root key that no server holds. */
export function createKeySets(deps: {
  store: KeySetStore
  keys: Keys
  issuer: string
  events: Events
  clock: Clock
}) {
  const { store, keys, issuer, events, clock } = deps

  function content(seq: number, nowMs: number) {
    const { lease: _, ...suites } = keys.pins()
    const kex = Object.entries(suites) as [string, readonly KexPin[]][]
    return {
      ...{ iss: issuer, seq, iat: Math.floor(nowMs / 1000) },
      kex: kex.flatMap(([suite, pins]) => pins.map((pin) => ({ suite, ...pin }))),
      lease: keys.leaseJwks(),
      jwt: keys.jwtJwks(),
    }
  }

  /**
   * Signs the keys as they are now, and keeps the set for clients to fetch: its number is one more than that of the
   * set before it.
   * @param root an ES256 key.
   */
  async function sign(actor: Actor, root: SigningKey): Promise<KeySet> {
    for (;;) {
      const [seq, signedMs] = [((await store.newest())?.seq ?? 0) + 1, clock()]
      const set = { seq, signedMs, jws: signEs256(TYPE, content(seq, signedMs), root) }
      const detail = { seq, root: root.kid }
      if (await store.add(set, events.build('key_set_signed', actor, { detail }))) return set
    }
  }

  return {
    sign,
    /** The set that clients are to have; `null` while none was signed. */
    newest: () => store.newest(),
  }
}
