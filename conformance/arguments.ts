import { parseArgs } from 'node:util'
import type { SealedSuite } from '../src/crypto/suites.ts'
import { ATTACK_NAMES } from './index.ts'

export const HELP = `Plays attacks on the protocol dsk1 against a client, and says which of them it withstands.

  npm run attack -- --exec COMMAND [options]     a program with the options of the example clients
  npm run attack -- URL [options]                a harness of the client's own, see docs/conformance.md

  --suite SUITE      S1, S2, S3 or all. Default: those that the client has.
  --only CASE        One attack alone.
  --timeout SECONDS  The time-out that the client gives each request. Default: 10.
  --jobs N           How many attacks are played at the same time. Default: one a core.
  --json             Prints the rows as JSON.
  --help             Prints this help.

The table goes to stdout, progress to stderr. The exit code is 0 when every row passed, 1 when one failed, and 2 for
wrong options, or a client that has no suite to be tried in.
`

export type Arguments = {
  readonly help: boolean
  readonly json: boolean
  /** What is attacked: as it was named on the command line. */
  readonly target: { readonly kind: 'program' | 'harness'; readonly name: string }
  /** `undefined`: those that the client has. */
  readonly suites: readonly SealedSuite[] | undefined
  readonly only: string | undefined
  readonly timeoutMs: number
  readonly jobs: number | undefined
}

/** An option is wrong; the message says which. */
export class UsageError extends Error {}

const SUITES: Readonly<Record<string, readonly SealedSuite[]>> = {
  ...{ S1: ['S1'], S2: ['S2'], S3: ['S3'], all: ['S1', 'S2', 'S3'] },
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        exec: { type: 'string' },
        suite: { type: 'string' },
        only: { type: 'string' },
        timeout: { type: 'string', default: '10' },
        jobs: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function targetOf(exec: string | undefined, positionals: readonly string[]): Arguments['target'] {
  const [url] = positionals
  if (positionals.length + (exec === undefined ? 0 : 1) !== 1)
    throw new UsageError('name one client: --exec COMMAND or the URL of a harness')
  if (exec !== undefined) return { kind: 'program', name: exec }
  if (url === undefined || !/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    throw new UsageError(`${url} is not the URL of a harness`)
  return { kind: 'harness', name: url }
}

function numberOf(name: string, text: string, pattern: RegExp): number {
  if (pattern.test(text) && Number(text) > 0) return Number(text)
  throw new UsageError(`--${name} ${text} is not a number that can be used`)
}

/** @throws {UsageError} for an unknown option or a value that is not acceptable. */
export function readArguments(argv: readonly string[]): Arguments {
  const { values, positionals } = parsed(argv)
  const { exec, suite, only, timeout, jobs, json, help } = values
  if (suite !== undefined && !Object.hasOwn(SUITES, suite))
    throw new UsageError('--suite must be S1, S2, S3 or all')
  if (only !== undefined && !ATTACK_NAMES.includes(only))
    throw new UsageError(`there is no case ${only}. There are:\n  ${ATTACK_NAMES.join('\n  ')}`)
  return {
    ...{ help, json, only },
    target: help ? { kind: 'program', name: '' } : targetOf(exec, positionals),
    suites: suite === undefined ? undefined : SUITES[suite],
    timeoutMs: 1000 * numberOf('timeout', timeout, /^\d{1,3}(\.\d{1,3})?$/),
    jobs: jobs === undefined ? undefined : numberOf('jobs', jobs, /^\d{1,2}$/),
  }
}
