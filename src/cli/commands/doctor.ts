import { examine } from '../../doctor/doctor.ts'
import type { Finding, State } from '../../doctor/finding.ts'
import type { Remedy } from '../../remedy.ts'
import { command } from '../command.ts'
import { EXIT } from '../failure.ts'
import { line, wrap } from '../output.ts'

const COLUMNS = 100
const WORDS: Readonly<Record<State, string>> = {
  ok: 'ok',
  warning: 'warning',
  failed: 'FAILED',
  not_checked: 'not checked',
}
const HEADS: Readonly<Record<Remedy['kind'], string | null>> = {
  sql: 'SQL, for phpMyAdmin too:',
  command: 'Run:',
  setting: 'In .env:',
  advice: null,
}

/** The word and the id, then what is, wrapped under itself. */
function row({ id, state, what }: Finding, idColumns: number): string {
  const stateColumns = WORDS.not_checked.length
  const parts = wrap(what, Math.max(40, COLUMNS - stateColumns - idColumns - 4))
  return parts
    .map((part, i) =>
      i === 0
        ? line([WORDS[state], id, part], [stateColumns, idColumns])
        : `${' '.repeat(stateColumns + idColumns + 4)}${line([part], [])}`,
    )
    .join('\n')
}

/** Prose in lines of their own; what is to be pasted stays in one piece. */
function remedyLines(mend: readonly Remedy[]): string[] {
  return mend.flatMap(({ kind, text }, i) => {
    if (kind === 'advice') return wrap(text, COLUMNS - 2).map((part) => `  ${line([part], [])}`)
    const head = mend[i - 1]?.kind === kind ? [] : [`  ${HEADS[kind]}`]
    return [...head, `    ${line([text], [])}`]
  })
}

function block(finding: Finding): string {
  const { id, state, what, why, mend } = finding
  const prose = [what, ...(why === null ? [] : [why])]
  return [
    `${WORDS[state]}: ${id}`,
    ...prose.flatMap((text) => wrap(text, COLUMNS - 2)).map((part) => `  ${line([part], [])}`),
    ...remedyLines(mend),
  ].join('\n')
}

function countsOf(findings: readonly Finding[]): Record<State, number> {
  const counts = { ok: 0, warning: 0, failed: 0, not_checked: 0 }
  for (const { state } of findings) counts[state]++
  return counts
}

function report(findings: readonly Finding[], counts: Record<State, number>): string {
  const idColumns = Math.max(...findings.map(({ id }) => id.length))
  const blocks = findings.filter(({ mend }) => mend.length > 0).map(block)
  const { ok, warning, failed, not_checked: notChecked } = counts
  return [
    findings.map((finding) => row(finding, idColumns)).join('\n'),
    ...blocks,
    `${ok} ok, ${warning} ${warning === 1 ? 'warning' : 'warnings'}, ${failed} failed, ${notChecked} not checked.`,
  ].join('\n\n')
}

const doctor = command({
  path: ['doctor'],
  summary:
    'Looks at settings, database, keys, clocks and disk, changes nothing, and says what is wrong and what mends it.',
  options: {},
  positionals: [],
  example: 'kunci doctor',
  more: () =>
    'The exit code is 5 when a check failed; warnings are no failure. What is checked: docs/doctor.md',
  run: async ({ env }) => {
    const findings = await examine(env)
    const counts = countsOf(findings)
    return {
      data: { findings, counts },
      text: report(findings, counts),
      exitCode: counts.failed > 0 ? EXIT.set_up[0] : EXIT.ok[0],
    }
  },
})

export const doctorCommands = [doctor]
