import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findProgram } from './mariadb-install.ts'

/** Of the class library, what the C# example and its driver are compiled against. */
const LIBRARIES = [
  'System.Core',
  'System.Management',
  'System.Net.Http',
  'System.Numerics',
  'System.Security',
]
const PLACES = ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin']

export type Mono = { readonly runtime: string; readonly compiler: string }

/** `undefined` where Mono, its compiler or a part of its class library is missing. */
export function findMono(): Mono | undefined {
  const runtime = findProgram(['mono'], PLACES)
  const compiler = findProgram(['mcs'], PLACES)
  if (runtime === undefined || compiler === undefined) return undefined
  const library = join(dirname(runtime), '../lib/mono/4.5')
  const isWhole = LIBRARIES.every((name) => existsSync(join(library, `${name}.dll`)))
  return isWhole ? { runtime, compiler } : undefined
}
