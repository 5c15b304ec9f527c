import type { Command, Option } from './command.ts'
import { EXIT } from './failure.ts'
import { aligned, wrap } from './output.ts'

const COLUMNS = 100
const NEAR_MAX = 3

/** What every command takes. */
export const COMMON_OPTIONS = {
  json: { doc: 'Print one JSON value, and errors as JSON too.' },
  help: { doc: 'Print this help.' },
} as const satisfies Readonly<Record<string, Option>>

export function optionsOf(command: Command): Readonly<Record<string, Option>> {
  return { ...command.options, ...COMMON_OPTIONS }
}

/** An option as it is typed, such as `--limit N`. */
export function spelling(name: string, { value }: Option): string {
  return `--${name}${value === undefined ? '' : ` ${value}`}`
}

export function placeholder(positional: string): string {
  return positional.toUpperCase().replaceAll('-', '_')
}

/** What is said about an option, with its rules. */
export function optionDoc({ doc, required, multiple, fallback }: Option): string {
  const rules = [
    required ? 'Required.' : '',
    multiple ? 'May be repeated.' : '',
    fallback === undefined ? '' : `Default: ${fallback}.`,
  ]
  return [doc, ...rules].filter((text) => text !== '').join(' ')
}

/** A command as it is typed, with what it cannot do without. */
export function usageOf({ path, positionals, options }: Command): string {
  const required = Object.entries(options).flatMap(([name, option]) =>
    option.required ? [spelling(name, option)] : [],
  )
  const isMore = Object.values(options).some((option) => !option.required)
  return [
    'kunci',
    ...path,
    ...positionals.map(({ name }) => placeholder(name)),
    ...required,
    ...(isMore ? ['[options]'] : []),
  ].join(' ')
}

/** Pairs below each other, the second one wrapped under itself. */
function definitions(pairs: readonly (readonly [string, string])[]): string {
  const indent = 2 + Math.max(...pairs.map(([term]) => term.length)) + 2
  const rows = pairs.flatMap(([term, text]) =>
    wrap(text, COLUMNS - indent).map((part, i) => ['', i === 0 ? term : '', part]),
  )
  return aligned(rows)
}

function paragraphs(text: string): string {
  return text
    .split('\n')
    .flatMap((line) => wrap(line, COLUMNS))
    .join('\n')
}

function exitCodes(): string {
  return `Exit codes:\n${definitions(Object.values(EXIT).map(([code, meaning]) => [String(code), meaning]))}`
}

export function commandHelp(command: Command): string {
  const { positionals, summary, example, more } = command
  const options = Object.entries(optionsOf(command))
  const sections = [
    `Usage: ${usageOf(command)}`,
    wrap(summary, COLUMNS).join('\n'),
    ...(positionals.length === 0
      ? []
      : [`Arguments:\n${definitions(positionals.map(({ name, doc }) => [placeholder(name), doc]))}`]),
    `Options:\n${definitions(options.map(([name, option]) => [spelling(name, option), optionDoc(option)]))}`,
    `Example:\n  ${example}`,
    exitCodes(),
    ...(more === undefined ? [] : [paragraphs(more())]),
  ]
  return sections.join('\n\n')
}

/** The help of several commands: all of them, or those that begin with one word. */
export function groupHelp(commands: readonly Command[], word: string | undefined): string {
  const usage = ['kunci', word ?? '<command>', ...(word === undefined ? [] : ['<command>'])].join(' ')
  return [
    `Usage: ${usage} [options]`,
    ...(word === undefined
      ? ['Kunci hands out session keys to desktop tools and checks their licences.']
      : []),
    `Commands:\n${definitions(commands.map(({ path, summary }) => [path.join(' '), summary]))}`,
    `Every command takes --json and --help. ${word === undefined ? 'kunci --version prints the version.\n' : '\n'}From a checkout a command is run as: npm run -s kunci -- licences list`,
    exitCodes(),
  ].join('\n\n')
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(
          (row[j] ?? 0) + 1,
          (next[j - 1] ?? 0) + 1,
          (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1),
        ),
      )
    row = next
  }
  return row[b.length] ?? 0
}

/** The candidate that was probably meant, if any comes near. */
function nearest(typed: string, candidates: readonly string[]): string | undefined {
  const limit = Math.min(NEAR_MAX, Math.floor(typed.length / 2))
  const [best] = candidates
    .map((candidate) => ({ candidate, steps: distance(typed, candidate) }))
    .filter(({ steps }) => steps <= limit)
    .sort((a, b) => a.steps - b.steps)
  return best?.candidate
}

/** The end of a sentence about something unknown. */
export function didYouMean(typed: string, candidates: readonly string[]): string {
  const near = nearest(typed, candidates)
  return near === undefined ? '' : ` Did you mean "${near}"?`
}
