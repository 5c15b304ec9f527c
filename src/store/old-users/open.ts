import { openCsvUsers } from './csv.ts'
import { openMysqlUsers } from './mysql.ts'
import type { OldUsers } from './old-users.ts'
import { openSqliteUsers } from './sqlite.ts'

/** Where an older system's users and sessions are. */
export type UsersAddress =
  | { readonly kind: 'mysql'; readonly url: string; readonly sessionsTable: string | undefined }
  | { readonly kind: 'sqlite'; readonly path: string; readonly sessionsTable: string | undefined }
  | { readonly kind: 'csv'; readonly sessionsPath: string; readonly usersPath: string | undefined }

/** @throws {AppError} `import_source` when there is nothing to be read there. */
export function openOldUsers(address: UsersAddress): Promise<OldUsers> {
  switch (address.kind) {
    case 'mysql':
      return openMysqlUsers(address.url, address.sessionsTable)
    case 'sqlite':
      return openSqliteUsers(address.path, address.sessionsTable)
    case 'csv':
      return openCsvUsers(address.sessionsPath, address.usersPath)
  }
}
