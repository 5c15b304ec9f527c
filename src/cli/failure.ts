import { AppError, type ErrorCode, SetupError, StoreError } from '../errors.ts'
import { type Command, UsageError } from './command.ts'
import { printable } from './output.ts'

/** How a command ends: the one table of exit codes. */
export const EXIT = {
  ok: [0, 'done'],
  failed: [1, 'failed: a database does not answer, old data cannot be read, or something unforeseen'],
  usage: [2, 'usage: an unknown command or option, one that is missing, or a value that is not acceptable'],
  not_found: [3, 'what the command is about does not exist'],
  conflict: [4, 'conflict: it exists already, or is not in a state that allows this'],
  set_up: [5, 'set-up: settings, keys, database or certificate are not as they must be'],
  incomplete: [6, 'incomplete: what could be done is done, and the report says what was left out'],
} as const satisfies Record<string, readonly [code: number, meaning: string]>

export type Failure = {
  readonly exitCode: number
  readonly code: string
  readonly message: string
  readonly detail: string | null
  /** What mends it, where the message does not say so. */
  readonly remedy: string | null
}

const EXIT_OF_STATUS: Readonly<Record<number, number>> = {
  400: EXIT.usage[0],
  404: EXIT.not_found[0],
  409: EXIT.conflict[0],
  422: EXIT.usage[0],
}

/** Where the value is as it should be, and what it leads to is not. */
const EXIT_OF: Partial<Record<ErrorCode, number>> = { import_source: EXIT.failed[0] }

const REMEDIES: Partial<Record<ErrorCode, string>> = {
  product_not_found: 'kunci products list',
  licence_not_found: 'kunci licences list',
  device_not_found: 'kunci devices list',
  token_not_found: 'kunci tokens list',
  key_not_found: 'kunci keys list',
  key_state: 'kunci keys list',
  product_exists: 'kunci products update CODE',
  licence_state: 'kunci licences show ID',
  licence_key_exists: 'kunci licences issue-key --help',
  user_not_found: 'kunci users list',
  user_exists: 'kunci users list',
  session_not_found: 'kunci sessions list',
}

function helpOf(command: Command | undefined): string {
  return ['Run: kunci', ...(command?.path ?? []), '--help'].join(' ')
}

/** A directory that cannot be made, a file that cannot be written: the message names it. */
function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'path' in error
}

/** What an error says to an operator, and to the shell. */
export function failureOf(error: unknown, command: Command | undefined): Failure {
  if (error instanceof AppError) {
    const remedy = REMEDIES[error.code]
    return {
      exitCode: EXIT_OF[error.code] ?? EXIT_OF_STATUS[error.status] ?? EXIT.failed[0],
      code: error.code,
      message: error.message,
      detail: error.detail ?? null,
      remedy: remedy !== undefined ? `See: ${remedy}` : error.status === 400 ? helpOf(command) : null,
    }
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  if (error instanceof UsageError)
    return { exitCode: EXIT.usage[0], code: 'usage', message, detail: null, remedy: helpOf(command) }
  if (error instanceof SetupError || isFileError(error))
    return { exitCode: EXIT.set_up[0], code: 'set_up', message, detail: null, remedy: null }
  if (error instanceof StoreError)
    return {
      exitCode: EXIT.failed[0],
      code: 'store_unavailable',
      message: 'The database did not do what it was asked.',
      detail: message,
      remedy: 'Check that it runs and has room, and try again.',
    }
  return { exitCode: EXIT.failed[0], code: 'internal', message, detail: stack ?? null, remedy: null }
}

function indented(text: string): string {
  return text.replace(/^/gm, '  ')
}

export function failureText({ message, detail, remedy }: Failure): string {
  const lines = [`kunci: ${message}`, ...(detail === null ? [] : [indented(detail)]), remedy ?? []].flat()
  return printable(lines.join('\n'))
}
