import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from '../support/children.ts'
import type { ExampleClient } from '../support/example-client.ts'
import { findGo } from '../support/languages.ts'

const SOURCES = ['../../examples/go/kunci_client.go', 'go_driver_test.go']

/** Go takes the files of a package from one directory only, hence the copies. */
function build() {
  const directory = mkdtempSync(join(scratchDirectory(), 'go-'))
  for (const source of SOURCES)
    copyFileSync(fileURLToPath(new URL(source, import.meta.url)), join(directory, basename(source)))
  const { file, env } = findGo() ?? { file: 'go', env: {} }
  const options = { cwd: directory, env: { HOME: directory, ...env }, encoding: 'utf8' } as const
  const go = (...args: string[]) => execFileSync(file, args, options)
  if (!('GOPATH' in env)) {
    go('mod', 'init', 'kunci_client')
    go('mod', 'tidy')
  }
  go('vet', '.')
  go('build', '-o', 'kunci_client', 'kunci_client.go')
  go('test', '-c', '-o', 'driver', '.')
  return { program: join(directory, 'kunci_client'), driver: join(directory, 'driver') }
}

const { program, driver } = build()

export const goClient: ExampleClient = {
  program: { file: program },
  driver: { file: driver },
  trusting: (certificateFile: string) => ({ file: program, env: { SSL_CERT_FILE: certificateFile } }),
}
