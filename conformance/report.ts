import { styleText } from 'node:util'
import type { Row } from './stage.ts'

const HEAD = ['case', 'what the attacker does', 'expected', 'got', 'verdict']
const MARKS: Readonly<Record<Row['verdict'], string>> = { passed: '✔', failed: '✘', not_played: '–' }
const COLOURS = { passed: 'green', failed: 'red', not_played: 'yellow' } as const

export type Paint = (row: Row, text: string) => string

/** Colours for a terminal. */
export const painted: Paint = ({ verdict }, text) =>
  styleText(COLOURS[verdict], text, { validateStream: false })
export const plain: Paint = (_, text) => text

function counts(rows: readonly Row[]) {
  const count = (verdict: Row['verdict']) => rows.filter((row) => row.verdict === verdict).length
  return { passed: count('passed'), failed: count('failed'), not_played: count('not_played') }
}

function aligned(lines: readonly (readonly string[])[]): string[] {
  const widths = HEAD.map((_, i) => Math.max(...lines.map((cells) => cells[i]?.length ?? 0)))
  return lines.map((cells) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function suiteTable(suite: string, rows: readonly Row[], paint: Paint): string {
  const cells = rows.map((row) => [row.case, row.title, row.expected, row.got, MARKS[row.verdict]])
  const [head = '', ...lines] = aligned([HEAD, ...cells])
  const details = rows.flatMap((row) =>
    row.detail === null ? [] : [paint(row, `${MARKS[row.verdict]} ${row.case}: ${row.detail}`)],
  )
  // The mark alone is painted: it is the last character of its line.
  const marked = lines.map((line, i) => {
    const row = rows[i]
    return row === undefined ? line : line.slice(0, -1) + paint(row, line.slice(-1))
  })
  return [suite, '', head, ...marked, ...(details.length > 0 ? ['', ...details] : [])].join('\n')
}

/** A table a suite, what went wrong below it, and a last line that counts. */
export function table(rows: readonly Row[], paint: Paint): string {
  const { passed, failed, not_played } = counts(rows)
  const tables = [...Map.groupBy(rows, ({ suite }) => suite)].map(([suite, own]) =>
    suiteTable(suite, own, paint),
  )
  const skipped = not_played > 0 ? `, ${not_played} not played` : ''
  return [...tables, `${passed} passed, ${failed} failed${skipped}`].join('\n\n')
}

export function json(target: string, rows: readonly Row[]): string {
  return JSON.stringify({ client: target, ...counts(rows), rows }, null, 2)
}
