import type { App } from '../app.ts'
import type { Actor } from '../domain/events.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** Where a command writes, results to one, everything else to the other; and where it reads what is piped into it. */
export type Streams = {
  readonly stdout: NodeJS.WritableStream
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean }
  readonly stdin?: AsyncIterable<string | Uint8Array>
}

export type Option = {
  /** What stands for its value in the help. Without it the option is a switch. */
  readonly value?: string
  readonly required?: true
  readonly multiple?: true
  /** The value of an option that is left out, as it would be typed. */
  readonly fallback?: string
  readonly doc: string
  /** @throws {Error} with a message that ends the sentence "`--<name>` …". */
  readonly parse?: (text: string) => unknown
}

type Options = Readonly<Record<string, Option>>

/** An argument that is known by its place. */
export type Positional = { readonly name: string; readonly doc: string }

type ValueOf<O extends Option> = O extends { parse: (text: string) => infer T } ? T : string
type ArgOf<O extends Option> = O extends { value: string }
  ? O extends { multiple: true }
    ? readonly ValueOf<O>[]
    : O extends { required: true } | { fallback: string }
      ? ValueOf<O>
      : ValueOf<O> | undefined
  : boolean | undefined

/** What a command's options and positionals come out as. */
export type Args<O extends Options, P extends readonly Positional[]> = {
  readonly [K in keyof O]: ArgOf<O[K]>
} & { readonly [K in P[number]['name']]: string }

export type Context<A = Readonly<Record<string, unknown>>> = {
  readonly args: A
  readonly env: Env
  readonly streams: Streams
  readonly json: boolean
  /** Whom the record names. */
  readonly actor: Actor
  /** Tells something beside the result. */
  readonly note: (text: string) => void
  /** Runs `work` on the application, silent and without HTTP, and closes it. */
  readonly withApp: <T>(work: (app: App) => Promise<T>) => Promise<T>
}

/** `data` is what `--json` prints, `text` what people read; `exitCode` is 0 unless it is said. */
export type Result = { readonly data: unknown; readonly text: string; readonly exitCode?: number }

/** A row of the command table: it feeds the parser, the help and docs/cli.md. */
export type Command = {
  readonly path: readonly string[]
  /** One sentence. */
  readonly summary: string
  readonly options: Options
  readonly positionals: readonly Positional[]
  readonly example: string
  /** What the help says at its end. */
  readonly more?: () => string
  /** `undefined` from a command that has written its results itself. */
  readonly run: (context: Context) => Promise<Result | undefined>
}

/** Types the arguments of `run` by the options and positionals of its row. */
export function command<const O extends Options, const P extends readonly Positional[]>(
  row: Omit<Command, 'options' | 'positionals' | 'run'> & {
    readonly options: O
    readonly positionals: P
    readonly run: (context: Context<Args<O, P>>) => Promise<Result | undefined>
  },
): Command {
  return row as unknown as Command
}

/** A command line that cannot be understood. The message says what is wrong with it. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
