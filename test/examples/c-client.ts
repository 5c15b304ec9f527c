import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from '../support/children.ts'
import type { ExampleClient } from '../support/example-client.ts'
import { findOpensslCompiler } from '../support/languages.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
export const SOURCE = path('../../examples/c/kunci_client.c')
const DRIVER = path('c_driver.c')
const SANITISERS = ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']

const directory = mkdtempSync(join(scratchDirectory(), 'c-'))

export function compile(args: readonly string[]) {
  const { file, env } = findOpensslCompiler() ?? { file: 'cc', env: {} }
  const { status, stderr } = spawnSync(file, args, { cwd: directory, env, encoding: 'utf8' })
  return { isBuilt: status === 0, stderr }
}

/** With the sanitisers, where the compiler has them. */
function build(source: string, name: string): string {
  const args = ['-Wall', '-Wextra', '-o', name, source, '-lssl', '-lcrypto']
  if (!compile([...SANITISERS, ...args]).isBuilt) {
    const { isBuilt, stderr } = compile(args)
    if (!isBuilt) throw new Error(stderr)
  }
  return join(directory, name)
}

const program = build(SOURCE, 'kunci_client')
export const cClient: ExampleClient = {
  program: { file: program },
  driver: { file: build(DRIVER, 'driver') },
  isAsciiOnly: true,
  trusting: (certificateFile: string) => ({ file: program, env: { SSL_CERT_FILE: certificateFile } }),
}
