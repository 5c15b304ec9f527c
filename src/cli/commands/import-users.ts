import type { App } from '../../app.ts'
import { asMysqlUrl, asTimeZone } from '../../config.ts'
import type { Actor } from '../../domain/events.ts'
import { USER_FINDINGS, type UserFinding } from '../../domain/import/user-findings.ts'
import type { UserImportPlan, UserImportWish } from '../../domain/user-imports.ts'
import { command, type Streams, UsageError } from '../command.ts'
import type { ReportForm } from '../import-report.ts'
import { FROM_STDIN, type Importing, runImport, urlFrom } from '../import-run.ts'

type Named = {
  readonly 'from-mysql': string | undefined
  readonly 'from-sqlite': string | undefined
  readonly 'from-csv': string | undefined
  readonly 'users-csv': string | undefined
  readonly 'sessions-table': string | undefined
}

/** @throws {UsageError} unless one source is named, and nothing that belongs to another. */
async function sourceOf(args: Named, streams: Streams): Promise<UserImportWish['source']> {
  const { 'from-mysql': mysql, 'from-sqlite': sqlite, 'from-csv': csv } = args
  const { 'users-csv': usersPath, 'sessions-table': sessionsTable } = args
  if ([mysql, sqlite, csv].filter((source) => source !== undefined).length !== 1)
    throw new UsageError('One of --from-mysql, --from-sqlite and --from-csv says where the old data are.')
  if (usersPath !== undefined && csv === undefined) throw new UsageError('--users-csv goes with --from-csv.')
  if (sessionsTable !== undefined && csv !== undefined)
    throw new UsageError(
      '--sessions-table goes with --from-mysql or --from-sqlite: a CSV file has one table.',
    )
  if (mysql !== undefined)
    return { kind: 'mysql', url: mysql === FROM_STDIN ? await urlFrom(streams) : mysql, sessionsTable }
  if (sqlite !== undefined) return { kind: 'sqlite', path: sqlite, sessionsTable }
  return { kind: 'csv', sessionsPath: csv ?? '', usersPath }
}

const FORM: ReportForm<UserFinding> = {
  findings: USER_FINDINGS,
  facts: { email: 'email', old_id: 'oldId', user_id: 'userId', detail: 'detail' },
}

/** What holds for the import as a whole. */
function notesOf({ notes, openSessions }: UserImportPlan, timeZone: string): string[] {
  return [
    `Old tokens are dead: everybody signs in again. Sessions that were still open: ${openSessions}.`,
    `Dates and times without an offset are local time of ${timeZone}, unless their table says otherwise.`,
    ...notes,
  ]
}

function usersFrom(app: App, wish: UserImportWish, actor: Actor): Importing<UserImportPlan, UserFinding> {
  const { userImports } = app
  const { source } = wish
  return {
    form: FORM,
    sources: {
      'from-sqlite': source.kind === 'sqlite' ? source.path : undefined,
      'from-csv': source.kind === 'csv' ? source.sessionsPath : undefined,
      'users-csv': source.kind === 'csv' ? source.usersPath : undefined,
    },
    plan: (tell) => userImports.plan(wish, tell),
    foresee: userImports.foresee,
    apply: (plan, tell, outcome) => userImports.apply(actor, plan, tell, outcome),
    told: (plan) => ({
      summary: `${plan.rowsRead.users} users and ${plan.rowsRead.sessions} sessions were read`,
      notes: notesOf(plan, wish.timeZone),
      facts: {
        ...{ time_zone: wish.timeZone, users_read: plan.rowsRead.users },
        ...{ sessions_read: plan.rowsRead.sessions, open_sessions: plan.openSessions },
      },
    }),
  }
}

const importUsers = command({
  path: ['import', 'users'],
  summary:
    'Brings the users of an older system into Kunci, and their sessions as history; says what it would do, unless it is told to do it.',
  options: {
    'from-mysql': {
      value: 'URL',
      doc: 'mysql://user:password@host/database with users and user_sessions, as AdonisJS has them, which is only read. -: the URL comes on stdin, where nobody sees the password.',
      parse: (text) => (text === FROM_STDIN ? text : asMysqlUrl(text)),
    },
    'from-sqlite': {
      value: 'FILE',
      doc: 'An SQLite file with User and Session, as Prisma has them, or users and user_sessions. It is only read.',
    },
    'from-csv': {
      value: 'FILE',
      doc: 'A CSV file of user_sessions, as PostgreSQL and Supabase write it, the names of its columns in the first line.',
    },
    'users-csv': {
      value: 'FILE',
      doc: 'With --from-csv: a CSV file of the users. Left out: sessions come of those whom an earlier import brought.',
    },
    'sessions-table': {
      value: 'NAME',
      doc: 'What the table of sessions is called now, such as old_user_sessions.',
    },
    'time-zone': {
      value: 'ZONE',
      doc: 'Of dates that name no offset, such as Asia/Jakarta. Left out: LEGACY_TIME_ZONE.',
      parse: asTimeZone,
    },
    apply: { doc: 'Write. Without it nothing is changed.' },
    report: { value: 'FILE', doc: 'Write every line of the report into this file, as CSV.' },
  },
  positionals: [],
  example: 'kunci import users --from-sqlite prisma/dev.db --apply',
  run: async (context) => {
    const { args, actor, streams, withApp } = context
    const source = await sourceOf(args, streams)
    return withApp(async (app) => {
      const timeZone = args['time-zone'] ?? app.config.legacyTimeZone
      const order = { apply: args.apply === true, report: args.report }
      return runImport(usersFrom(app, { source, timeZone }, actor), order, context)
    })
  },
})

export const userImportCommands = [importUsers]
