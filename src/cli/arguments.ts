import { parseArgs } from 'node:util'
import { AppError } from '../errors.ts'
import { type Command, type Option, UsageError } from './command.ts'
import { didYouMean, optionsOf, placeholder, usageOf } from './help.ts'

type Token = { readonly kind: string; readonly name?: string; readonly rawName?: string }
type Value = string | boolean | readonly (string | boolean)[] | undefined

/** Node refuses unknown options too, but at more length and without what was probably meant; the last of two wins. */
function checkOptions(command: Command, tokens: readonly Token[]): void {
  const options = optionsOf(command)
  const seen = new Set<string>()
  for (const { kind, name = '', rawName = '' } of tokens) {
    if (kind !== 'option') continue
    if (!Object.hasOwn(options, name)) {
      const spellings = Object.keys(options).map((known) => `--${known}`)
      throw new UsageError(
        `kunci ${command.path.join(' ')} has no option ${rawName}.${didYouMean(rawName, spellings)}`,
      )
    }
    const option = options[name]
    if (seen.has(name) && option?.value !== undefined && !option.multiple)
      throw new UsageError(`${rawName} is given twice.`)
    seen.add(name)
  }
}

function parseStrictly(command: Command, argv: readonly string[]) {
  const options = Object.fromEntries(
    Object.entries(optionsOf(command)).map(([name, { value, multiple }]) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        multiple: multiple === true,
        ...(name === 'help' ? { short: 'h' } : {}),
      },
    ]),
  )
  const wish = { args: [...argv], options, allowPositionals: true }
  checkOptions(command, parseArgs({ ...wish, strict: false, tokens: true }).tokens)
  try {
    return parseArgs({ ...wish, strict: true })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function checkWords({ positionals, path }: Command, words: readonly string[], usage: string, hint: string) {
  const extra = words[positionals.length]
  if (extra === undefined) return
  throw new UsageError(`kunci ${path.join(' ')}: what is "${extra}" for?${hint} Usage: ${usage}`)
}

function checkMissing(command: Command, values: Readonly<Record<string, Value>>, words: readonly string[]) {
  const { positionals, options } = command
  const missing = [
    ...positionals.slice(words.length).map(({ name }) => placeholder(name)),
    ...Object.entries(options).flatMap(([name, { required }]) =>
      required && values[name] === undefined ? [`--${name}`] : [],
    ),
  ]
  if (missing.length === 0) return
  const verb = missing.length > 1 ? 'are' : 'is'
  throw new UsageError(`${missing.join(' and ')} ${verb} missing. Usage: ${usageOf(command)}`)
}

function parsed(name: string, { parse }: Option, text: string): unknown {
  try {
    return parse === undefined ? text : parse(text)
  } catch (error) {
    throw new AppError('invalid_argument', { detail: `--${name} ${(error as Error).message}` })
  }
}

function argument(name: string, option: Option, value: Value): unknown {
  if (typeof value === 'string') return parsed(name, option, value)
  if (Array.isArray(value)) return value.map((text) => parsed(name, option, String(text)))
  return value ?? (option.multiple ? [] : undefined)
}

/**
 * Reads what stands behind a command.
 * @param paths every command, to name the one that was probably meant.
 * @throws {UsageError} for what is unknown, missing or too much; {@link AppError} `invalid_argument` for a value that
 *   is not acceptable.
 */
export function readArguments(command: Command, argv: readonly string[], paths: readonly string[]) {
  const { positionals, options, path } = command
  const { values, positionals: words } = parseStrictly(command, argv) as {
    values: Record<string, Value>
    positionals: string[]
  }
  const asked = { help: values.help === true, json: values.json === true }
  if (asked.help) return { ...asked, args: {} }
  checkWords(command, words, usageOf(command), didYouMean([...path, ...words].join(' '), paths))
  checkMissing(command, values, words)
  const args = Object.fromEntries([
    ...Object.entries(options).map(([name, option]) => [
      name,
      argument(name, option, values[name] ?? option.fallback),
    ]),
    ...positionals.map(({ name }, i) => [name, words[i]]),
  ])
  return { ...asked, args: args as Record<string, unknown> }
}
