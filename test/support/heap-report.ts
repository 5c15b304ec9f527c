/**
 * Loaded with `--import` into a process whose live heap is to be known: each SIGUSR2 collects all garbage and writes how
 * many bytes are left into the file that KUNCI_HEAP_FILE names.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread } from 'node:worker_threads'

const { KUNCI_HEAP_FILE: file } = process.env

if (isMainThread && file !== undefined) {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  process.on('SIGUSR2', () => {
    collect()
    writeFileSync(`${file}.new`, String(process.memoryUsage().heapUsed))
    renameSync(`${file}.new`, file)
  })
}
