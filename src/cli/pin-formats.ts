import type { KexPin, Pins } from '../domain/keys.ts'

/** The pins of a suite, or those of leases, as rows of strings; every language has an array for them. */
type Constant = {
  readonly words: readonly [string, string]
  readonly of: string
  readonly rows: readonly (readonly string[])[]
}

function constantsOf({ lease, ...suites }: Pins): Constant[] {
  const kex = Object.entries(suites) as [string, readonly KexPin[]][]
  return [
    ...kex.map(([suite, pins]): Constant => {
      return {
        words: ['pins', suite],
        of: `Suite ${suite}: kid, public key`,
        rows: pins.map(({ kid, pub }) => [kid, pub]),
      }
    }),
    {
      words: ['lease', 'keys'],
      of: 'Leases, P-256: kid, x, y',
      rows: lease.map(({ kid, x, y }) => [kid, x, y]),
    },
  ]
}

/** Neither base64url nor hex holds anything that a string of these languages would have to escape. */
function list(rows: Constant['rows'], [open, close]: readonly [string, string]): string {
  return rows.map((row) => `    ${open}${row.map((text) => `"${text}"`).join(', ')}${close},`).join('\n')
}

const capitals = ({ words }: Constant) => words.join('_').toUpperCase()
const lower = ({ words }: Constant) => words.join('_').toLowerCase()
const pascal = ({ words }: Constant) =>
  words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')

const DECLARATION = {
  csharp: (it: Constant) =>
    `// ${it.of}.\nstatic readonly string[][] ${pascal(it)} =\n{\n${list(it.rows, ['new[] { ', ' }'])}\n};`,
  cpp: (it: Constant) =>
    `// ${it.of}.\nconstexpr const char* ${lower(it)}[][${it.rows[0]?.length}] = {\n${list(it.rows, ['{ ', ' }'])}\n};`,
  python: (it: Constant) => `# ${it.of}.\n${capitals(it)} = [\n${list(it.rows, ['(', ')'])}\n]`,
  java: (it: Constant) =>
    `// ${it.of}.\nstatic final String[][] ${capitals(it)} = {\n${list(it.rows, ['{ ', ' }'])}\n};`,
} as const

export const PIN_FORMATS = ['json', 'csharp', 'cpp', 'python', 'java'] as const
export type PinFormat = (typeof PIN_FORMATS)[number]

/** Pins as they are pasted into a client, or as the JSON that a client reads. */
export function pinsText(pins: Pins, format: PinFormat): string {
  return format === 'json' ? JSON.stringify(pins) : constantsOf(pins).map(DECLARATION[format]).join('\n\n')
}
