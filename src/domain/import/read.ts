import { AppError } from '../../errors.ts'
import type { OldServer } from '../../store/old-server/old-server.ts'
import { judgeCustomer } from './customers.ts'
import { type ReadTime, timeReader } from './dates.ts'
import type { Finding } from './findings.ts'
import { Customers } from './plan.ts'
import { judgeSessionKey, type OldSessionKey } from './session-keys.ts'

const TELL_EVERY_ROWS = 512

export type ReadingWish = {
  /** Of times that name no offset. */
  readonly timeZone: string
  /** What a row without an expiry date is taken for: `never`, or a date that is read as one in such a row. */
  readonly undated?: string | undefined
}

export type Progress = {
  readonly phase: 'reading' | 'comparing' | 'writing'
  readonly rows: number
  /** From 0 to 1. */
  readonly fraction: number
}
export type Tell = (progress: Progress) => void

/** All that a source holds, judged row by row. */
export type Read = {
  readonly customers: Customers
  readonly sessionKeys: readonly OldSessionKey[]
  readonly findings: Finding[]
  readonly rowsRead: number
}

function undatedOf({ undated }: ReadingWish, readTime: ReadTime) {
  if (undated === undefined) return undefined
  if (undated === 'never') return { expiresAtMs: null }
  const time = readTime(undated, 'local')
  if ('ms' in time) return { expiresAtMs: time.ms }
  throw new AppError('invalid_argument', {
    detail: `--undated must be never or a date such as 2030-12-31, not "${undated}"`,
  })
}

/**
 * Reads and judges a whole source, before anything is written: one that goes away in the middle has changed nothing.
 * @throws {AppError} `import_source` from the source, `invalid_argument` for `undated`.
 */
export async function readAll(
  source: OldServer,
  wish: ReadingWish,
  nowMs: number,
  tell: Tell,
): Promise<Read> {
  const readTime = timeReader(wish.timeZone)
  const { customers: old, sessionKeys: oldKeys } = source
  const rules = { times: old.times, readTime, undated: undatedOf(wish, readTime), nowMs }
  const customers = new Customers()
  const findings: Finding[] = []
  let rowsRead = 0
  for await (const row of old.rows) {
    const judged = judgeCustomer(row, rules)
    findings.push(...judged.findings)
    if (judged.customer !== null) customers.add(judged.customer)
    if (++rowsRead % TELL_EVERY_ROWS === 0)
      tell({ phase: 'reading', rows: rowsRead, fraction: old.progress() })
  }
  const sessionKeys: OldSessionKey[] = []
  for await (const row of oldKeys?.rows ?? []) {
    const judged = judgeSessionKey(row, { times: oldKeys?.times ?? {}, readTime, nowMs })
    if ('finding' in judged) findings.push(judged)
    else sessionKeys.push(judged)
  }
  return { customers, sessionKeys, findings, rowsRead }
}
