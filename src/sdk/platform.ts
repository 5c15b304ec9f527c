import type { webcrypto } from 'node:crypto'
import { type Backend, need } from './backend.ts'
import { nodeBackend } from './backend-node.ts'
import { webcryptoBackend } from './backend-webcrypto.ts'
import type { Bytes } from './encoding.ts'
import { startKex } from './kex.ts'
import type { SealedSuite } from './suites.ts'

type Platform = {
  readonly process?: { getBuiltinModule?(name: 'node:crypto'): typeof import('node:crypto') | undefined }
  readonly crypto?: webcrypto.Crypto
}

const NOTHING =
  'there is neither node:crypto nor WebCrypto here (a page needs HTTPS for it): hand in `crypto`, such as forgeBackend(forge)'

/**
 * What this platform has: node:crypto first, as it has the most, then WebCrypto. node:crypto is asked for by its name
 * at run time, so that bundlers for browsers find no import of it.
 */
function backendsHere(): readonly Backend[] {
  const { process, crypto } = globalThis as Platform
  const node = process?.getBuiltinModule?.('node:crypto')
  return [
    ...(node === undefined ? [] : [nodeBackend(node)]),
    ...(crypto?.subtle === undefined ? [] : [webcryptoBackend(crypto.subtle)]),
  ]
}

/** The first that is here, for what every one of them can do. @throws {Error} when there is none. */
export function anyBackend(): Backend {
  const [backend] = backendsHere()
  if (backend === undefined) throw new Error(NOTHING)
  return backend
}

/** Tries what no platform says about itself: whether it can do a suite's handshake and its records. */
async function tryOut(backend: Backend, suite: SealedSuite, staticPublic: Bytes): Promise<Backend> {
  try {
    if (suite !== 'S2') need(backend.gcm, 'AES-GCM', backend)
    await startKex(backend, suite, staticPublic)
    return backend
  } catch (error) {
    throw new Error(`${backend.name} cannot do ${suite}: ${(error as Error).message}`)
  }
}

/**
 * Finds a backend for a suite.
 * @param staticPublic a public key of that suite, to try it out on.
 * @throws {Error} that says why none of them will do.
 */
export async function backendFor(
  suite: SealedSuite,
  staticPublic: Bytes,
  candidates: readonly Backend[] = backendsHere(),
): Promise<Backend> {
  const reasons: string[] = []
  for (const candidate of candidates) {
    try {
      return await tryOut(candidate, suite, staticPublic)
    } catch (error) {
      reasons.push((error as Error).message)
    }
  }
  throw new Error(reasons.length === 0 ? NOTHING : reasons.join('; '))
}

/** Random bytes of the platform, which pages without a secure context have too. */
export function randomBytes(length: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(length))
}
