import { openTable, openTables } from '../old-server/mysql-tables.ts'
import type { Names } from '../old-server/old-table.ts'
import type { OldUsers } from './old-users.ts'
import { type FoundTable, usersIn } from './tables.ts'

/**
 * Users and sessions from somebody's MySQL or MariaDB, of one moment and without writing to it.
 * @throws {AppError} `import_source` when it cannot be reached, has not the tables and columns, or goes away.
 */
export function openMysqlUsers(url: string, sessionsTable: string | undefined): Promise<OldUsers> {
  return openTables(url, async (tables) => {
    const { where, source } = tables
    const open = <C extends string>({ name }: FoundTable, names: Names<C>) =>
      openTable(tables, tables.require(name), names)
    return usersIn(
      {
        ...{ where, open, all: (sql) => source.all(sql), close: async () => source.close() },
        tables: tables.all.map(({ name, types }) => ({ name, columns: [...types.keys()] })),
        numbering: 'Rows are numbered in the order of reading, by the primary key of each table.',
      },
      sessionsTable,
    )
  })
}
