import {
  listed,
  type Names,
  type OldRow,
  type OldTable,
  quoted,
  type TimeKind,
  unreadable,
} from '../old-server/old-table.ts'
import {
  findColumns,
  type NamedTable,
  type OldUsers,
  readingNote,
  SESSION_COLUMNS,
  USER_COLUMNS,
  type UserColumn,
  type Wanted,
} from './old-users.ts'

/** A table that was found. */
export type FoundTable = { readonly name: string; readonly columns: readonly string[] }

/** A database whose tables are found by their names. */
export type TableSource = {
  readonly where: string
  readonly tables: readonly FoundTable[]
  open<C extends string>(table: FoundTable, names: Names<C>): Promise<OldTable<C>>
  all(sql: string): Promise<readonly (readonly unknown[])[]>
  /** How rows are numbered. */
  readonly numbering: string
  close(): Promise<void>
}

/** What the tables are called: by AdonisJS, which writes the time of its own zone, and by Prisma, which writes UTC. */
const LAYOUTS = [
  { users: 'users', sessions: 'user_sessions', naive: 'local' },
  { users: 'User', sessions: 'Session', naive: 'instant' },
] as const

/** What joins users and roles, each many. */
const PIVOTS = ['user_roles', 'role_user', 'user_role', 'users_roles', 'roles_users']

function named(names: readonly string[], wanted: string): string | undefined {
  return (
    names.find((name) => name === wanted) ?? names.find((name) => name.toLowerCase() === wanted.toLowerCase())
  )
}

function tableIn({ tables }: TableSource, wanted: string): FoundTable | undefined {
  const name = named(
    tables.map((table) => table.name),
    wanted,
  )
  return tables.find((table) => table.name === name)
}

async function openNamed<C extends string>(
  source: TableSource,
  table: FoundTable,
  wanted: Wanted<C>,
  naive: TimeKind,
): Promise<NamedTable<C>> {
  const { names, missing } = findColumns(wanted, table.columns)
  if (missing.length > 0)
    throw unreadable(
      source.where,
      `the table ${table.name} has no column ${missing.join(', ')}. Columns found: ${listed(table.columns)}`,
    )
  const opened = await source.open(table, names)
  const times = (Object.keys(names) as C[]).map((column) => {
    const { [column]: kind = 'local' } = opened.times
    return [column, kind === 'local' ? naive : kind]
  })
  return { ...opened, names, times: Object.fromEntries(times) }
}

/** The SQL that says which roles a user has, where they stand in a table of their own; `null`: there is none. */
function rolesSql(source: TableSource, users: FoundTable): string | null {
  const roles = tableIn(source, 'roles')
  const name = roles && (named(roles.columns, 'name') ?? named(roles.columns, 'slug'))
  if (roles === undefined || name === undefined || named(roles.columns, 'id') === undefined) return null
  const selected = `r.${quoted(name)} FROM ${quoted(roles.name)} r`
  const pivot = PIVOTS.map((pivotName) => tableIn(source, pivotName)).find(
    (table) => table && named(table.columns, 'user_id') && named(table.columns, 'role_id'),
  )
  if (pivot !== undefined)
    return `SELECT p.user_id, ${selected} JOIN ${quoted(pivot.name)} p ON p.role_id = r.id`
  if (named(users.columns, 'role_id') === undefined) return null
  return `SELECT u.id, ${selected} JOIN ${quoted(users.name)} u ON u.role_id = r.id`
}

async function rolesByUser(source: TableSource, users: FoundTable): Promise<ReadonlyMap<string, string[]>> {
  const sql = rolesSql(source, users)
  const roles = new Map<string, string[]>()
  for (const [user, role] of sql === null ? [] : await source.all(sql)) {
    const known = roles.get(String(user)) ?? []
    known.push(String(role))
    roles.set(String(user), known)
  }
  return roles
}

async function* withRoles(
  rows: AsyncIterable<OldRow<UserColumn>>,
  roles: ReadonlyMap<string, readonly string[]>,
): AsyncGenerator<OldRow<UserColumn>> {
  for await (const row of rows) {
    if ('fault' in row) yield row
    else {
      const { id, role } = row.cells
      const all = [...(role === null ? [] : [role]), ...(roles.get(id ?? '') ?? [])]
      yield { ...row, cells: { ...row.cells, role: all.length === 0 ? null : all.join(',') } }
    }
  }
}

async function openUsers(source: TableSource, table: FoundTable, naive: TimeKind) {
  const users = await openNamed(source, table, USER_COLUMNS, naive)
  return { ...users, rows: withRoles(users.rows, await rolesByUser(source, table)) }
}

/** A table of ours is no old one, though it has all that is looked for. */
function refuseOwn(where: string, { name, columns }: FoundTable): void {
  if (named(columns, 'idle_ms') === undefined) return
  throw unreadable(
    where,
    `the table ${name} is Kunci's own. The old one, which was given another name before "kunci migrate", is named ` +
      `by --sessions-table, such as --sessions-table old_${name}`,
  )
}

function findTables(source: TableSource, sessionsTable: string | undefined) {
  const { where, tables } = source
  const found = listed(tables.map(({ name }) => name))
  const [first] = LAYOUTS
  const layout =
    LAYOUTS.find(({ users, sessions }) => tableIn(source, users) ?? tableIn(source, sessions)) ?? first
  const users = tableIn(source, layout.users)
  const sessions = tableIn(source, sessionsTable ?? layout.sessions)
  if (sessionsTable !== undefined && sessions === undefined)
    throw unreadable(where, `there is no table ${sessionsTable}. Tables found: ${found}`)
  if (users === undefined && sessions === undefined)
    throw unreadable(
      where,
      `there are no tables ${LAYOUTS.map((one) => `${one.users} and ${one.sessions}`).join(', nor ')}, or this login ` +
        `may not read them. Tables found: ${found}`,
    )
  if (sessions !== undefined) refuseOwn(where, sessions)
  return { layout, users, sessions }
}

/**
 * Users and sessions of a database.
 * @param sessionsTable what the table of sessions is called, where it has another name than it had.
 * @throws {AppError} `import_source` when tables or columns are missing.
 */
export async function usersIn(source: TableSource, sessionsTable: string | undefined): Promise<OldUsers> {
  const { layout, users, sessions } = findTables(source, sessionsTable)
  const openedUsers = users && (await openUsers(source, users, layout.naive))
  const openedSessions = sessions && (await openNamed(source, sessions, SESSION_COLUMNS, layout.naive))
  return {
    users: openedUsers ?? null,
    sessions: openedSessions ?? null,
    notes: [
      source.numbering,
      users && openedUsers
        ? readingNote(users.name, openedUsers.names, users.columns)
        : `There is no table ${layout.users}: sessions come over of users that are in Kunci by an earlier import.`,
      sessions && openedSessions
        ? readingNote(sessions.name, openedSessions.names, sessions.columns)
        : `There is no table ${layout.sessions}: no sessions come over.`,
    ],
    close: source.close,
  }
}
