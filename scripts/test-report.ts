import { inspect } from 'node:util'
import { Parser, type Result } from 'tap-parser'

export type Totals = { readonly passed: number; readonly failed: number; readonly skipped: number }

export type TestRun = {
  /** tap's own; what was heard until then when it did not get as far as that. */
  readonly totals: Totals
  readonly isComplete: boolean
  /** Names, with the reason. */
  readonly skipped: readonly string[]
  readonly failed: readonly string[]
}

export type TestReport = { write(tap: string): void; end(): TestRun }

/** What tap adds to a result that says nothing about the failure. */
const NOISE = ['source', 'stdio', 'cwd', 'externalID', 'command', 'args', 'jobId']

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '      ')
}

function placeOf(at: { fileName?: string; lineNumber?: number; columnNumber?: number }): string {
  return [at.fileName, at.lineNumber, at.columnNumber].filter((part) => part !== undefined).join(':')
}

function detail(name: string, value: unknown): string {
  if (name === 'at') return `at: ${placeOf(value as object)}`
  if (typeof value !== 'string') return `${name}: ${inspect(value, { depth: 10, breakLength: 100 })}`
  const text = value.trimEnd()
  return text.includes('\n') ? `${name}:\n${text.replace(/^/gm, '  ')}` : `${name}: ${text}`
}

function details({ diag, tapError }: Result): string {
  const entries = Object.entries({ ...diag, ...(tapError ? { tapError } : {}) })
  const lines = entries.filter(([name]) => !NOISE.includes(name)).map(([name, value]) => detail(name, value))
  return indent(lines.join('\n'))
}

function reasonOf({ skip, todo }: Result): string {
  if (todo) return typeof todo === 'string' ? `todo, ${todo}` : 'todo'
  return typeof skip === 'string' ? skip : 'no reason given'
}

function totalsIn(comment: string): Totals | undefined {
  if (!/^# \{ total: \d+/.test(comment)) return undefined
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(comment)?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') }
}

type TestFile = { passed: number; failures: Result[]; output: string }

function fileText(result: Result, { passed, failures, output }: TestFile): string {
  const seconds = result.time === null ? '' : `, ${(result.time / 1000).toFixed(1)} s`
  if (result.ok)
    return result.skip ? `skip  ${result.name}` : `ok    ${result.name} (${passed} passed${seconds})`
  // A file that breaks outside its assertions has none that failed; its exit code is all there is to tell.
  const shown = failures.length > 0 ? failures : [result]
  return [
    `FAIL  ${result.name} (${passed} passed${seconds})`,
    ...(output.trim() === '' ? [] : [`  it printed:\n${indent(output.trimEnd())}`]),
    ...shown.map((failure) => `  not ok: ${failure.fullname}\n${details(failure)}`),
  ].join('\n')
}

/** Reads the TAP of a whole run and prints a line for a file that is well, and every failure in full. */
export function createTestReport(print: (text: string) => void): TestReport {
  const parser = new Parser()
  const skipped: string[] = []
  const failed: string[] = []
  const fresh = (): TestFile => ({ passed: 0, failures: [], output: '' })
  let file = fresh()
  let last: Result | undefined
  let passed = 0
  let totals: Totals | undefined
  parser.on('comment', (comment: string) => {
    totals = totalsIn(comment) ?? totals
  })
  parser.on('extra', (text: string) => {
    file.output += text.replace(/^ {4}/, '')
  })
  parser.on('pass', () => {
    passed++
    file.passed++
  })
  parser.on('fail', (result: Result) => {
    failed.push(result.fullname)
    // A file that broke comes a second time, after it was printed.
    if (result !== last) file.failures.push(result)
  })
  for (const event of ['skip', 'todo'])
    parser.on(event, (result: Result) => skipped.push(`${result.fullname} (${reasonOf(result)})`))
  parser.on('assert', (result: Result) => {
    print(fileText(result, file))
    file = fresh()
    last = result
  })
  const end = (): TestRun => {
    parser.end()
    const heard = { passed, failed: failed.length, skipped: skipped.length }
    return { totals: totals ?? heard, isComplete: totals !== undefined, skipped, failed }
  }
  return { write: (tap) => void parser.write(tap), end }
}
