import { findProgram } from './mariadb-install.ts'

/** `undefined` where none is installed. Not from PATH alone, which often lacks the administrator's directories. */
export function findNginx(): string | undefined {
  return findProgram(
    ['nginx'],
    ['/usr/sbin', '/usr/bin', '/opt/homebrew/bin', '/usr/local/bin', '/usr/local/sbin'],
  )
}
