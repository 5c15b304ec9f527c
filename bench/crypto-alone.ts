import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { SealedSuite } from '../src/crypto/suites.ts'
import { spawnGuarded } from '../test/support/children.ts'
import type { Figures } from './load/load.ts'
import { ended } from './processes.ts'
import type { Alone } from './targets.ts'

const LOOP = fileURLToPath(new URL('crypto-loop.ts', import.meta.url))

/** Of real messages: the padded plaintext of a licence.check, that of its reply with a lease, and a session's token. */
export const REQUEST_BYTES = 512
export const REPLY_BYTES = 1280
export const TOKEN_BYTES = 570

async function run(args: readonly string[]): Promise<Figures> {
  const child = spawnGuarded(process.execPath, [LOOP, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [output, code] = await Promise.all([child.stdout === null ? '' : text(child.stdout), ended(child)])
  if (code !== 0) throw new Error(`crypto-loop ended with ${code}`)
  return JSON.parse(output)
}

/** The functions of src/crypto that one handshake or one record is made of, one after another in one process. */
export function cryptoAlone(kind: 'handshake' | 'record', suite: SealedSuite): Alone {
  return {
    name: `crypto alone: ${kind} ${suite}`,
    run: (seconds) => run([kind, suite, String(seconds)]),
  }
}
