/**
 * Loaded with `--import` into a process whose event loop is to be watched. Each SIGUSR2 writes the delays since the one
 * before, in milliseconds, to a file that has the process's id as its name: see loop-watch.ts.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const NS_PER_MS = 1e6

// Threads load it too, and have no signals.
if (isMainThread) {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  const file = join(process.env.LOOP_DELAY_DIRECTORY ?? '.', String(process.pid))
  const tell = () => {
    const ms = (ns: number) => ns / NS_PER_MS
    const told = { p50Ms: ms(delays.percentile(50)), p99Ms: ms(delays.percentile(99)), maxMs: ms(delays.max) }
    // Whole or not at all, as somebody waits for it.
    writeFileSync(`${file}.new`, JSON.stringify(told))
    renameSync(`${file}.new`, file)
    delays.reset()
  }
  delays.enable()
  process.on('SIGUSR2', tell)
  tell()
}
