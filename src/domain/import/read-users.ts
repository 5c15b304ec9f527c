import type { OldUsers } from '../../store/old-users/old-users.ts'
import { timeReader } from './dates.ts'
import { Owners } from './owners.ts'
import type { Tell } from './read.ts'
import type { UserFinding } from './user-findings.ts'
import { agentReader, judgeSession, type OldSession } from './user-sessions.ts'
import { judgeUser } from './users.ts'

const TELL_EVERY_ROWS = 512

/** All that a source holds, judged row by row. */
export type ReadUsers = {
  readonly owners: Owners
  readonly sessions: readonly OldSession[]
  readonly findings: UserFinding[]
  readonly rowsRead: { readonly users: number; readonly sessions: number }
}

/**
 * Reads and judges a whole source, before anything is written: one that goes away in the middle has changed nothing.
 * @throws {AppError} `import_source` from the source.
 */
export async function readUsers(
  source: OldUsers,
  timeZone: string,
  nowMs: number,
  tell: Tell,
): Promise<ReadUsers> {
  const { users: oldUsers, sessions: oldSessions } = source
  const tables = [oldUsers, oldSessions].filter((table) => table !== null)
  const [readTime, readAgent] = [timeReader(timeZone), agentReader()]
  const owners = new Owners()
  const sessions: OldSession[] = []
  const findings: UserFinding[] = []
  const rowsRead = { users: 0, sessions: 0 }
  const told = (table: keyof typeof rowsRead) => {
    rowsRead[table]++
    const rows = rowsRead.users + rowsRead.sessions
    if (rows % TELL_EVERY_ROWS !== 0) return
    const fraction = tables.reduce((sum, { progress }) => sum + progress(), 0) / tables.length
    tell({ phase: 'reading', rows, fraction })
  }
  if (oldUsers !== null)
    for await (const row of oldUsers.rows) {
      const judged = judgeUser(row, { names: oldUsers.names, times: oldUsers.times, readTime, nowMs })
      const refused = judged.user && owners.add(judged.user)
      findings.push(...(refused ? [refused] : judged.findings))
      told('users')
    }
  for await (const row of oldSessions?.rows ?? []) {
    const judged = judgeSession(row, { times: oldSessions?.times ?? {}, readTime, readAgent, nowMs })
    findings.push(...judged.findings)
    if (judged.session !== null) sessions.push(judged.session)
    told('sessions')
  }
  return { owners, sessions, findings, rowsRead }
}
