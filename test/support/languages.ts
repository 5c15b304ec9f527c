import { spawnSync } from 'node:child_process'
import { findProgram } from './mariadb-install.ts'

/** Not from PATH: a version manager's program may stand for a version that is not installed. */
const PLACES = ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin']

const PHP_EXTENSIONS = ['curl', 'intl', 'openssl', 'sodium']

/** PHP's command line, with the extensions that the example needs. */
export function findPhp(): string | undefined {
  const php = findProgram(['php'], PLACES)
  if (php === undefined) return undefined
  const loaded = spawnSync(php, ['-m'], { encoding: 'utf8' }).stdout.split('\n')
  return PHP_EXTENSIONS.every((extension) => loaded.includes(extension)) ? php : undefined
}
