import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { scratchDirectory, spawnGuarded } from '../../test/support/children.ts'
import type { Answer, Client, Outcome, Run } from './client.ts'

const OUTCOMES: readonly Outcome[] = ['allowed', 'denied', 'unavailable']
const WRONG_USAGE = 64
/** Instead of 1 s, 3 s and 9 s between the tries, for programs that know the variable. */
const SHORT_WAITS = '10,10,10'

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** @returns a command's words; those in quotes may hold blanks. */
export function wordsOf(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? '')
}

function findInPath(program: string): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter)
  return directories.map((directory) => join(directory, program)).find((file) => existsSync(file))
}

/**
 * Where libfaketime takes the C library for one that waits for ever by the monotonic clock, it has every such wait end
 * at once instead: each time-out of the JVM and of Mono would be over before it began.
 */
const PATIENCE = { FAKETIME_FORCE_MONOTONIC_FIX: '0' }

/** Puts libfaketime's command in front. The monotonic clock stays as it is, or no time-out would be the same. */
function withClock(words: readonly string[], offsetS: number): string[] | null {
  if (offsetS === 0) return [...words]
  const faketime = findInPath('faketime')
  if (faketime === undefined) return null
  return [faketime, '--exclude-monotonic', '-f', `${offsetS < 0 ? '' : '+'}${offsetS}s`, ...words]
}

function argumentsOf({ serverUrl, suite, pins, licence, tool, hardware }: Run): string[] {
  return [
    ...['--server', serverUrl, '--suite', suite],
    ...pins[suite].flatMap(({ kid, pub }) => ['--pin', `${kid}:${pub}`]),
    ...['--licence', licence, '--tool', tool],
    ...Object.entries(hardware).flatMap(([type, serial]) => ['--hw', `${type}=${serial}`]),
  ]
}

function leaseArguments({ pins, state }: Run): string[] {
  const keys = pins.lease.flatMap(({ kid, x, y }) => ['--lease-key', `${kid}:${x}:${y}`])
  return [...keys, '--lease', join(scratchDirectory(), `${state}.lease`)]
}

async function runToEnd(
  [file = '', ...args]: readonly string[],
  given: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Ended> {
  const env = { KUNCI_RETRY_MS: SHORT_WAITS, ...PATIENCE, ...given }
  // A group of its own, as what faketime or a build tool has started must end with it.
  const child = spawnGuarded(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  child.ref()
  const kill = () => child.pid !== undefined && process.kill(-child.pid, 'SIGKILL')
  signal.addEventListener('abort', kill)
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  })
  try {
    const [code, stdout, stderr] = await Promise.all([
      ended,
      child.stdout === null ? '' : text(child.stdout),
      child.stderr === null ? '' : text(child.stderr),
    ])
    return { code, stdout, stderr }
  } finally {
    signal.removeEventListener('abort', kill)
  }
}

function lastLine(output: string): string {
  return output.trimEnd().split('\n').at(-1) ?? ''
}

function outcomeIn(line: string): unknown {
  try {
    return (JSON.parse(line) as { outcome?: unknown } | null)?.outcome
  } catch {
    return undefined
  }
}

/** The exit code and the last line must say the same. */
function answerOf({ code, stdout, stderr }: Ended): Answer {
  const said = stdout + stderr
  if (code === WRONG_USAGE) return { outcome: 'unsupported', note: lastLine(stderr), said }
  const outcome = OUTCOMES[code ?? -1]
  if (outcome === undefined)
    return { outcome: 'broken', note: `exit code ${code}: ${lastLine(stderr) || lastLine(stdout)}`, said }
  const line = lastLine(stdout)
  if (outcomeIn(line) !== outcome)
    return { outcome: 'broken', note: `exit code ${code}, but the last line is ${line}`, said }
  return { outcome, said }
}

/**
 * A program that takes the options of the example clients, started anew for each run.
 * @param words the program and what stands before its options.
 * @param env its environment.
 */
export function programClient(words: readonly string[], env: NodeJS.ProcessEnv = process.env): Client {
  let keepsLeases = true
  return async (run, signal) => {
    const timed = withClock(words, run.clockOffsetS)
    if (timed === null)
      return { outcome: 'unsupported', note: 'faketime is not installed, which moves the clock' }
    const start = async (...more: string[]) =>
      answerOf(await runToEnd([...timed, ...argumentsOf(run), ...more], env, signal))
    if (!keepsLeases) return start()
    const answer = await start(...leaseArguments(run))
    if (answer.outcome !== 'unsupported') return answer
    const withoutLease = await start()
    keepsLeases = withoutLease.outcome === 'unsupported'
    return withoutLease
  }
}
