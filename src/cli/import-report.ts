import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { FINDINGS, type Finding, type FindingName } from '../domain/import/findings.ts'
import { SetupError } from '../errors.ts'
import { UsageError } from './command.ts'
import { aligned, oneLine } from './output.ts'

const SHOWN_ROWS = 10
const LINES_A_WRITE = 1000
/** Where a spreadsheet may see a cell begin, whichever separator it goes by, and take what follows for a formula. */
const FORMULA = /(^|[;\t,|])(?=[\s"]*[=+\-@])/g

/** All that was found, by what was found, in the order of the table and of the rows. */
export type Groups = ReadonlyMap<FindingName, readonly Finding[]>

export function grouped(findings: readonly Finding[]): Groups {
  const groups = new Map<FindingName, Finding[]>()
  for (const name of Object.keys(FINDINGS) as FindingName[]) groups.set(name, [])
  for (const found of findings) groups.get(found.finding)?.push(found)
  for (const group of groups.values()) group.sort((a, b) => a.row - b.row)
  return new Map([...groups].filter(([, group]) => group.length > 0))
}

/** How many rows were found to be so, by name; what was not found at all is left out. */
export function countsOf(groups: Groups): Record<string, number> {
  return Object.fromEntries([...groups].map(([name, group]) => [name, group.length]))
}

export function countLeftOut(groups: Groups): number {
  return [...groups].reduce((sum, [name, group]) => sum + (FINDINGS[name][0] === 'out' ? group.length : 0), 0)
}

export function findingView({ finding, row, customer, hash, licenceId, detail }: Finding) {
  return { finding, row, customer, hash, licence_id: licenceId, detail }
}

function groupText(name: FindingName, group: readonly Finding[]): string {
  const rows = group
    .slice(0, SHOWN_ROWS)
    .map(({ row, hash, customer, licenceId, detail }) => [
      '',
      `row ${row}`,
      ...[hash, customer, licenceId, detail].flatMap((cell) => (cell === null ? [] : oneLine(cell) || '-')),
    ])
  const more = group.length - SHOWN_ROWS
  return [
    `${FINDINGS[name][1]}: ${group.length}`,
    aligned(rows),
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ].join('\n')
}

/** Each finding with its count and its first rows. */
export function groupsText(groups: Groups): string {
  return [...groups].map(([name, group]) => groupText(name, group)).join('\n\n')
}

/** A cell that is text to a spreadsheet too, and that no terminal is steered by. */
function csvCell(value: string | number | null): string {
  const text = oneLine(String(value ?? ''))
  const harmless = typeof value === 'string' ? text.replace(FORMULA, "$1'") : text
  return /[",\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}

/** Where a report goes: what a link leads to, not the link. */
function placeOf(path: string, sourcePath: string | undefined): string {
  const there = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (there === undefined) return path
  if (!there.isFile())
    throw new SetupError(`--report writes an ordinary file, and ${path} is something else.`)
  const source =
    sourcePath === undefined ? undefined : statSync(sourcePath, { bigint: true, throwIfNoEntry: false })
  if (source !== undefined && source.dev === there.dev && source.ino === there.ino)
    throw new UsageError(`--report names the file that --from-csv reads: ${path}.`)
  accessSync(path, constants.W_OK)
  return realpathSync(path)
}

/**
 * A file for all lines of a report, readable by its owner alone. It is begun before anything is done, so that a path
 * that cannot be written is noticed in time, as a draft beside its place: what is there stays until there is a report.
 * @param sourcePath what is read, and never written.
 * @throws {SetupError} for what is no ordinary file, {UsageError} for the source.
 * @throws {Error} of the file system, with the path.
 */
export function openReport(path: string, sourcePath: string | undefined) {
  const place = placeOf(path, sourcePath)
  const draft = join(dirname(place), `kunci-report-${randomBytes(8).toString('hex')}.draft`)
  const file = openSync(draft, 'wx', 0o600)
  let isWritten = false
  return {
    write: (groups: Groups): void => {
      const lines = ['finding,row,customer,hash,licence_id,detail']
      const flush = () => {
        writeFileSync(file, `${lines.join('\n')}\n`)
        lines.length = 0
      }
      for (const found of [...groups.values()].flat()) {
        lines.push(Object.values(findingView(found)).map(csvCell).join(','))
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
