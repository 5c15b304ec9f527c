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

export function sessionSecrets({ records, secrets }: SealedSession): Secrets {
  const [kC2s, kS2c] = [records.clientToServer.export(), records.serverToClient.export()]
  return { ...secrets, k_c2s: kC2s, k_s2c: kS2c }
}
