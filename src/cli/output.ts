/**
 * The law of the terminal. Results go to stdout, all else to stderr. `--json` makes the result one JSON value, indented
 * by two spaces, with snake_case members; without it people get aligned text. Times are ISO 8601 in UTC. No colours.
 * What a customer or a client named cannot steer the terminal: control characters are shown, not sent.
 */

export type Cell = string | number | boolean | null

const GAP = '  '
const NOTHING = '-'
/** Control characters, and those that turn the direction of writing. */
const STEERING = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

function escaped(char: string): string {
  const short = JSON.stringify(char).slice(1, -1)
  return short === char ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : short
}

/** Text of one line that came from anywhere. */
export function oneLine(text: string): string {
  return text.replace(STEERING, escaped)
}

/** Text whose lines are meant. */
export function printable(text: string): string {
  return text.replace(STEERING, (char) => (char === '\n' ? char : escaped(char)))
}

function cellText(cell: Cell | undefined): string {
  if (cell === null || cell === undefined || cell === '') return NOTHING
  return oneLine(String(cell))
}

/** As many columns as most terminals need for it. */
function width(text: string): number {
  return [...text].length
}

function pad(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - width(text)))
}

/** Lines of cells below each other, without a blank at a line's end. `minimums` are least widths of columns. */
export function aligned(rows: readonly (readonly string[])[], minimums: readonly number[] = []): string {
  const widths = [...minimums]
  for (const row of rows)
    for (const [i, text] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(text))
  return rows
    .map((row) =>
      row
        .map((text, i) => pad(text, widths[i] ?? 0))
        .join(GAP)
        .trimEnd(),
    )
    .join('\n')
}

/** One line for each row, under the columns' names. */
export function table<T extends Readonly<Record<string, Cell>>>(
  rows: readonly T[],
  columns: readonly (keyof T & string)[],
): string {
  const lines = rows.map((row) => columns.map((column) => cellText(row[column])))
  return aligned([columns.map((column) => column.toUpperCase()), ...lines])
}

/** One line for each member of an object. */
export function facts(values: Readonly<Record<string, Cell>>): string {
  return aligned(Object.entries(values).map(([name, value]) => [name, cellText(value)]))
}

/** Cells in one line, for lists that grow while they are read. */
export function line(cells: readonly Cell[], minimums: readonly number[]): string {
  return aligned([cells.map(cellText)], minimums)
}

/** JSON whose strings cannot steer a terminal either; read back, they are what they were. */
export function jsonText(value: unknown, indent = 2): string {
  return printable(JSON.stringify(value, null, indent))
}

/** `null` stays `null`. */
export function isoTime<T extends number | null>(ms: T): T extends number ? string : string | null {
  return (ms === null ? null : new Date(ms).toISOString()) as T extends number ? string : string | null
}

/** Breaks prose into lines of at most `columns`. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && width(last) + 1 + width(word) <= columns)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
