import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from '../support/children.ts'
import type { ExampleClient, Program } from '../support/example-client.ts'
import { argumentsOf, pinOf, runWith } from '../support/example-client-runs.ts'
import { findJava } from '../support/languages.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const file = findJava() ?? 'java'
const tool = (name: string, ...args: string[]) =>
  execFileSync(join(dirname(file), name), args, { stdio: 'pipe' })

const SOURCE = path('../../examples/java/KunciClient.java')
const directory = mkdtempSync(join(scratchDirectory(), 'java-'))
const classes = join(directory, 'classes')
const jar = join(directory, 'client.jar')
const archive = join(directory, 'client.jsa')
// Compiled once, as every start from the source compiles it anew.
tool('javac', '-Xlint:all,-serial', '-Werror', '-d', classes, SOURCE, path('JavaDriver.java'))
tool('jar', '--create', '--file', jar, '-C', classes, '.')

// It is started hundreds of times and never runs long enough to be worth an optimising compiler.
const program = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', jar, 'KunciClient']
// Nor to read every certificate that the JDK trusts.
const trustNobody = '-Djavax.net.ssl.trustStore=NONE'

/** A first start leaves its classes as the later ones map them into memory; a third of their time is saved. */
async function archiveClasses(): Promise<string> {
  const args = [`-XX:ArchiveClassesAtExit=${archive}`, trustNobody, ...program]
  const nobody = { server: 'http://127.0.0.1:1', suite: 'S1', pins: [pinOf('S1')] } as const
  await runWith({ file, args }, argumentsOf(nobody))
  return `-XX:SharedArchiveFile=${archive}`
}

/** What makes Java trust these certificates: it reads them from a store of its own only. */
function trust(certificateFile: string): string[] {
  const store = join(mkdtempSync(join(scratchDirectory(), 'store-')), 'trusted.p12')
  const password = 'changeit'
  const keytool = ['-importcert', '-noprompt', '-file', certificateFile, '-keystore', store]
  tool('keytool', ...keytool, '-storepass', password)
  return [`-Djavax.net.ssl.trustStore=${store}`, `-Djavax.net.ssl.trustStorePassword=${password}`]
}

const archived = await archiveClasses()

export const javaClient: ExampleClient = {
  program: { file, args: [archived, trustNobody, ...program] },
  driver: { file, args: ['-cp', jar, 'JavaDriver'] },
  trusting: (certificateFile: string) => ({ file, args: [archived, ...trust(certificateFile), ...program] }),
}

export const javaFromSource: Program = { file, args: [SOURCE] }
