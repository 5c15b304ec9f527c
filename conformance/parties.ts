import { randomBytes } from 'node:crypto'
import { toB64u } from '../src/crypto/encoding.ts'
import { ed25519Key, p256SigningKey, type SigningKey } from '../src/crypto/jwk.ts'
import { type StaticKey, staticKey } from '../src/crypto/kex.ts'
import { CROCKFORD, formatLicenceKey, licenceKeyFrom } from '../src/crypto/licence-key.ts'
import type { SealedSuite } from '../src/crypto/suites.ts'

/** Everybody here is made anew for each run of the kit, so that nothing of theirs can be met by chance. */

/** What a client is built with, as `kunci keys pins` prints it: the current key first. */
export type Pins = Readonly<
  Record<SealedSuite, readonly { readonly kid: string; readonly pub: string }[]>
> & {
  readonly lease: readonly { kty: 'EC'; crv: 'P-256'; kid: string; x: string; y: string }[]
}

export type Statics = Readonly<Record<SealedSuite, StaticKey>>

/** Who sells the tool and runs the genuine server. */
export type Vendor = {
  readonly statics: Statics
  /** Ed25519. */
  readonly tokenKey: SigningKey
  /** P-256. */
  readonly leaseKey: SigningKey
  readonly pins: Pins
}

/** Who bought it: one licence, one machine. */
export type Customer = {
  readonly licence: string
  readonly tool: string
  /** Raw serial numbers by component type. */
  readonly hardware: Readonly<Record<string, string>>
}

export function newStatics(): Statics {
  return {
    S1: staticKey('S1', randomBytes(32)),
    S2: staticKey('S2', randomBytes(32)),
    S3: staticKey('S3', randomBytes(32)),
  }
}

export function newVendor(): Vendor {
  const statics = newStatics()
  const leaseKey = p256SigningKey(randomBytes(32))
  const pin = ({ kid, publicKey }: StaticKey) => [{ kid, pub: toB64u(publicKey) }]
  const { kid, x, y = '' } = leaseKey.publicJwk as { kid: string; x: string; y?: string }
  return {
    ...{ statics, leaseKey, tokenKey: ed25519Key(randomBytes(32)) },
    pins: {
      ...{ S1: pin(statics.S1), S2: pin(statics.S2), S3: pin(statics.S3) },
      lease: [{ kty: 'EC', crv: 'P-256', kid, x, y }],
    },
  }
}

/** Random letters of Crockford's alphabet. Five bits of each byte count. */
export function crockford(length: number): string {
  return Array.from(randomBytes(length), (byte) => CROCKFORD.charAt(byte & 31)).join('')
}

/** Serial numbers as machines write them: in mixed case, with blanks, dashes and colons that the normal form drops. */
export function newCustomer(): Customer {
  // Neither multicast nor made up by software (the two lowest bits of the first byte), or it would not count.
  const mac = Buffer.concat([Buffer.from([randomBytes(1).readUInt8() & 0xfc]), randomBytes(5)])
  return {
    licence: formatLicenceKey(licenceKeyFrom(randomBytes(15))),
    tool: 'demo',
    hardware: {
      board: `Maker ${crockford(6).toLowerCase()}-${crockford(10)}`,
      bios: randomBytes(16)
        .toString('hex')
        .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
      disk: ` ${crockford(15).toLowerCase()} `,
      mac: (mac.toString('hex').match(/../g) ?? []).join(':'),
      osid: randomBytes(16).toString('hex'),
      cpu: randomBytes(8).toString('hex').toUpperCase(),
    },
  }
}
