import { mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from '../test/support/children.ts'
import { told } from '../test/support/told.ts'

const MODULE = fileURLToPath(new URL('loop-delay.ts', import.meta.url))

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
  return JSON.parse(await told(Number(pid), join(directory, pid), 'the delays of its event loop'))
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
