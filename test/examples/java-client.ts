import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from '../support/children.ts'
import type { ExampleClient, Program } from '../support/example-client.ts'
import { findJava } from '../support/languages.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const file = findJava() ?? 'java'
const tool = (name: string, ...args: string[]) =>
  execFileSync(join(dirname(file), name), args, { stdio: 'pipe' })

const SOURCE = path('../../examples/java/KunciClient.java')
// Compiled once, as every start from the source compiles it anew.
const classes = mkdtempSync(join(scratchDirectory(), 'java-'))
tool('javac', '-Xlint:all,-serial', '-Werror', '-d', classes, SOURCE, path('JavaDriver.java'))

/** What makes Java trust these certificates: it reads them from a store of its own only. */
function trust(certificateFile: string): string[] {
  const store = join(mkdtempSync(join(scratchDirectory(), 'store-')), 'trusted.p12')
  const password = 'changeit'
  const keytool = ['-importcert', '-noprompt', '-file', certificateFile, '-keystore', store]
  tool('keytool', ...keytool, '-storepass', password)
  return [`-Djavax.net.ssl.trustStore=${store}`, `-Djavax.net.ssl.trustStorePassword=${password}`]
}

// It is started a hundred times and never runs long enough to be worth an optimising compiler.
const program = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', classes, 'KunciClient']
export const javaClient: ExampleClient = {
  program: { file, args: program },
  driver: { file, args: ['-cp', classes, 'JavaDriver'] },
  trusting: (certificateFile: string) => ({ file, args: [...trust(certificateFile), ...program] }),
}

export const javaFromSource: Program = { file, args: [SOURCE] }
