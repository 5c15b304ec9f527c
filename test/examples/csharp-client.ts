import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from '../support/children.ts'
import type { ExampleClient, Program } from '../support/example-client.ts'
import { findMono } from '../support/mono.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
export const SOURCE = path('../../examples/csharp/KunciClient.cs')
const DRIVER = path('csharp_driver.cs')

export const directory = mkdtempSync(join(scratchDirectory(), 'csharp-'))
export const { runtime, compiler } = findMono() ?? { runtime: 'mono', compiler: 'mcs' }
export const libraries = /^ \* {3}set LIBS=(.+)$/m.exec(readFileSync(SOURCE, 'utf8'))?.[1]?.split(' ') ?? []

/** C# 5 is what the compiler that comes with Windows takes. */
export function compile(name: string, ...args: string[]) {
  const file = join(directory, name)
  const flags = ['/langversion:5', '/warn:4', '/nologo', ...libraries, `/out:${file}`]
  const { status, stdout, stderr } = spawnSync(compiler, [...flags, ...args], { encoding: 'utf8' })
  return { file, isBuilt: status === 0, said: `${stdout}${stderr}` }
}

function build(): string {
  const { file, isBuilt, said } = compile('driver.exe', '/main:Kunci.Example.Driver', SOURCE, DRIVER)
  if (!isBuilt) throw new Error(said)
  return file
}

const driver = build()
let homes = 0
/** Mono keeps what the user trusts, and the key of its DPAPI, below this directory. */
export const freshHome = () => {
  const home = join(directory, `home-${homes++}`)
  mkdirSync(home)
  return home
}
export const runDriver = (args: readonly string[], home = freshHome()): Program => ({
  file: runtime,
  args: [driver, ...args],
  env: { XDG_CONFIG_HOME: home },
})

function trusting(certificateFile: string): Program {
  const home = freshHome()
  const store = join(home, '.mono/new-certs/Trust')
  mkdirSync(store, { recursive: true })
  const args = ['x509', '-noout', '-subject_hash', '-in', certificateFile]
  cpSync(certificateFile, join(store, `${execFileSync('openssl', args, { encoding: 'utf8' }).trim()}.0`))
  return runDriver(['client'], home)
}

export const csharpClient: ExampleClient = {
  program: runDriver(['client']),
  driver: runDriver(['lines']),
  trusting,
  suites: ['S2'],
  runsOnMono: true,
}
