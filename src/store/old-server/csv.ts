import { openCsvTable, type Places } from './csv-table.ts'
import {
  CUSTOMER_COLUMNS,
  type CustomerColumn,
  type OldServer,
  OPTIONAL_COLUMNS,
  UNREAD_COLUMNS,
} from './old-server.ts'
import { unreadable } from './old-table.ts'

const LISTED_MAX = 50
const EXPECTED = `${[...CUSTOMER_COLUMNS, 'counter'].join(', ')} (without last_login and counter it can do; id is passed over)`

/** What a column may be called. Another text may be a customer's: the header is missing, and nothing of it is repeated. */
const COLUMN_NAME = /^[a-z_][a-z0-9_]{0,30}$/i
const HASH = /^[0-9a-f]{32,}$/

function shownName(name: string, place: number): string {
  return COLUMN_NAME.test(name) ? `"${name}"` : `what cell ${place + 1} holds`
}

/** Where each column of ours stands. @throws {AppError} `import_source`, with what is expected and what was found. */
function placesIn(path: string, header: readonly string[]): Places<CustomerColumn> {
  const names = header.map((cell) => cell.trim().toLowerCase())
  const known = new Map(CUSTOMER_COLUMNS.map((column) => [column.toLowerCase(), column]))
  // A hash is a customer's, whatever stands beside it.
  if (!names.some((name) => known.has(name)) || names.some((name) => HASH.test(name)))
    throw unreadable(
      path,
      `the first line must name the columns of user_jce. It has ${names.length} cell(s) and names none of them: ` +
        `was the export made without column names?\nexpected: ${EXPECTED}`,
    )
  const missing = CUSTOMER_COLUMNS.filter(
    (column) => !names.includes(column.toLowerCase()) && !OPTIONAL_COLUMNS.has(column),
  )
  const shown = names.map(shownName)
  const unknown = shown.filter((_, i) => !known.has(names[i] ?? '') && !UNREAD_COLUMNS.has(names[i] ?? ''))
  const twice = shown.filter((_, i) => names.indexOf(names[i] ?? '') !== i)
  const list = (what: string, found: readonly string[]) =>
    found.length === 0 ? [] : [`${what}: ${[...new Set(found)].slice(0, LISTED_MAX).join(', ')}`]
  const mistakes = [
    ...list('missing', missing.map(shownName)),
    ...list('unknown', unknown),
    ...list('twice', twice),
  ]
  if (mistakes.length > 0)
    throw unreadable(
      path,
      `the first line does not name the columns of user_jce.\n${mistakes.join('; ')}\n` +
        `expected: ${EXPECTED}\n` +
        `found: ${shown.slice(0, LISTED_MAX).join(', ')}`,
    )
  const places = CUSTOMER_COLUMNS.map((column) => [column, names.indexOf(column.toLowerCase())])
  return Object.fromEntries(places)
}

/**
 * Customers from a CSV file.
 * @throws {AppError} `import_source` when the file cannot be read or its header is not as it must be, and from its rows
 *   when the file breaks off or is no CSV.
 */
export async function openCsv(path: string): Promise<OldServer> {
  const { rows, progress, close } = await openCsvTable(path, (header) => placesIn(path, header))
  return {
    customers: { rows, times: {}, progress },
    sessionKeys: null,
    notes: ['Rows are numbered by the line of the file in which they begin; the header is line 1.'],
    close,
  }
}
