import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory } from './children.ts'
import { told } from './told.ts'

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
    mib: async (pid) => Number(await told(pid, file, 'what lives in its heap')) / 2 ** 20,
  }
}
