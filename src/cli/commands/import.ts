import type { App } from '../../app.ts'
import { asMysqlUrl, asTimeZone } from '../../config.ts'
import type { Actor } from '../../domain/events.ts'
import { FINDINGS, type Finding } from '../../domain/import/findings.ts'
import type { ImportPlan, ImportWish } from '../../domain/imports.ts'
import { command, type Streams, UsageError } from '../command.ts'
import type { ReportForm } from '../import-report.ts'
import { FROM_STDIN, type Importing, runImport, urlFrom } from '../import-run.ts'

function asUndated(text: string): string {
  if (text === 'never' || /^\d{4}-\d{2}-\d{2}$/.test(text)) return text
  throw new Error(`must be never or a date such as 2030-12-31, not "${text}"`)
}

type Named = { readonly 'from-mysql': string | undefined; readonly 'from-csv': string | undefined }

/** @throws {UsageError} unless one source is named. */
async function sourceOf(args: Named, streams: Streams): Promise<ImportWish['source']> {
  const { 'from-mysql': mysql, 'from-csv': path } = args
  if (mysql !== undefined && path === undefined)
    return { kind: 'mysql', url: mysql === FROM_STDIN ? await urlFrom(streams) : mysql }
  if (path !== undefined && mysql === undefined) return { kind: 'csv', path }
  throw new UsageError('Either --from-mysql or --from-csv says where the old data are, and not both.')
}

/** What holds for the import as a whole. */
function notesOf(notes: readonly string[], timeZone: string): string[] {
  return [
    `Dates and times without an offset are local time of ${timeZone}; a date alone is its midnight.`,
    ...notes,
    'counter is not carried over; the record of events counts from now on.',
    'Imported licences have no key: "kunci licences issue-key ID" makes one where it is wanted.',
  ]
}

const FORM: ReportForm<Finding> = {
  findings: FINDINGS,
  facts: { customer: 'customer', hash: 'hash', licence_id: 'licenceId', detail: 'detail' },
}

function customersFrom(app: App, wish: ImportWish, actor: Actor): Importing<ImportPlan, Finding> {
  const { imports } = app
  return {
    form: FORM,
    sources: { 'from-csv': wish.source.kind === 'csv' ? wish.source.path : undefined },
    plan: (tell) => imports.plan(wish, tell),
    foresee: imports.foresee,
    apply: (plan, tell, outcome) => imports.apply(actor, plan, tell, outcome),
    told: ({ product, rowsRead, notes }) => ({
      summary: `${rowsRead} rows were read for the product ${product.code}`,
      notes: notesOf(notes, wish.timeZone),
      facts: { product: product.code, time_zone: wish.timeZone, rows_read: rowsRead },
    }),
  }
}

const importOldServer = command({
  path: ['import'],
  summary:
    'Brings the customers of an old server into Kunci; says what it would do, unless it is told to do it.',
  options: {
    product: { value: 'CODE', required: true, doc: 'Code of the product whose customers they are.' },
    'from-mysql': {
      value: 'URL',
      doc: 'mysql://user:password@host/database with user_jce and session_keys, which is only read. -: the URL comes on stdin, where nobody sees the password.',
      parse: (text) => (text === FROM_STDIN ? text : asMysqlUrl(text)),
    },
    'from-csv': {
      value: 'FILE',
      doc: 'A CSV file of user_jce in UTF-8, the names of its columns in the first line.',
    },
    'time-zone': {
      value: 'ZONE',
      doc: 'Of dates that name no offset, such as Asia/Jakarta. Left out: LEGACY_TIME_ZONE.',
      parse: asTimeZone,
    },
    undated: {
      value: 'never|DATE',
      doc: 'What a licence without expiry date is taken for: one that never expires, or until the midnight with which the date begins. Left out: the row is not imported.',
      parse: asUndated,
    },
    apply: { doc: 'Write. Without it nothing is changed.' },
    report: { value: 'FILE', doc: 'Write every line of the report into this file, as CSV.' },
  },
  positionals: [],
  example: 'kunci import --product demo --from-csv user_jce.csv --time-zone Asia/Jakarta --apply',
  run: async (context) => {
    const { args, actor, streams, withApp } = context
    const source = await sourceOf(args, streams)
    return withApp(async (app) => {
      const timeZone = args['time-zone'] ?? app.config.legacyTimeZone
      const wish = { source, productCode: args.product, timeZone, undated: args.undated }
      const order = { apply: args.apply === true, report: args.report }
      return runImport(customersFrom(app, wish, actor), order, context)
    })
  },
})

export const importCommands = [importOldServer]
