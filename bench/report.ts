import { type Figures, rateOf } from './load/load.ts'
import { median } from './measure.ts'
import type { Result, Turn } from './turns.ts'

/** What can be compared of two targets. */
const QUANTITIES = {
  'requests/s': ({ figures }: Turn) => rateOf(figures),
  p99: ({ figures }: Turn) => figures.p99Ms,
} as const

/** `over` divided by `under`, in each round for itself. */
export type Ratio = {
  readonly label: string
  readonly of: keyof typeof QUANTITIES
  readonly over: string
  readonly under: string
}

export type Spread = { readonly median: number; readonly min: number; readonly max: number }

/** `undefined` where one of the two was not measured. */
export function spreadOf({ of, over, under }: Ratio, turns: readonly Turn[]): Spread | undefined {
  const below = new Map(turns.filter(({ target }) => target === under).map((turn) => [turn.round, turn]))
  const ratios = turns.flatMap((turn) => {
    const other = below.get(turn.round)
    return turn.target !== over || other === undefined ? [] : [QUANTITIES[of](turn) / QUANTITIES[of](other)]
  })
  if (ratios.length === 0) return undefined
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) }
}

const count = (value: number) => Math.round(value).toLocaleString('en')
const ms = (value: number) => (value < 10 ? value.toFixed(2) : value.toFixed(1))

/** A Markdown table; all columns but the first are numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n')
}

export function ratiosTable(ratios: readonly Ratio[], turns: readonly Turn[]): string {
  const rows = ratios.flatMap((ratio) => {
    const spread = spreadOf(ratio, turns)
    if (spread === undefined) return []
    const { median, min, max } = spread
    return [[ratio.label, ratio.of, `**${median.toFixed(2)}**`, `${min.toFixed(2)} – ${max.toFixed(2)}`]]
  })
  return rows.length === 0 ? '' : table(['ratio', 'of', 'median', 'min – max'], rows)
}

/** CPU seconds that a thousand requests cost, or the share of one core: the median; a dash where it is not known. */
function medianOf(
  turns: readonly Turn[],
  value: (turn: Turn) => number | undefined,
  format: (n: number) => string,
) {
  const values = turns.map(value).filter((n) => n !== undefined)
  return values.length < turns.length ? '–' : format(median(values))
}

const per1000 = (cpuS: number | undefined, { figures }: Turn) =>
  cpuS === undefined ? undefined : (cpuS * 1000) / figures.requests

function errorsIn({ errors }: Figures): number {
  return Object.values(errors).reduce((sum, n) => sum + n, 0)
}

export function figuresTable(turns: readonly Turn[]): string {
  const head = ['', 'requests/s', 'p50 ms', 'p99 ms', 'server CPU', 'database CPU', 'driver', 'errors']
  const byTarget = Map.groupBy(turns, ({ target }) => target)
  const rows = [...byTarget].map(([target, own]) => [
    target,
    medianOf(own, ({ figures }) => rateOf(figures), count),
    medianOf(own, ({ figures }) => figures.p50Ms, ms),
    medianOf(own, ({ figures }) => figures.p99Ms, ms),
    medianOf(
      own,
      (turn) => per1000(turn.serverCpuS, turn),
      (n) => n.toFixed(3),
    ),
    medianOf(
      own,
      (turn) => per1000(turn.databaseCpuS, turn),
      (n) => n.toFixed(3),
    ),
    medianOf(
      own,
      ({ driverCpuS, figures }) => (driverCpuS === undefined ? undefined : driverCpuS / figures.seconds),
      (n) => `${Math.round(n * 100)} %`,
    ),
    count(own.reduce((sum, { figures }) => sum + errorsIn(figures), 0)),
  ])
  return table(head, rows)
}

/** How late the event loops were that somebody looked at. Of a maximum only the greatest says something. */
export function loopTable(turns: readonly Turn[]): string {
  const watched = turns.flatMap(({ target, loopDelay, idleDelay }) =>
    loopDelay === undefined || idleDelay === undefined ? [] : [{ target, loopDelay, idleDelay }],
  )
  const head = ['event loop', 'p50 ms', 'p99 ms', 'max ms', 'idle: p99 ms', 'idle: max ms']
  const rows = [...Map.groupBy(watched, ({ target }) => target)].map(([target, own]) => [
    target,
    ms(median(own.map(({ loopDelay }) => loopDelay.p50Ms))),
    ms(median(own.map(({ loopDelay }) => loopDelay.p99Ms))),
    ms(Math.max(...own.map(({ loopDelay }) => loopDelay.maxMs))),
    ms(median(own.map(({ idleDelay }) => idleDelay.p99Ms))),
    ms(Math.max(...own.map(({ idleDelay }) => idleDelay.maxMs))),
  ])
  return rows.length === 0 ? '' : table(head, rows)
}

export function memoryTable({ memory }: Result): string {
  const rows = [...memory].map(([name, { rssMib, peakMib }]) => [name, count(rssMib), count(peakMib)])
  return rows.length === 0 ? '' : table(['server', 'RSS at the end, MiB', 'peak, MiB'], rows)
}

/** Whether the machine was ours alone: the first thing to ask of a figure. */
function disturbance(turns: readonly Turn[]): string {
  const shares = turns.map(({ othersShare }) => othersShare).filter((share) => share !== undefined)
  if (shares.length === 0) return ''
  const percent = (share: number) => `${Math.round(share * 100)} %`
  return `Other programs had ${percent(median(shares))} of the cores meanwhile, in one turn ${percent(Math.max(...shares))}.`
}

/** Ratios first: they are what outlives the machine. */
export function report(result: Result, ratios: readonly Ratio[]): string {
  return [
    ratiosTable(ratios, result.turns),
    disturbance(result.turns),
    figuresTable(result.turns),
    loopTable(result.turns),
    memoryTable(result),
  ]
    .filter((text) => text !== '')
    .join('\n\n')
}
