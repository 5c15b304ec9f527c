import { hash } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import type { Clock } from '../clock.ts'
import { toCrockford } from '../crypto/licence-key.ts'
import { openUserSecret, sealUserSecret } from '../crypto/user-secret.ts'
import type { Random } from '../random.ts'
import type { Keyring } from '../store/keyring.ts'
import { currentKey } from '../store/ring.ts'
import type { User } from '../store/users.ts'

/** RFC 6238 with its defaults, which every authenticator knows: SHA-1, six digits, 30 seconds. */
const PERIOD_S = 30
const SECRET_BYTES = 20
const NONCE_BYTES = 12
/** 20 bytes. */
const BASE32 = /^[A-Z2-7]{32}$/
/** Codes of the step before and the step after are taken too: telephones' clocks differ. */
const WINDOW = 1
const RECOVERY_CODES = 10
const RECOVERY_BYTES = 10

function totpOf(secret: Uint8Array, email: string): TOTP {
  const bytes = new Uint8Array(secret)
  return new TOTP({
    issuer: 'Kunci',
    label: email,
    period: PERIOD_S,
    secret: new Secret({ buffer: bytes.buffer }),
  })
}

/** As it is kept: without dashes and in upper case, by SHA-256 in hex. Its 80 random bits need no slow hash. */
export function recoveryCodeHash(code: string): string {
  return hash('sha256', code.toUpperCase().replaceAll(/[^0-9A-Z]/g, ''))
}

export type OneTimeCodes = ReturnType<typeof createOneTimeCodes>

/** Time-based one-time passwords (RFC 6238), and the recovery codes for whoever loses the device that shows them. */
export function createOneTimeCodes({
  keyring,
  clock,
  random,
}: {
  keyring: Keyring
  clock: Clock
  random: Random
}) {
  /** A new secret in base32, and the `otpauth:` address by which an authenticator takes it. Nothing is kept. */
  function newSecret({ email }: Pick<User, 'email'>): { secret: string; uri: string } {
    const totp = totpOf(random(SECRET_BYTES), email)
    return { secret: totp.secret.base32, uri: totp.toString() }
  }

  /** A secret as the user's row keeps it; `null` for what {@link newSecret} would not have made. */
  function seal({ id }: Pick<User, 'id'>, secret: string): string | null {
    if (!BASE32.test(secret)) return null
    const bytes = Secret.fromBase32(secret).bytes
    const peppers = keyring['licence-pepper']
    return sealUserSecret(currentKey(peppers), peppers.current, id, bytes, random(NONCE_BYTES))
  }

  /** The time step that a code is of, or `null` when it is of none that counts now. */
  function stepOf({ id, email }: Pick<User, 'id' | 'email'>, sealed: string, code: string): number | null {
    const bytes = openUserSecret(keyring['licence-pepper'].keys, id, sealed)
    if (bytes === null) return null
    const timestamp = clock()
    const delta = totpOf(bytes, email).validate({
      token: code.replaceAll(' ', ''),
      timestamp,
      window: WINDOW,
    })
    return delta === null ? null : Math.floor(timestamp / 1000 / PERIOD_S) + delta
  }

  /** Ten codes, each good once: `XXXXXXXX-XXXXXXXX`. */
  function newRecoveryCodes(): string[] {
    return Array.from({ length: RECOVERY_CODES }, () => {
      const text = toCrockford(random(RECOVERY_BYTES))
      return `${text.slice(0, 8)}-${text.slice(8)}`
    })
  }

  return { newSecret, seal, stepOf, newRecoveryCodes }
}
