import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from './children.ts'

const PATIENCE_MS = 20_000
const REPORTER = fileURLToPath(new URL('heap-report.ts', import.meta.url))

/** Looks at what lives in the heap of a server. */
export type LiveHeap = {
  /** What the server has to be started with. */
  readonly env: Readonly<Record<string, string>>
  /** Collects its garbage. @returns what is left, in MiB. */
  mib(pid: number): Promise<number>
}

/** @param options of Node that the server is to have too. */
export function createLiveHeap(options: string): LiveHeap {
  const file = join(mkdtempSync(join(scratchDirectory(), 'heap-')), 'bytes')
  return {
    env: { NODE_OPTIONS: `${options} --import=${REPORTER}`, KUNCI_HEAP_FILE: file },
    mib: async (pid) => {
      rmSync(file, { force: true })
      process.kill(pid, 'SIGUSR2')
      const deadlineMs = Date.now() + PATIENCE_MS
      while (!existsSync(file)) {
        if (Date.now() > deadlineMs) throw new Error(`process ${pid} does not tell what lives in its heap`)
        await sleep(20)
      }
      return Number(readFileSync(file, 'utf8')) / 2 ** 20
    },
  }
}
