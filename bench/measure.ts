import { closeSync, fdatasyncSync, openSync, readdirSync, readFileSync, unlinkSync, writeSync } from 'node:fs'

/** Of a process and all its descendants, threads included. */
export type Usage = {
  /** Seconds of CPU time since each of them was started. */
  readonly cpuS: number
  readonly rssMib: number
  /** The most that was resident at once; of several processes the sum of what each had at most. */
  readonly peakMib: number
}

/** Linux tells times to programs in these ticks whatever its own are. */
const TICKS_PER_S = 100

type Stat = { readonly parent: number; readonly ownTicks: number; readonly childrenTicks: number }

/** The fields that follow the command's name, which stands in brackets and may hold anything: see proc(5). */
function statOf(pid: number | 'self'): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const at = (n: number) => Number(fields[n - 3])
    return { parent: at(4), ownTicks: at(14) + at(15), childrenTicks: at(16) + at(17) }
  } catch {
    return undefined
  }
}

function processes(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}

/** The process, its children and theirs. */
function family(pid: number): Map<number, Stat> {
  const all = new Map<number, Stat>()
  for (const id of processes()) {
    const stat = statOf(id)
    if (stat !== undefined) all.set(id, stat)
  }
  const isIn = (id: number): boolean => id === pid || (all.has(id) && isIn(all.get(id)?.parent ?? 0))
  return new Map([...all].filter(([id]) => isIn(id)))
}

function kibOf(pid: number, name: 'VmRSS' | 'VmHWM'): number {
  try {
    return Number(
      new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0,
    )
  } catch {
    return 0
  }
}

/** What a process has used so far; `undefined` where there is no /proc, or no such process. */
export function usageOf(pid: number): Usage | undefined {
  const members = [...family(pid)]
  if (members.length === 0) return undefined
  const sum = (of: (id: number, stat: Stat) => number) =>
    members.reduce((n, [id, stat]) => n + of(id, stat), 0)
  return {
    cpuS: sum((_, { ownTicks }) => ownTicks) / TICKS_PER_S,
    rssMib: sum((id) => kibOf(id, 'VmRSS')) / 1024,
    peakMib: sum((id) => kibOf(id, 'VmHWM')) / 1024,
  }
}

/** Seconds of CPU time of all children of this process that have ended: what a driver took, once it is gone. */
export function endedChildrenCpuS(): number | undefined {
  const stat = statOf('self')
  return stat === undefined ? undefined : stat.childrenTicks / TICKS_PER_S
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

const SYNC_BYTES = 4096
const SYNC_TRIES = 50

/** Milliseconds that 4 KiB take to be durable in a file of this directory: what each commit waits for. Median. */
export function syncMs(directory: string): number {
  const path = `${directory}/sync-probe`
  const file = openSync(path, 'w')
  try {
    const block = Buffer.alloc(SYNC_BYTES, 1)
    const times = Array.from({ length: SYNC_TRIES }, () => {
      const startMs = performance.now()
      writeSync(file, block)
      fdatasyncSync(file)
      return performance.now() - startMs
    })
    return median(times)
  } finally {
    closeSync(file)
    unlinkSync(path)
  }
}
