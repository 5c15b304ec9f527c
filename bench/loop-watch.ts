import { existsSync, mkdtempSync, readdirSync, readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from '../test/support/children.ts'

const MODULE = fileURLToPath(new URL('loop-delay.ts', import.meta.url))
const ANSWER_TIMEOUT_MS = 10_000
const ASK_EVERY_MS = 5

/**
 * How long the event loop of a process was away from its timers, of which one is due every millisecond: a loop that is
 * never blocked tells a little more than 1.
 */
export type LoopDelay = { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number }

/** A process, with those that it has started by `node:cluster`, whose event loops are watched. */
export type LoopWatch = {
  /** What Node is started with. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** The delays since this was asked before; of several processes the longest of each kind. */
  read(): Promise<LoopDelay>
}

async function ask(directory: string, pid: string): Promise<LoopDelay> {
  const file = join(directory, pid)
  unlinkSync(file)
  process.kill(Number(pid), 'SIGUSR2')
  for (const deadlineMs = Date.now() + ANSWER_TIMEOUT_MS; !existsSync(file); await sleep(ASK_EVERY_MS))
    if (Date.now() > deadlineMs) throw new Error(`process ${pid} does not tell the delays of its event loop`)
  return JSON.parse(readFileSync(file, 'utf8'))
}

/** Makes ready to watch a process that is to be started. */
export function createLoopWatch(): LoopWatch {
  const directory = mkdtempSync(join(scratchDirectory(), 'loop-'))
  return {
    args: ['--import', MODULE],
    env: { LOOP_DELAY_DIRECTORY: directory },
    read: async () => {
      const pids = readdirSync(directory).filter((name) => /^\d+$/.test(name))
      const all = await Promise.all(pids.map((pid) => ask(directory, pid)))
      const longest = (name: keyof LoopDelay) => Math.max(...all.map((one) => one[name]))
      return { p50Ms: longest('p50Ms'), p99Ms: longest('p99Ms'), maxMs: longest('maxMs') }
    },
  }
}
