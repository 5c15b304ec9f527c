import type { Lab } from '../lab.ts'
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

/** Measures the targets that were chosen, and what can be said of them beside each other. */
export async function compare(
  lab: Lab,
  targets: readonly Target[],
  ratios: readonly Ratio[],
): Promise<string> {
  return report(await takeTurns(lab, chosen(targets, lab.only)), ratios)
}
