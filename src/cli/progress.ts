import type { Progress } from '../domain/import/read.ts'
import type { Streams } from './command.ts'

const TTY_EVERY_MS = 100
const PLAIN_EVERY_MS = 5000
const WIDTH = 24

function bar(fraction: number): string {
  const full = Math.round(WIDTH * fraction)
  return `[${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}]`
}

function timeText(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  return seconds < 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
}

/** How far it is: percentage, rows a second and what is left, as long as that can be told. */
function text({ phase, rows, fraction }: Progress, elapsedMs: number): string {
  const done = Math.min(1, Math.max(0, fraction))
  const perSecond = elapsedMs > 0 ? Math.round((rows * 1000) / elapsedMs) : 0
  const left = done > 0 ? `, ${timeText((elapsedMs * (1 - done)) / done)} left` : ''
  return `${phase} ${bar(done)} ${Math.floor(done * 100)} %, ${rows} rows, ${perSecond} rows/s${left}`
}

/**
 * Shows on stderr how far long work is: a line that changes in place on a terminal, else a line every five seconds.
 * @param isQuiet shows nothing but on a terminal.
 */
export function showProgress({ stderr }: Pick<Streams, 'stderr'>, { isQuiet }: { isQuiet: boolean }) {
  const isTty = stderr.isTTY === true
  const everyMs = isTty ? TTY_EVERY_MS : PLAIN_EVERY_MS
  let phase: Progress['phase'] | undefined
  let [beganMs, shownMs, shownWidth] = [0, performance.now(), 0]

  function tell(progress: Progress): void {
    const nowMs = performance.now()
    if (progress.phase !== phase) [phase, beganMs] = [progress.phase, nowMs]
    if (nowMs - shownMs < everyMs || (isQuiet && !isTty)) return
    shownMs = nowMs
    const line = text(progress, nowMs - beganMs)
    stderr.write(isTty ? `\r${line.padEnd(shownWidth)}` : `${line}\n`)
    shownWidth = line.length
  }

  /** Takes the line away again, so that what comes next does not stand behind it. */
  function end(): void {
    if (isTty && shownWidth > 0) stderr.write(`\r${' '.repeat(shownWidth)}\r`)
  }

  return { tell, end }
}
