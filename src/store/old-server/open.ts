import { openCsv } from './csv.ts'
import { openMysql } from './mysql.ts'
import type { OldServer } from './old-server.ts'

/** Where an old server's data are. */
export type SourceAddress =
  | { readonly kind: 'mysql'; readonly url: string }
  | { readonly kind: 'csv'; readonly path: string }

/** @throws {AppError} `import_source` when there is nothing to be read there. */
export function openOldServer(address: SourceAddress): Promise<OldServer> {
  return address.kind === 'mysql' ? openMysql(address.url) : openCsv(address.path)
}
