import type { FindingKind, Line } from '../domain/import/findings.ts'
import { aligned, type Cell, oneLine } from './output.ts'

const SHOWN_ROWS = 10

/** How an import reports: what it can find, and what each line says beside what was found and in which row. */
export type ReportForm<F extends Line> = {
  readonly findings: Readonly<Record<F['finding'], readonly [kind: FindingKind, meaning: string]>>
  /** By the name of the column. */
  readonly facts: Readonly<Record<string, keyof F>>
}

/** All that was found, by what was found, in the order of the table and of the rows. */
export type Groups<F extends Line = Line> = {
  readonly form: ReportForm<F>
  readonly lines: ReadonlyMap<F['finding'], readonly F[]>
}

export function grouped<F extends Line>(form: ReportForm<F>, findings: readonly F[]): Groups<F> {
  const byRow = findings.toSorted((a, b) => a.row - b.row)
  const found = Map.groupBy(byRow, ({ finding }) => finding as F['finding'])
  const names = Object.keys(form.findings) as F['finding'][]
  const lines = names.map((name) => [name, found.get(name) ?? []] as const)
  return { form, lines: new Map(lines.filter(([, group]) => group.length > 0)) }
}

/** How many rows were found to be so, by name; what was not found at all is left out. */
export function countsOf<F extends Line>({ lines }: Groups<F>): Record<string, number> {
  return Object.fromEntries([...lines].map(([name, group]) => [name, group.length]))
}

export function countLeftOut<F extends Line>({ form, lines }: Groups<F>): number {
  return [...lines].reduce(
    (sum, [name, group]) => sum + (form.findings[name as F['finding']][0] === 'out' ? group.length : 0),
    0,
  )
}

/** The names of the columns of a report. */
export function columnsOf<F extends Line>({ facts }: ReportForm<F>): string[] {
  return ['finding', 'row', ...Object.keys(facts)]
}

/** Every line of a report, in its order. */
export function viewsOf<F extends Line>({ form, lines }: Groups<F>): Record<string, Cell>[] {
  const facts = Object.entries(form.facts)
  return [...lines.values()].flat().map((found) => ({
    ...{ finding: found.finding, row: found.row },
    ...Object.fromEntries(facts.map(([column, name]) => [column, found[name] as Cell])),
  }))
}

function groupText<F extends Line>(form: ReportForm<F>, name: F['finding'], group: readonly F[]): string {
  const names = Object.values(form.facts)
  const rows = group
    .slice(0, SHOWN_ROWS)
    .map((found) => [
      '',
      `row ${found.row}`,
      ...names.flatMap((fact) => (found[fact] === null ? [] : oneLine(String(found[fact])) || '-')),
    ])
  const more = group.length - SHOWN_ROWS
  return [
    `${form.findings[name][1]}: ${group.length}`,
    aligned(rows),
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ].join('\n')
}

/** Each finding with its count and its first rows. */
export function groupsText<F extends Line>({ form, lines }: Groups<F>): string {
  return [...lines].map(([name, group]) => groupText(form, name as F['finding'], group)).join('\n\n')
}
