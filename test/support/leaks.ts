import type { HmacKey } from '../../src/crypto/digests.ts'
import { componentDigest } from '../../src/crypto/fingerprint.ts'
import { MACHINE, type SealedSession } from './sealed.ts'

/** Texts and bytes that must not be somewhere, by name. */
export type Secrets = Record<string, string | Uint8Array>

/** Bytes, then whatever they decode to as base64 or hex, and whatever this does. */
export function layersOf(raw: readonly Buffer[]): Buffer[] {
  const decoded = (bytes: Buffer): Buffer[] =>
    (bytes.toString('latin1').match(/[A-Za-z0-9+/_-]{16,}/g) ?? []).flatMap((run) => [
      Buffer.from(run, 'base64url'),
      ...(/^[0-9a-f]+$/i.test(run) ? [Buffer.from(run, 'hex')] : []),
    ])
  const once = raw.flatMap(decoded)
  return [...raw, ...once, ...once.flatMap(decoded)]
}

/** The names of the secrets that stand anywhere in it, as bytes or as a text that stands for bytes. */
export function leaked(layers: readonly Buffer[], secrets: Secrets): string[] {
  const stands = (secret: string | Uint8Array) => {
    const bytes = Buffer.from(secret)
    const [hex, ...texts] = (['hex', 'base64', 'base64url'] as const).map((form) => bytes.toString(form))
    const forms = [bytes, hex!, hex!.toUpperCase(), ...texts]
    return layers.some((layer) => forms.some((form) => layer.includes(form)))
  }
  return Object.entries(secrets).flatMap(([name, secret]) => (stands(secret) ? [name] : []))
}

export function machineSecrets(): Secrets {
  const secrets: Secrets = {}
  for (const [type, values] of Object.entries(MACHINE))
    for (const value of values) {
      secrets[`serial ${value}`] = value
      secrets[`digest of ${value}`] = componentDigest('demo', type, value)
    }
  return secrets
}

export function licenceSecrets(key: string): Secrets {
  const symbols = key.replaceAll('-', '')
  return { licence: key, 'its symbols': symbols, 'in lower case': symbols.toLowerCase() }
}

/** The 32 bytes that a key of HMAC was made ready from (RFC 2104 section 2). */
function keyIn({ inner }: HmacKey): Buffer {
  return Buffer.from(inner.subarray(0, 32).map((byte) => byte ^ 0x36))
}

export function sessionSecrets({ records, secrets }: SealedSession): Secrets {
  return { ...secrets, k_c2s: keyIn(records.clientToServer), k_s2c: keyIn(records.serverToClient) }
}
