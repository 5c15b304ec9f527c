import { findProgram } from './mariadb-install.ts'

/** Starts a program under another clock; `undefined` where it is not installed. */
export function findFaketime(): string | undefined {
  return findProgram(['faketime'], ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin'])
}
