import type { App } from '../../app.ts'
import { asMysqlUrl, asTimeZone } from '../../config.ts'
import type { Finding } from '../../domain/import/findings.ts'
import type { ImportPlan, ImportWish } from '../../domain/imports.ts'
import { AppError } from '../../errors.ts'
import { type Context, command, type Streams, UsageError } from '../command.ts'
import { EXIT } from '../failure.ts'
import { countLeftOut, countsOf, findingView, type Groups, grouped, groupsText } from '../import-report.ts'
import { openReport } from '../import-report-file.ts'
import { jsonText } from '../output.ts'
import { showProgress } from '../progress.ts'
import { readStdin } from '../stdin.ts'

const FROM_STDIN = '-'

function asUndated(text: string): string {
  if (text === 'never' || /^\d{4}-\d{2}-\d{2}$/.test(text)) return text
  throw new Error(`must be never or a date such as 2030-12-31, not "${text}"`)
}

async function urlFrom(streams: Streams): Promise<string> {
  const text = await readStdin(streams)
  try {
    return asMysqlUrl(text.trim())
  } catch (error) {
    throw new AppError('invalid_argument', {
      detail: `what stdin gave --from-mysql ${(error as Error).message}`,
    })
  }
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

type Order = { readonly wish: ImportWish; readonly apply: boolean; readonly report: string | undefined }

/** What is known at the end, be it that of a run that broke off. */
type Ending = { readonly plan: ImportPlan; readonly groups: Groups; readonly isComplete: boolean }

function headline({ apply }: Order, isComplete: boolean): string {
  if (!isComplete) return 'This broke off. This is what was done before; run it again to go on.'
  return apply
    ? 'This is what was done.'
    : 'This is what would be done; nothing was written. To do it, add --apply.'
}

function resultOf({ plan, groups, isComplete }: Ending, order: Order, json: boolean) {
  const { wish, apply } = order
  const notes = notesOf(plan.notes, wish.timeZone)
  const leftOut = countLeftOut(groups)
  const summary = `${plan.rowsRead} rows were read for the product ${plan.product.code}; ${leftOut} of them are left out.`
  const text = [
    headline(order, isComplete),
    `${summary}\n${notes.map((note) => `  ${note}`).join('\n')}`,
    groupsText(groups),
  ]
  const facts = { product: plan.product.code, time_zone: wish.timeZone, rows_read: plan.rowsRead }
  const data = {
    ...{ applied: apply, complete: isComplete, ...facts },
    ...{ left_out: leftOut, counts: countsOf(groups), notes },
    findings: json ? [...groups.values()].flat().map(findingView) : [],
  }
  return { data, text: text.join('\n\n'), exitCode: leftOut > 0 ? EXIT.incomplete[0] : EXIT.ok[0] }
}

type Report = ReturnType<typeof openReport>

/** Says what was done before an error, which is told after it and must not be hidden by another. */
function tellEnding(ending: Ending, order: Order, file: Report | undefined, context: Context<unknown>): void {
  const { json, streams, note } = context
  const { data, text } = resultOf(ending, order, json)
  streams.stdout.write(`${json ? jsonText(data) : text}\n`)
  if (ending.isComplete) return
  try {
    file?.write(ending.groups)
  } catch (error) {
    note(`The report could not be written: ${(error as Error).message}`)
  }
}

async function runImport(app: App, order: Order, context: Context<unknown>) {
  const { wish, apply, report } = order
  const { actor, json, streams } = context
  const { source } = wish
  const sourcePath = source.kind === 'csv' ? source.path : undefined
  const file = report === undefined ? undefined : openReport(report, sourcePath)
  const progress = showProgress(streams, { isQuiet: json })
  const outcome: Finding[] = []
  let plan: ImportPlan | undefined
  let isComplete = false
  try {
    plan = await app.imports.plan(wish, progress.tell)
    if (apply) await app.imports.apply(actor, plan, progress.tell, outcome)
    else for (const found of app.imports.foresee(plan)) outcome.push(found)
    isComplete = true
    const groups = grouped(outcome)
    file?.write(groups)
    return resultOf({ plan, groups, isComplete }, order, json)
  } catch (error) {
    progress.end()
    if (plan !== undefined) tellEnding({ plan, groups: grouped(outcome), isComplete }, order, file, context)
    throw error
  } finally {
    progress.end()
    file?.close()
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
    const { args, streams, withApp } = context
    const source = await sourceOf(args, streams)
    return withApp(async (app) => {
      const timeZone = args['time-zone'] ?? app.config.legacyTimeZone
      const wish = { source, productCode: args.product, timeZone, undated: args.undated }
      const order = { wish, apply: args.apply === true, report: args.report }
      return runImport(app, order, context)
    })
  },
})

export const importCommands = [importOldServer]
