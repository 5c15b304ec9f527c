import { execFileSync } from 'node:child_process'
import type { Test } from 'tap'
import type { Finding, State } from '../../src/doctor/finding.ts'
import type { Remedy } from '../../src/remedy.ts'
import { kunci } from './cli.ts'
import type { TestEnv } from './databases.ts'

export const PASSWORD = 'hunter2'

export type Report = {
  readonly code: number
  readonly findings: readonly Finding[]
  of(id: string): Finding
}

/** Runs `kunci doctor --json`. @throws {Error} when the password is anywhere in its output. */
export async function doctor(env: TestEnv): Promise<Report> {
  const { code, stdout, stderr } = await kunci(env, 'doctor', '--json')
  if (`${stdout}${stderr}`.includes(PASSWORD)) throw new Error('the password was printed')
  if (stderr !== '') throw new Error(stderr)
  const { findings } = JSON.parse(stdout) as { findings: Finding[] }
  return {
    code,
    findings,
    of: (id) => {
      const found = findings.find((finding) => finding.id === id)
      if (found === undefined) throw new Error(`nothing was found about ${id}`)
      return found
    },
  }
}

/** Every id that is not as it should be. */
export function unwell({ findings }: Report): string[] {
  return findings.filter(({ state }) => state !== 'ok').map(({ id }) => id)
}

/** Does what is printed: SQL by `query`, a command of ours in this process, any other in a shell. Advice is for people. */
export async function follow(
  env: TestEnv,
  mend: readonly Remedy[],
  query: (sql: string) => unknown,
): Promise<void> {
  for (const { kind, text } of mend) {
    if (kind === 'sql') for (const line of text.split('\n')) await query(line)
    if (kind !== 'command') continue
    if (!text.startsWith('kunci ')) execFileSync('/bin/sh', ['-c', text])
    else {
      const { code, stderr } = await kunci(env, ...text.split(' ').slice(1))
      if (code !== 0) throw new Error(`${text}: ${stderr}`)
    }
  }
}

/** The check says what is wrong; once what it prints was done, it finds nothing any more. */
export async function heals(
  t: Test,
  env: TestEnv,
  id: string,
  state: State,
  what: RegExp,
  query: (sql: string) => unknown,
): Promise<void> {
  const before = await doctor(env)
  const finding = before.of(id)
  t.match(finding, { state, what }, id)
  t.ok(finding.why, 'it says what follows')
  t.ok(finding.mend.length > 0, 'and what to do')
  t.equal(before.code, before.findings.some((each) => each.state === 'failed') ? 5 : 0)
  await follow(env, finding.mend, query)
  t.match((await doctor(env)).of(id), { state: 'ok', why: null, mend: [] }, `${id} is mended`)
}
