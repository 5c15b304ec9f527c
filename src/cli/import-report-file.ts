import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { Line } from '../domain/import/findings.ts'
import { SetupError } from '../errors.ts'
import { UsageError } from './command.ts'
import { columnsOf, type Groups, type ReportForm, viewsOf } from './import-report.ts'
import { type Cell, oneLine } from './output.ts'

const LINES_A_WRITE = 1000
/** Where a spreadsheet may see a cell begin, whichever separator it goes by, and take what follows for a formula. */
const FORMULA = /(^|[;\t,|])(?=[\s"]*[=+\-@])/g

/** A cell that is text to a spreadsheet too, and that no terminal is steered by. */
function csvCell(value: Cell): string {
  const text = oneLine(String(value ?? ''))
  const harmless = typeof value === 'string' ? text.replace(FORMULA, "$1'") : text
  return /[",\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}

function isReport(path: string, header: string): boolean {
  const begin = Buffer.alloc(header.length)
  const file = openSync(path, 'r')
  try {
    readSync(file, begin, 0, begin.length, 0)
  } finally {
    closeSync(file)
  }
  return begin.toString('latin1') === header
}

/** What an import reads, by the option that names it. */
export type SourcePaths = Readonly<Record<string, string | undefined>>

/** Where a report goes: what a link leads to, not the link. Of what is there only an earlier report may go. */
function placeOf(path: string, sources: SourcePaths, header: string): string {
  const there = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (there === undefined) return path
  if (!there.isFile())
    throw new SetupError(`--report writes an ordinary file, and ${path} is something else.`)
  for (const [option, sourcePath] of Object.entries(sources)) {
    const source =
      sourcePath === undefined ? undefined : statSync(sourcePath, { bigint: true, throwIfNoEntry: false })
    if (source !== undefined && source.dev === there.dev && source.ino === there.ino)
      throw new UsageError(`--report names the file that --${option} reads: ${path}.`)
  }
  if (there.size > 0n && !isReport(path, header))
    throw new SetupError(`${path} is there already and is no report of an import; name another file.`)
  accessSync(path, constants.W_OK)
  return realpathSync(path)
}

/**
 * A file for all lines of a report, readable by its owner alone. It is begun before anything is done, so that a path
 * that cannot be written is noticed in time, as a draft beside its place: what is there stays until there is a report.
 * @param sources what is read, and never written.
 * @throws {SetupError} for what is no ordinary file, {UsageError} for the source.
 * @throws {Error} of the file system, with the path.
 */
export function openReport<F extends Line>(path: string, sources: SourcePaths, form: ReportForm<F>) {
  const header = columnsOf(form).join(',')
  const place = placeOf(path, sources, header)
  const draft = join(dirname(place), `kunci-report-${randomBytes(8).toString('hex')}.draft`)
  const file = openSync(draft, 'wx', 0o600)
  let isWritten = false
  return {
    write: (groups: Groups<F>): void => {
      const lines = [header]
      const flush = () => {
        writeFileSync(file, `${lines.join('\n')}\n`)
        lines.length = 0
      }
      for (const view of viewsOf(groups)) {
        lines.push(Object.values(view).map(csvCell).join(','))
        if (lines.length >= LINES_A_WRITE) flush()
      }
      if (lines.length > 0) flush()
      isWritten = true
    },
    /** Puts the report into its place; there is none where nothing was written. */
    close: (): void => {
      closeSync(file)
      if (isWritten) renameSync(draft, place)
      else unlinkSync(draft)
    },
  }
}
