import { parseArgs } from 'node:util'

export const HELP = `Measures hand-out and check of Kunci beside a bare Fastify route and a baseline, taking turns.

  npm run bench -- [options]

  --seconds N        How long each target runs in each round. Default: 5.
  --rounds N         How many rounds are counted, after a warm-up. Default: 5.
  --only PATTERN     Only targets whose name matches this regular expression, case aside. Then nothing is
                     written, unless --write or --out says so.
  --write            Writes the tables all the same.
  --out FILE         Writes them into this Markdown file. Default: docs/performance.md.
  --driver NAME      wrk or autocannon. Default: wrk where it is installed.
  --help             Prints this help.

Instead of the comparison, one or several of:

  --million          A million living session keys beside nearly none.
  --soak [MINUTES]   Memory under a steady load. Default: 10.
  --workers          WORKERS=1 beside more.
  --streams [N]      So many open streams, and how soon they know. Default: 5000.
  --sealed           Handshakes and checks of the sealed suites beside their cryptography alone.

Progress goes to stderr, the tables to stdout too. A run with any error is no result: nothing is written, and the exit
code is 1; 2 stands for wrong options.
`

export type Arguments = {
  readonly seconds: number
  readonly rounds: number
  readonly only: RegExp | undefined
  /** Where the tables go; `undefined`: to stdout only. */
  readonly out: string | undefined
  readonly driver: 'wrk' | 'autocannon' | undefined
  readonly million: boolean
  readonly soakMinutes: number | undefined
  readonly workers: boolean
  readonly sealed: boolean
  readonly streams: number | undefined
  readonly help: boolean
}

const DEFAULT_OUT = 'docs/performance.md'
/** Of options that may go without a value. */
const DEFAULT_VALUES = { '--soak': '10', '--streams': '5000' } as const

/** An option is wrong; the message says which. */
export class UsageError extends Error {}

function wholeNumber(name: string, text: string, max: number): number {
  const value = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (value >= 1 && value <= max) return value
  throw new UsageError(`--${name} must be a whole number from 1 to ${max}`)
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text, 'i')
  } catch {
    throw new UsageError(`--only ${text} is not a regular expression`)
  }
}

function driverNamed(name: string): 'wrk' | 'autocannon' {
  if (name === 'wrk' || name === 'autocannon') return name
  throw new UsageError('--driver must be wrk or autocannon')
}

/** parseArgs knows no option that may go without its value. */
function withDefaultValues(argv: readonly string[]): string[] {
  const values: Readonly<Record<string, string>> = DEFAULT_VALUES
  return argv.map((arg, i) => {
    const value = values[arg]
    return value === undefined || /^\d/.test(argv[i + 1] ?? '') ? arg : `${arg}=${value}`
  })
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: withDefaultValues(argv),
      options: {
        seconds: { type: 'string', default: '5' },
        rounds: { type: 'string', default: '5' },
        only: { type: 'string' },
        write: { type: 'boolean', default: false },
        out: { type: 'string' },
        driver: { type: 'string' },
        million: { type: 'boolean', default: false },
        soak: { type: 'string' },
        workers: { type: 'boolean', default: false },
        sealed: { type: 'boolean', default: false },
        streams: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** The command as others can repeat it: without --out, which names a place on this machine. */
export function commandOf(argv: readonly string[]): string {
  const shared = argv.filter((arg, i) => !/^--out(=|$)/.test(arg) && argv[i - 1] !== '--out')
  const quoted = shared.map((arg) => (/^[\w.=-]+$/.test(arg) ? arg : `'${arg}'`))
  return ['npm run bench', ...(quoted.length > 0 ? ['--', ...quoted] : [])].join(' ')
}

/** @throws {UsageError} for an unknown option or a value that is not acceptable. */
export function readArguments(argv: readonly string[]): Arguments {
  const { seconds, rounds, only, write, out, driver, soak, million, workers, sealed, streams, help } =
    parsed(argv)
  return {
    seconds: wholeNumber('seconds', seconds, 600),
    rounds: wholeNumber('rounds', rounds, 100),
    only: only === undefined ? undefined : pattern(only),
    out: out ?? (only === undefined || write ? DEFAULT_OUT : undefined),
    driver: driver === undefined ? undefined : driverNamed(driver),
    soakMinutes: soak === undefined ? undefined : wholeNumber('soak', soak, 1440),
    streams: streams === undefined ? undefined : wholeNumber('streams', streams, 9999),
    ...{ million, workers, sealed, help },
  }
}
