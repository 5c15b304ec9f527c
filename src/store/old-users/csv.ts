import { type CsvTable, openCsvTable } from '../old-server/csv-table.ts'
import { unreadable } from '../old-server/old-table.ts'
import {
  findColumns,
  type NamedTable,
  type OldUsers,
  readingNote,
  SESSION_COLUMNS,
  USER_COLUMNS,
  type Wanted,
} from './old-users.ts'

type Opened<C extends string> = CsvTable<C> & NamedTable<C> & { readonly note: string }

/** @throws {AppError} `import_source`; of a first line that names no columns nothing is repeated but names we know. */
async function openNamed<C extends string>(path: string, wanted: Wanted<C>): Promise<Opened<C>> {
  const found = { names: {} as NamedTable<C>['names'], note: '' }
  const table = await openCsvTable<C>(path, (header) => {
    const there = header.map((name) => name.trim())
    const { names, missing } = findColumns(wanted, there)
    const read = Object.values<string | null>(names).filter((name) => name !== null)
    const twice = read.filter((name) => there.indexOf(name) !== there.lastIndexOf(name))
    const list = (what: string, which: readonly string[]) =>
      which.length === 0 ? [] : [`${what}: ${which.join(', ')}`]
    const mistakes = [...list('missing', missing), ...list('twice', twice)]
    if (mistakes.length > 0)
      throw unreadable(
        path,
        `the first line must name the columns. ${mistakes.join('; ')}. Known among its ${there.length} cell(s): ` +
          `${read.join(', ') || 'none'}`,
      )
    Object.assign(found, { names, note: readingNote(path, names, there) })
    const places = Object.entries<string | null>(names).map(([column, name]) => [
      column,
      name === null ? -1 : there.indexOf(name),
    ])
    return Object.fromEntries(places)
  })
  return { ...table, ...found, times: {} }
}

/**
 * Sessions from a CSV file, and users from another.
 * @throws {AppError} `import_source` when a file cannot be read or its header is not as it must be, and from its rows
 *   when the file breaks off or is no CSV.
 */
export async function openCsvUsers(sessionsPath: string, usersPath: string | undefined): Promise<OldUsers> {
  const sessions = await openNamed(sessionsPath, SESSION_COLUMNS)
  const close = () => sessions.close()
  try {
    const users = usersPath === undefined ? null : await openNamed(usersPath, USER_COLUMNS)
    return {
      ...{ users, sessions },
      notes: [
        'Rows are numbered by the line of the file in which they begin; the header is line 1.',
        users?.note ??
          'Without --users-csv sessions come over of users that are in Kunci by an earlier import.',
        sessions.note,
      ],
      close: async () => {
        await close()
        await users?.close()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}
