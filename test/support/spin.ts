import { findProgram } from './mariadb-install.ts'

const PLACES = ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin']

/** The model checker; `undefined` where none is installed. */
export function findSpin(): string | undefined {
  return findProgram(['spin'], PLACES)
}

/** Spin reads its models through the C preprocessor and writes the checker of a model in C. */
export function findCompiler(): string | undefined {
  return findProgram(['gcc'], PLACES)
}
