import { hash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { toB64u } from '../crypto/encoding.ts'
import type { SigningKey } from '../crypto/jwk.ts'
import { leaseHardware, signEs256 } from '../crypto/lease.ts'
import type { Random } from '../random.ts'
import type { NewLease, StoredLease } from '../store/leases.ts'
import type { Licence } from '../store/licences.ts'
import type { KeyPairs } from './key-pairs.ts'
import type { SeenMachine } from './sealed/machines.ts'

const TYPE = 'dsk-lease+jwt'
/** Clients' clocks may be behind by this much. */
const NOT_BEFORE_S = 300
const SALT_BYTES = 16
const JTI_BYTES = 16
/** A machine matches when five times what is there again weighs at least three times what there was. */
const MATCH = { m: 3, n: 5 }

/** How long a lease is good, in seconds. */
export type LeaseTerms = {
  readonly ttlS: number
  /** How long a tool goes on running beyond that, with a warning. */
  readonly graceS: number
  /** How long it may run under one lease without contact, whatever its clock says. */
  readonly runS: number
}

/** Whom a lease is for. */
export type LeaseSubject = {
  readonly licence: Licence
  readonly tool: string
  readonly deviceId: string
  readonly machine: SeenMachine
}

export type Leases = ReturnType<typeof createLeases>

/** Signed permits by which a tool runs while the server cannot be reached. */
export function createLeases(deps: {
  keyPairs: KeyPairs
  issuer: string
  terms: LeaseTerms
  clock: Clock
  random: Random
}) {
  const { keyPairs, issuer, terms, clock, random } = deps
  function signingKey(): SigningKey {
    const [current] = keyPairs.lease()
    if (current === undefined) throw new Error('a ring holds its current key')
    return current
  }

  /** What is in a lease beside its times, number and salt: while this stays the same, so may the lease. */
  function basisOf({ licence, tool, deviceId, machine }: LeaseSubject): string {
    const { kid } = signingKey()
    const all = [issuer, tool, licence.id, deviceId, machine.fingerprint, licence.expiresAtMs, terms, kid]
    return hash('sha256', JSON.stringify(all), 'base64url')
  }

  /** The stored lease while it is good for more than half its time and nothing in it has changed, else `null`. */
  function usable(subject: LeaseSubject, stored: StoredLease | null): StoredLease | null {
    if (stored === null || stored.basis !== basisOf(subject)) return null
    const halfMs = (stored.issuedAtMs + stored.expiresAtMs) / 2
    return clock() < halfMs ? stored : null
  }

  /**
   * Signs the next lease of a device. It never outlives its licence, grace and running time included.
   * @param nonce the request's, base64url of 16 bytes: to the client it proves that the lease is fresh.
   */
  function next(subject: LeaseSubject, before: StoredLease | null, nonce: string): NewLease {
    const { licence, tool, deviceId, machine } = subject
    const iat = Math.floor(clock() / 1000)
    const licenceEndS = Math.floor((licence.expiresAtMs ?? Number.MAX_SAFE_INTEGER) / 1000)
    const exp = Math.min(iat + terms.ttlS, licenceEndS)
    const grace = Math.min(terms.graceS, licenceEndS - exp)
    // A machine's clock may stand still: then the running time alone ends a lease.
    const run = Math.min(terms.runS, exp + grace - iat)
    const seq = (before?.seq ?? 0) + 1
    const salt = random(SALT_BYTES)
    const payload = {
      ...{ iss: issuer, aud: `tool:${tool}`, sub: licence.id, jti: toB64u(random(JTI_BYTES)), seq },
      ...{ iat, nbf: iat - NOT_BEFORE_S, exp, grace, run, nonce, dev: deviceId },
      hw: { s: toB64u(salt), ...MATCH, c: leaseHardware(machine.digests, salt) },
      feat: [],
    }
    const lease = signEs256(TYPE, payload, signingKey())
    const times = { issuedAtMs: iat * 1000, expiresAtMs: exp * 1000 }
    return { deviceId, seq, basis: basisOf(subject), lease, ...times }
  }

  return { usable, next }
}
