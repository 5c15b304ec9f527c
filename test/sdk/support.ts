import * as nodeCrypto from 'node:crypto'
import { readFileSync } from 'node:fs'
import forge from 'node-forge'
import { type Backend, need } from '../../src/sdk/backend.ts'
import { forgeBackend } from '../../src/sdk/backend-forge.ts'
import { nodeBackend } from '../../src/sdk/backend-node.ts'
import { webcryptoBackend } from '../../src/sdk/backend-webcrypto.ts'
import type { Bytes } from '../../src/sdk/encoding.ts'
import { dhKex, type Kex } from '../../src/sdk/kex.ts'
import type { SealedSuite } from '../../src/sdk/suites.ts'
import { xwingKey } from '../../src/sdk/xwing.ts'

export const vectors = JSON.parse(readFileSync(new URL('../vectors/dsk1.json', import.meta.url), 'utf8'))

export const hex = (text: string): Bytes => new Uint8Array(Buffer.from(text, 'hex'))
export const asHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export const node = nodeBackend(nodeCrypto)
export const web = webcryptoBackend(nodeCrypto.webcrypto.subtle)
/** node-forge has no key agreement: it borrows P-256 of Node, as a program would hand in a library's. */
export const pure = forgeBackend(forge, need(node.p256, 'P-256', node))

/** Each suite on each backend that can do it. */
export const PAIRS: readonly (readonly [SealedSuite, Backend])[] = [
  ['S1', node],
  ['S1', web],
  ['S2', node],
  ['S2', web],
  ['S2', pure],
  ['S3', node],
  ['S3', web],
]

const XWING_CIPHERTEXT_BYTES = 1120

/** The X-Wing key of a published seed, which is expanded as the draft has it. */
async function xwingOf(backend: Backend, seed: string, publicKey: Bytes) {
  const expanded = nodeCrypto.createHash('shake256', { outputLength: 96 }).update(hex(seed)).digest()
  const mlkem = need(backend.mlkem768, 'ML-KEM-768', backend)
  const x25519 = need(backend.x25519, 'X25519', backend)
  return xwingKey(
    await mlkem.load(new Uint8Array(expanded.subarray(0, 64)), publicKey.slice(0, 1184)),
    await x25519.load(new Uint8Array(expanded.subarray(64)), publicKey.slice(1184)),
  )
}

/**
 * The client's share of the published handshake. No platform lets ML-KEM's randomness be chosen, so S3's first secret
 * is recomputed from the published ciphertext with the static key.
 */
export async function publishedKex(backend: Backend, suite: SealedSuite): Promise<Kex> {
  const vector = vectors[suite]
  const clientPublic = hex(vector.c_pub)
  const staticPublic = hex(vector.S_pub)
  if (suite === 'S3') {
    const own = await xwingOf(backend, vector.client_eph_seed, clientPublic.slice(XWING_CIPHERTEXT_BYTES))
    const server = await xwingOf(backend, vector.static_seed, staticPublic)
    const ss1 = await server.decapsulate(clientPublic.slice(0, XWING_CIPHERTEXT_BYTES))
    return { clientPublic, ss1, finish: own.decapsulate }
  }
  // What the caller hands in for node-forge is Node's.
  const curve = suite === 'S1' ? backend.x25519 : backend === pure ? node.p256 : backend.p256
  const loadable = curve as NonNullable<Backend['x25519']>
  return dhKex(suite, await loadable.load(hex(vector.client_eph_priv), clientPublic), staticPublic)
}
