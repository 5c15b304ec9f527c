import type { Lab } from '../lab.ts'
import { median } from '../measure.ts'
import { type Ratio, report } from '../report.ts'
import type { Target } from '../targets.ts'
import { takeTurns } from '../turns.ts'

/** One measurement, whose tables stand between its own marks in docs/performance.md. */
export type Section = {
  readonly name: string
  /** @returns Markdown. @throws {NoResult} when there were errors. */
  measure(lab: Lab): Promise<string>
}

/** There is nothing to be measured: a usage error. */
export class NothingToMeasure extends Error {}

export function chosen<T extends { readonly name: string }>(
  all: readonly T[],
  only: RegExp | undefined,
): T[] {
  const those = all.filter(({ name }) => only?.test(name) ?? true)
  if (those.length > 0) return those
  throw new NothingToMeasure(
    `No target matches ${only}. There are:\n${all.map(({ name }) => `  ${name}`).join('\n')}`,
  )
}

/** More than this of the cores for others, and ratios are rough too. */
const OTHERS_MAX_SHARE = 0.1

/** Measures the targets that were chosen, and what can be said of them beside each other. */
export async function compare(
  lab: Lab,
  targets: readonly Target[],
  ratios: readonly Ratio[],
): Promise<string> {
  const result = await takeTurns(lab, chosen(targets, lab.only))
  if (median(result.turns.map(({ othersShare = 0 }) => othersShare)) > OTHERS_MAX_SHARE)
    lab.progress.note('other programs kept the machine busy: run this again when it is quiet')
  return report(result, ratios)
}
