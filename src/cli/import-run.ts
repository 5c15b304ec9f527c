import { asMysqlUrl } from '../config.ts'
import type { Line } from '../domain/import/findings.ts'
import type { Tell } from '../domain/import/read.ts'
import { AppError } from '../errors.ts'
import type { Context, Streams } from './command.ts'
import { EXIT } from './failure.ts'
import {
  countLeftOut,
  countsOf,
  type Groups,
  grouped,
  groupsText,
  type ReportForm,
  viewsOf,
} from './import-report.ts'
import { openReport, type SourcePaths } from './import-report-file.ts'
import { type Cell, jsonText } from './output.ts'
import { showProgress } from './progress.ts'
import { readStdin } from './stdin.ts'

/** In the place of a URL: it comes on stdin. */
export const FROM_STDIN = '-'

/** @throws {AppError} `invalid_argument` when what stdin gives is no URL of a MySQL. */
export async function urlFrom(streams: Streams): Promise<string> {
  const text = await readStdin(streams)
  try {
    return asMysqlUrl(text.trim())
  } catch (error) {
    throw new AppError('invalid_argument', {
      detail: `what stdin gave --from-mysql ${(error as Error).message}`,
    })
  }
}

/** An import as a command runs it: everything is read and judged, and then foretold or done. */
export type Importing<P, F extends Line> = {
  readonly form: ReportForm<F>
  readonly sources: SourcePaths
  plan(tell: Tell): Promise<P>
  foresee(plan: P): F[]
  /** @param outcome takes up what became of every row: where this throws it holds what was done. */
  apply(plan: P, tell: Tell, outcome: F[]): Promise<void>
  /** What holds for the import as a whole. */
  told(plan: P): {
    readonly summary: string
    readonly notes: readonly string[]
    readonly facts: Readonly<Record<string, Cell>>
  }
}

export type Order = { readonly apply: boolean; readonly report: string | undefined }

/** What is known at the end, be it that of a run that broke off. */
type Ending<P, F extends Line> = {
  readonly plan: P
  readonly groups: Groups<F>
  readonly isComplete: boolean
}

function headline({ apply }: Order, isComplete: boolean): string {
  if (!isComplete) return 'This broke off. This is what was done before; run it again to go on.'
  return apply
    ? 'This is what was done.'
    : 'This is what would be done; nothing was written. To do it, add --apply.'
}

function resultOf<P, F extends Line>(
  importing: Importing<P, F>,
  { plan, groups, isComplete }: Ending<P, F>,
  order: Order,
  json: boolean,
) {
  const { summary, notes, facts } = importing.told(plan)
  const leftOut = countLeftOut(groups)
  const text = [
    headline(order, isComplete),
    `${summary}; ${leftOut} of them are left out.\n${notes.map((note) => `  ${note}`).join('\n')}`,
    groupsText(groups),
  ]
  const data = {
    ...{ applied: order.apply, complete: isComplete, ...facts },
    ...{ left_out: leftOut, counts: countsOf(groups), notes },
    findings: json ? viewsOf(groups) : [],
  }
  return { data, text: text.join('\n\n'), exitCode: leftOut > 0 ? EXIT.incomplete[0] : EXIT.ok[0] }
}

/** Runs an import, with its progress on stderr and its report in a file where one is wanted. */
export async function runImport<P, F extends Line>(
  importing: Importing<P, F>,
  order: Order,
  { json, streams, note }: Context<unknown>,
) {
  const { form, sources } = importing
  const file = order.report === undefined ? undefined : openReport(order.report, sources, form)
  const progress = showProgress(streams, { isQuiet: json })
  const outcome: F[] = []
  let plan: P | undefined
  let isComplete = false

  /** Says what was done before an error, which is told after it and must not be hidden by another. */
  function tellEnding(ending: Ending<P, F>): void {
    const { data, text } = resultOf(importing, ending, order, json)
    streams.stdout.write(`${json ? jsonText(data) : text}\n`)
    if (ending.isComplete) return
    try {
      file?.write(ending.groups)
    } catch (error) {
      note(`The report could not be written: ${(error as Error).message}`)
    }
  }

  try {
    plan = await importing.plan(progress.tell)
    if (order.apply) await importing.apply(plan, progress.tell, outcome)
    else for (const found of importing.foresee(plan)) outcome.push(found)
    isComplete = true
    const groups = grouped(form, outcome)
    file?.write(groups)
    return resultOf(importing, { plan, groups, isComplete }, order, json)
  } catch (error) {
    progress.end()
    if (plan !== undefined) tellEnding({ plan, groups: grouped(form, outcome), isComplete })
    throw error
  } finally {
    progress.end()
    file?.close()
  }
}
