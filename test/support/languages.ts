import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findProgram } from './mariadb-install.ts'
import { findCompiler } from './spin.ts'

/** Not from PATH: a version manager's program may stand for a version that is not installed. */
const PLACES = ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin', '/usr/local/go/bin']

const PHP_EXTENSIONS = ['curl', 'intl', 'openssl', 'sodium']

/** PHP's command line, with the extensions that the example needs. */
export function findPhp(): string | undefined {
  const php = findProgram(['php'], PLACES)
  if (php === undefined) return undefined
  const loaded = spawnSync(php, ['-m'], { encoding: 'utf8' }).stdout.split('\n')
  return PHP_EXTENSIONS.every((extension) => loaded.includes(extension)) ? php : undefined
}

/** A compiler, and the environment in which it finds what it needs. */
export type Compiler = { readonly file: string; readonly env: Readonly<Record<string, string>> }

/** Where Debian and Fedora put the sources of Go packages. */
const GO_PACKAGES = '/usr/share/gocode'
const GO_NEEDS = ['crypto', 'text'].map((name) => `${GO_PACKAGES}/src/golang.org/x/${name}`)

/** Go. It takes other people's packages from Debian's; without those it fetches them as modules. */
export function findGo(): Compiler | undefined {
  const file = findProgram(['go'], PLACES)
  if (file === undefined) return undefined
  const path = process.env.PATH ?? ''
  if (GO_NEEDS.every((directory) => existsSync(directory)))
    return { file, env: { PATH: path, GO111MODULE: 'off', GOPATH: GO_PACKAGES } }
  return existsSync('/usr/bin/apt-get') ? undefined : { file, env: { PATH: path, GOFLAGS: '-modcacherw' } }
}

/** What has OpenSSL's `include` and `lib`. Compilers look into the first without being told. */
const OPENSSL_PLACES = ['/usr', '/opt/homebrew/opt/openssl', '/usr/local/opt/openssl', '/usr/local']

const opensslPlace = () => OPENSSL_PLACES.find((place) => existsSync(`${place}/include/openssl/evp.h`))

export function findOpensslHeaders(): string | undefined {
  const place = opensslPlace()
  return place === undefined ? undefined : `${place}/include/openssl`
}

/** A C compiler that finds OpenSSL. */
export function findOpensslCompiler(): Compiler | undefined {
  const [file, place] = [findCompiler(), opensslPlace()]
  if (file === undefined || place === undefined) return undefined
  const elsewhere = place === '/usr' ? {} : { CPATH: `${place}/include`, LIBRARY_PATH: `${place}/lib` }
  return { file, env: { PATH: process.env.PATH ?? '', ...elsewhere } }
}

/** Python 3, with the package that the example needs. */
export function findPython(): string | undefined {
  const python = findProgram(['python3'], PLACES)
  if (python === undefined) return undefined
  return spawnSync(python, ['-c', 'import cryptography']).status === 0 ? python : undefined
}

/** Homebrew keeps its JDK apart, and what stands in macOS's own place does nothing but offer to fetch one. */
const JDK_PLACES = ['/opt/homebrew/opt/openjdk/bin', '/usr/local/opt/openjdk/bin', ...PLACES]
const LEAST_JAVA = 17

/** Java, with its compiler beside it. */
export function findJava(): string | undefined {
  const javac = findProgram(['javac'], JDK_PLACES)
  if (javac === undefined) return undefined
  const [, major] = /^javac (\d+)/.exec(spawnSync(javac, ['-version'], { encoding: 'utf8' }).stdout) ?? []
  return Number(major) >= LEAST_JAVA ? join(dirname(javac), 'java') : undefined
}
