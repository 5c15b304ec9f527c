import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, lstatSync, mkdtempSync, renameSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { scratchDirectory } from './children.ts'

const run = promisify(execFile)

const PLACES = [
  '/usr/sbin',
  '/usr/bin',
  '/usr/libexec',
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/local/mysql/bin',
  '/opt/homebrew/bin',
  '/opt/homebrew/opt/mariadb/bin',
  '/opt/homebrew/opt/mysql/bin',
  '/usr/local/opt/mariadb/bin',
  '/usr/local/opt/mysql/bin',
]

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where one of the named programs is: the first name that is anywhere wins. */
export function findProgram(names: readonly string[], places: readonly string[]): string | undefined {
  return names.flatMap((name) => places.map((place) => join(place, name))).find(isExecutable)
}

/** The server that `startMariadb` would run, `undefined` where none is installed. */
export function findServerBinary(): string | undefined {
  const told = process.env.KUNCI_TEST_MARIADBD
  if (told) return isExecutable(told) ? told : undefined
  const path = (process.env.PATH ?? '').split(delimiter).filter((place) => place !== '')
  return findProgram(['mariadbd', 'mysqld'], [...path, ...PLACES])
}

export function requireServerBinary(): string {
  const binary = findServerBinary()
  if (binary === undefined)
    throw new Error('No mariadbd or mysqld found. Install MariaDB, or set KUNCI_TEST_MARIADBD to its server.')
  return binary
}

/** A server refuses to run as root unless it is told that this is meant. */
export function asThisUser(): string[] {
  return process.getuid?.() === 0 ? ['--user=root'] : []
}

async function initialise(binary: string, isMysql: boolean, directory: string, tmp: string): Promise<void> {
  const common = [`--datadir=${directory}`, `--tmpdir=${tmp}`, ...asThisUser()]
  if (isMysql) {
    await run(binary, ['--no-defaults', '--initialize-insecure', ...common])
    return
  }
  const here = dirname(binary)
  const places = [here, join(here, '../bin'), join(here, '../scripts'), ...PLACES]
  const installer = findProgram(['mariadb-install-db', 'mysql_install_db'], places)
  if (installer === undefined) throw new Error(`${binary} is here but mariadb-install-db is not`)
  await run(installer, [
    '--no-defaults',
    ...common,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    '--skip-name-resolve',
    '--innodb-log-file-size=16M',
  ])
}

/** In a shared temporary directory anybody could have put a file of that name. */
function isOurs(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isFile() === true && stat.uid === process.getuid?.()
}

/**
 * A fresh data directory as one archive, which is made once and kept for later runs. One file, so that it
 * appears whole by a rename, whoever else makes it at that time, and no cleaner of old files leaves half of
 * it.
 */
export async function freshDataArchive(binary: string): Promise<string> {
  const { stdout: version } = await run(binary, ['--version'])
  const id = createHash('sha256').update(`1 ${binary} ${version}`).digest('hex').slice(0, 12)
  const cached = join(dirname(scratchDirectory()), `kunci-mariadb-${process.getuid?.()}-${id}.tar`)
  if (isOurs(cached)) return cached
  const workshop = mkdtempSync(join(scratchDirectory(), 'new-'))
  const data = join(workshop, 'data')
  const archive = join(workshop, 'data.tar')
  await initialise(binary, !/mariadb/i.test(version), data, workshop)
  await run('tar', ['-C', data, '-cf', archive, '.'])
  try {
    renameSync(archive, cached)
    return cached
  } catch {
    return archive
  }
}
