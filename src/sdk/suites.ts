/** A suite of the sealed protocol, as it is named on the wire. */
export type SealedSuite = 'S1' | 'S2' | 'S3'

/** The byte that stands for a suite in every transcript and associated data. */
export const SUITE_ID = { S1: 0x01, S2: 0x02, S3: 0x03 } as const

/** Lengths in bytes. `client` and `server` are the public shares of the handshake, `static` the pinned public key. */
type Sizes = {
  readonly key: number
  readonly nonce: number
  readonly static: number
  readonly client: number
  readonly server: number
}

/** S1 and S3 seal with AES-256-GCM, S2 with A256CBC-HS512. */
export const SIZES: Readonly<Record<SealedSuite, Sizes>> = {
  S1: { key: 32, nonce: 12, static: 32, client: 32, server: 32 },
  S2: { key: 64, nonce: 16, static: 65, client: 65, server: 65 },
  S3: { key: 32, nonce: 12, static: 1216, client: 2336, server: 1120 },
}

/** The longest box that is opened or made, in bytes. */
export const BOX_MAX_BYTES = 32_768
