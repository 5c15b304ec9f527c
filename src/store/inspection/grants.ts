import type { Reader } from '../engine/database.ts'
import type { ServerFacts } from './server.ts'

const GRANT =
  /^(GRANT|REVOKE) (.+?) ON (?:TABLE )?(\*|`(?:[^`]|``)*`|\w+)\.(\*|`(?:[^`]|``)*`|\w+) (?:TO|FROM) (.+?)(?: IDENTIFIED | REQUIRE | WITH |$)/
const COLUMNS_OF_A_PRIVILEGE = /\w+(?: \w+)* \([^)]*\)(?:, )?/g

/** One line of SHOW GRANTS. */
type Grant = {
  readonly isRevoke: boolean
  /** In capitals; `ALL PRIVILEGES` stands for every one. Those for single columns are left out. */
  readonly privileges: ReadonlySet<string>
  /** `*`, or the pattern of a database's name. */
  readonly database: string
  /** `*`, or one table. */
  readonly table: string
  /** An account, a role or PUBLIC, as it is printed. */
  readonly grantee: string
}

/** What a login may do with one database. */
export type Privileges = {
  /** Whether it has the privilege on the whole database, or on each of `tables`. */
  has(privilege: string, tables: readonly string[]): boolean
  /** The database as the account's own grant writes it, to be written the same way in another. */
  readonly pattern: string | null
}

function unquoted(name: string): string {
  return name.startsWith('`') ? name.slice(1, -1).replaceAll('``', '`') : name
}

/** Of a line of SHOW GRANTS; `null` for those that are about no database: roles, proxies. */
export function parseGrant(line: string): Grant | null {
  const [, verb, list = '', database = '', table = '', grantee = ''] = GRANT.exec(line) ?? []
  if (verb === undefined) return null
  const privileges = list.replace(COLUMNS_OF_A_PRIVILEGE, '').split(', ').filter(Boolean)
  return {
    isRevoke: verb === 'REVOKE',
    privileges: new Set(privileges.map((name) => (name === 'ALL' ? 'ALL PRIVILEGES' : name.toUpperCase()))),
    database: unquoted(database),
    table: unquoted(table),
    grantee,
  }
}

/** In a grant `_` stands for any character and `%` for any text, unless a backslash stands before it. */
function matches(pattern: string, database: string): boolean {
  const source = pattern.replace(/\\([_%\\])|[_%]|[\\^$.*+?()[\]{}|]/g, (part, literal) =>
    literal !== undefined
      ? literal === '\\'
        ? '\\\\'
        : literal
      : part === '_'
        ? '.'
        : part === '%'
          ? '.*'
          : `\\${part}`,
  )
  return new RegExp(`^${source}$`, 's').test(database)
}

/** How much of a pattern stands before its first wildcard. */
function exactness(pattern: string): number {
  const wildcard = pattern.search(/(?<!\\)[_%]/)
  return wildcard < 0 ? Number.POSITIVE_INFINITY : wildcard
}

function includes(grant: Grant | undefined, privilege: string): boolean {
  return grant !== undefined && (grant.privileges.has(privilege) || grant.privileges.has('ALL PRIVILEGES'))
}

/** The one grant on databases that counts: where several match, the server takes the most exact and no other. */
function databaseGrant(grants: readonly Grant[], database: string): Grant | undefined {
  const [best] = grants
    .filter((grant) => !grant.isRevoke && grant.table === '*' && grant.database !== '*')
    .filter((grant) => matches(grant.database, database))
    .sort((a, b) => exactness(b.database) - exactness(a.database))
  return best
}

function allows(
  grants: readonly Grant[],
  database: string,
  privilege: string,
  tables: readonly string[],
): boolean {
  const isRevoked = grants.some(
    (grant) => grant.isRevoke && matches(grant.database, database) && includes(grant, privilege),
  )
  const isGlobal = grants.some(
    (grant) => !grant.isRevoke && grant.database === '*' && includes(grant, privilege),
  )
  if (isGlobal && !isRevoked) return true
  if (includes(databaseGrant(grants, database), privilege)) return true
  const ofTables = new Set(
    grants
      .filter(
        (grant) => grant.table !== '*' && matches(grant.database, database) && includes(grant, privilege),
      )
      .map(({ table }) => table),
  )
  return tables.length > 0 && tables.every((table) => ofTables.has(table))
}

/** Reads what the lines of SHOW GRANTS come to. Each grantee, that is account, role or PUBLIC, counts for itself. */
export function privilegesIn(lines: readonly string[], database: string): Privileges {
  const grants = lines.map(parseGrant).filter((grant) => grant !== null)
  const byGrantee = [...Map.groupBy(grants, ({ grantee }) => grantee).values()]
  const [own] = byGrantee
  return {
    has: (privilege, tables) => byGrantee.some((group) => allows(group, database, privilege, tables)),
    pattern: (own === undefined ? undefined : databaseGrant(own, database))?.database ?? null,
  }
}

/**
 * Reads what this login may do with `database`, by its own grants and those of its active roles. The lines themselves
 * go no further: MariaDB's hold the hash of the password.
 */
export async function readPrivileges(
  db: Reader,
  { product }: ServerFacts,
  database: string,
): Promise<Privileges> {
  const [row] = await db.all<{ roles: string | null }>('SELECT CURRENT_ROLE() AS roles')
  const roles = row?.roles ?? 'NONE'
  // MariaDB shows what active roles may do by itself; MySQL wants them named, as it just named them.
  const using = product === 'MariaDB' || roles === 'NONE' ? '' : ` FOR CURRENT_USER() USING ${roles}`
  const rows = await db.all<Record<string, string>>(`SHOW GRANTS${using}`)
  return privilegesIn(
    rows.map((grant) => Object.values(grant)[0] ?? ''),
    database,
  )
}

/** The database as a new grant should write it: as the account's other grant does, or else so that it means this one only. */
export async function grantPattern(
  db: Reader,
  { product }: ServerFacts,
  database: string,
  pattern: string | null,
) {
  if (pattern !== null) return pattern
  // With partial revokes MySQL knows no wildcards, and no backslash before them.
  const [row] =
    product === 'MySQL' ? await db.all<{ exact: number }>('SELECT @@partial_revokes AS exact') : []
  return row?.exact === 1 ? database : database.replace(/[_%\\]/g, '\\$&')
}
