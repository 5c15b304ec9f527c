import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory, spawnGuarded } from '../../test/support/children.ts'
import { findProgram } from '../../test/support/mariadb-install.ts'
import { ended } from '../processes.ts'
import { type Driver, type Figures, happened, type Load, type Shot } from './load.ts'

const SCRIPT = fileURLToPath(new URL('requests.lua', import.meta.url))

/** Where wrk is; `undefined` where it is not installed. */
export function findWrk(): string | undefined {
  return findProgram(['wrk'], (process.env.PATH ?? '').split(delimiter).filter(Boolean))
}

function lineOf({ method, path, authorization = '', body = '' }: Shot): string {
  return `${[method, path, authorization, body].join('\t')}\n`
}

/**
 * Reads what requests.lua writes at the end.
 * @throws {Error} when it is not all there.
 */
export function readWrk(output: string): Figures {
  const said = new Map(
    [...output.matchAll(/^bench\.(\w+) (.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
  )
  const number = (name: string): number => {
    const value = Number(said.get(name) || Number.NaN)
    if (Number.isFinite(value)) return value
    throw new Error(`wrk did not say "${name}". It said:\n${output}`)
  }
  const firstBad = said.get('first_bad')
  return {
    requests: number('requests'),
    seconds: number('duration_us') / 1e6,
    p50Ms: number('p50_us') / 1000,
    p99Ms: number('p99_us') / 1000,
    errors: happened({
      'no connection': number('connect'),
      'connection broken': number('read') + number('write'),
      'timed out': number('timeout'),
      'no success': number('bad'),
    }),
    ...(firstBad ? { firstBad } : {}),
  }
}

async function run(
  binary: string,
  { baseUrl, shots, success, connections, seconds }: Load,
): Promise<Figures> {
  const directory = mkdtempSync(join(scratchDirectory(), 'wrk-'))
  try {
    const file = join(directory, 'requests')
    writeFileSync(file, shots.map(lineOf).join(''), { mode: 0o600 })
    const options = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '-s', SCRIPT]
    const wrk = spawnGuarded(binary, [...options, baseUrl, '--', file, success], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const pipe of [wrk.stdout, wrk.stderr])
      pipe?.setEncoding('utf8').on('data', (text) => (output += text))
    const closed = new Promise((resolve) => wrk.once('close', resolve))
    await ended(wrk)
    await closed
    return readWrk(output)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** wrk: one thread in C, which leaves the most of the cores to what is measured. */
export async function wrkDriver(binary: string): Promise<Driver> {
  // It has no option for its version alone: -v prints it with the usage, and ends with 1.
  const usage = await new Promise<string>((resolve) =>
    execFile(binary, ['-v'], (_error, stdout) => resolve(stdout)),
  )
  return {
    name: 'wrk',
    version: /^wrk \S*?(\d+\.\d+\.\d+)/.exec(usage)?.[1] ?? 'of unknown version',
    run: (load) => run(binary, load),
  }
}
