import { readFileSync } from 'node:fs'

/** `docs/PROTOCOL.md`, read so that tests can hold it to what it says. */
export const page = readFileSync(new URL('../../docs/PROTOCOL.md', import.meta.url), 'utf8')

/** The page on one line, so that a sentence is found wherever it is wrapped. */
export const prose = page.replace(/\n(?:> | {2})?/g, ' ')

/** The fenced blocks of a language. */
export function blocks(language: string): string[] {
  const fenced = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  return [...page.matchAll(fenced)].map(([, text = '']) => text)
}

/** The cells of each table row whose first cell is of this form. */
export function rows(first: RegExp, text = page): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.slice(2, -2).split(' | '))
    .filter(([cell = '']) => first.test(cell))
}

/** A cell without its backquotes. */
export function bare(cell = ''): string {
  return cell.replaceAll('`', '')
}

/** What stands under a heading, up to the next one of its level or above. */
export function section(heading: string): string {
  const start = page.indexOf(`\n${heading}\n`)
  if (start < 0) throw new Error(`the page has no heading "${heading}"`)
  const [, level = ''] = /^(#+) /.exec(heading) ?? []
  const rest = page.slice(start + heading.length + 2)
  const end = rest.search(new RegExp(`^#{1,${level.length}} `, 'm'))
  return end < 0 ? rest : rest.slice(0, end)
}
