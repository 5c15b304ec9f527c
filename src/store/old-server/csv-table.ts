import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { CsvError, type Info, parse } from 'csv-parse'
import { AppError } from '../../errors.ts'
import { type OldRow, unreadable } from './old-table.ts'

const HEAD_BYTES = 65_536
const ROW_BYTES_MAX = 16 * 1024 * 1024
const BOM = Buffer.from([0xef, 0xbb, 0xbf])
const DELIMITERS = [',', ';', '\t']
const LINE_BREAK = /\r\n|\n|\r/g
const ASCII = /^[\0-\x7f]*$/
/** How phpMyAdmin and mysqldump write NULL; in quotes it is text. */
const NULLS = new Set(['NULL', '\\N'])

type Cell = string | null
type Csv = { readonly record: readonly Cell[]; readonly info: Info }

const BREAKS: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED:
    'a quote is opened and never closed: the file breaks off, or a " inside a cell is not doubled',
  INVALID_OPENING_QUOTE: 'a " stands inside a cell that is not in quotes; write "…""…"',
  CSV_INVALID_CLOSING_QUOTE:
    'something stands behind the closing " of a cell; a " inside one is written twice',
  CSV_MAX_RECORD_SIZE: 'a row is larger than 16 MiB; is a quote not closed?',
}

/** Where it breaks, by the parser's own counts: the rows before it may not have come here yet. */
function brokenAt(error: unknown): string {
  if (!(error instanceof CsvError)) return (error as Error).message
  const { lines, records } = error as CsvError & Partial<Info>
  return `after ${records ?? 0} whole rows, near line ${lines ?? 1}: ${BREAKS[error.code] ?? 'this is no CSV'}`
}

type Head = {
  readonly skip: number
  readonly text: string
  readonly size: number
  /** With a line break. */
  readonly endsWhole: boolean
  /** With a quote, which only the end of a cell can be. */
  readonly endsQuoted: boolean
}

async function readHead(path: string, file: FileHandle): Promise<Head> {
  const stat = await file.stat()
  if (!stat.isFile()) throw unreadable(path, 'this is not a file')
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
  const head = buffer.subarray(0, bytesRead)
  if (head.length >= 2 && [0xfffe, 0xfeff].includes(head.readUInt16BE(0)))
    throw unreadable(path, 'this is UTF-16; save it as UTF-8 and try again')
  const skip = head.subarray(0, 3).equals(BOM) ? BOM.length : 0
  const text = head.toString('latin1', skip)
  if (text.trim() === '') throw unreadable(path, 'the file is empty; its first line must name the columns')
  const last = await file.read(Buffer.alloc(1), 0, 1, Math.max(0, stat.size - 1))
  const end = last.buffer.toString('latin1')
  return { skip, text, size: stat.size, endsWhole: ['\n', '\r'].includes(end), endsQuoted: end === '"' }
}

async function headOf(path: string): Promise<Head> {
  let file: FileHandle | undefined
  try {
    file = await open(path)
    return await readHead(path, file)
  } catch (error) {
    if (error instanceof AppError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    throw unreadable(path, code === 'ENOENT' ? 'there is no such file' : message, error)
  } finally {
    await file?.close()
  }
}

/** The one that the header has most of. */
function delimiterOf(head: string): string {
  const [line = ''] = head.split(LINE_BREAK, 1)
  const bare = line.replace(/"[^"]*"/g, '')
  const counts = DELIMITERS.map((delimiter) => bare.split(delimiter).length)
  return DELIMITERS[counts.indexOf(Math.max(...counts))] ?? ','
}

/** Cells come as one character a byte, so that a byte that is not UTF-8 is noticed and not replaced. */
function decoded(cell: Cell): string | null | undefined {
  if (cell === null || ASCII.test(cell)) return cell
  const bytes = Buffer.from(cell, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined
}

/** In which cell each column stands; -1: in none, and it is read as NULL. */
export type Places<C extends string> = Readonly<Record<C, number>>

function rowOf<C extends string>(
  row: number,
  record: readonly Cell[],
  places: Places<C>,
  width: number,
): OldRow<C> {
  if (record.length !== width)
    return { row, fault: 'cell_count', detail: `it has ${record.length} cells, the header ${width}` }
  const cells: Partial<Record<C, string | null>> = {}
  for (const [column, place] of Object.entries(places) as [C, number][]) {
    const text = decoded(record[place] ?? null)
    if (text === undefined) return { row, fault: 'not_utf8', detail: `its ${column} is not UTF-8` }
    cells[column] = text
  }
  return { row, cells: cells as Record<C, string | null> }
}

/** csv-parse counts CRLF inside quotes as two lines. */
function linesIn(record: readonly Cell[]): number {
  let lines = 1
  for (const cell of record)
    if (cell !== null && (cell.includes('\n') || cell.includes('\r')))
      lines += cell.match(LINE_BREAK)?.length ?? 0
  return lines
}

async function* recordsOf(
  path: string,
  { skip }: Head,
  delimiter: string,
): AsyncGenerator<Csv & { line: number }> {
  const file = createReadStream(path, { start: skip, highWaterMark: HEAD_BYTES })
  const parser = parse({
    encoding: 'latin1',
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    max_record_size: ROW_BYTES_MAX,
    info: true,
    cast: (text, { quoting }) => (!quoting && NULLS.has(text) ? null : text),
  })
  file.on('error', (error) => parser.destroy(error))
  let line = 1
  try {
    for await (const { record, info } of file.pipe(parser) as AsyncIterable<Csv>) {
      yield { record, info, line }
      line += linesIn(record)
    }
  } catch (error) {
    throw unreadable(path, brokenAt(error), error)
  } finally {
    file.destroy()
  }
}

/** What `work` returns; where it throws the file is closed first. */
async function readingOr<T>(close: () => Promise<void>, work: () => T): Promise<T> {
  try {
    return work()
  } catch (error) {
    await close()
    throw error
  }
}

export type CsvTable<C extends string> = {
  readonly rows: AsyncIterable<OldRow<C>>
  readonly progress: () => number
  readonly close: () => Promise<void>
}

/**
 * A CSV file: UTF-8, a header line, cells apart by commas, semicolons or tabs, quotes doubled.
 * @param placesIn reads the header, and refuses one that is not as it must be.
 * @throws {AppError} `import_source` when the file cannot be read, and from its rows when the file breaks off or is no
 *   CSV.
 */
export async function openCsvTable<C extends string>(
  path: string,
  placesIn: (header: readonly string[]) => Places<C>,
): Promise<CsvTable<C>> {
  const head = await headOf(path)
  const delimiter = delimiterOf(head.text)
  const records = recordsOf(path, head, delimiter)
  const first = await records.next()
  const header = first.done ? [] : first.value.record.map((cell) => decoded(cell) ?? '')
  const close = async () => void (await records.return(undefined))
  const places = await readingOr(close, () => placesIn(header))
  let bytes = 0
  async function* rows(): AsyncGenerator<OldRow<C>> {
    for await (const { record, info, line } of records) {
      bytes = info.bytes
      if (record.length === 1 && record[0] === '') continue
      const row = rowOf(line, record, places, header.length)
      const endsFile = bytes + head.skip >= head.size && !head.endsWhole
      if (endsFile && 'fault' in row && record.length < header.length)
        throw unreadable(path, `the file breaks off in line ${line}, in the middle of a row`)
      yield endsFile && !head.endsQuoted ? { ...row, mayBeCut: true } : row
    }
  }
  return { rows: rows(), progress: () => bytes / head.size, close }
}
