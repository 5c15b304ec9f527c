import { AppError } from '../../errors.ts'
import type { CustomerColumn } from '../../store/old-server/old-server.ts'
import type { OldRow, TimeKind } from '../../store/old-server/old-table.ts'
import { requireTexts } from '../texts.ts'
import type { OldTime, ReadTime } from './dates.ts'
import { type Finding, type FindingName, finding } from './findings.ts'

/** A row that can become a licence. */
export type Customer = {
  readonly row: number
  /** SHA-256 of the hardware id, 64 hex in lower case. */
  readonly digest: string
  readonly name: string
  /** `null`: perpetual. */
  readonly expiresAtMs: number | null
  readonly lastSeenMs: number | null
  readonly sk: string | null
  readonly sck: string | null
  readonly maintenance: string | null
  readonly status1Text: string | null
}

export type CustomerRules = {
  readonly times: Readonly<Partial<Record<CustomerColumn, TimeKind>>>
  readonly readTime: ReadTime
  /** What rows without an expiry date are taken for; `undefined`: they are left out. */
  readonly undated: { readonly expiresAtMs: number | null } | undefined
  readonly nowMs: number
}

type Cells = Readonly<Record<CustomerColumn, string | null>>

const SHA256_HEX = /^[0-9a-f]{64}$/
/** Serial numbers and the like; a broken hash is longer. */
const PLAIN_ID = /^[A-Za-z0-9 ._:{}-]{1,40}$/

function hashFault(text: string): [FindingName, string | null] | null {
  if (text === '') return ['hash_missing', null]
  if (SHA256_HEX.test(text)) return null
  // How long it is, and no character of it: it may be what nobody is to keep.
  const detail = `it has ${text.length} characters`
  return [PLAIN_ID.test(text) ? 'hash_plain' : 'hash_malformed', detail]
}

function textFault({
  name,
  ...texts
}: Pick<Customer, 'name' | 'sk' | 'sck' | 'maintenance' | 'status1Text'>) {
  try {
    requireTexts({ customer: name, ...texts })
    return null
  } catch (error) {
    if (error instanceof AppError) return error.detail ?? error.message
    throw error
  }
}

function shownDate(text: string | null): string {
  return `"${(text ?? '').slice(0, 40)}"`
}

type Expiry = { readonly expiresAtMs: number | null; readonly isUndated: boolean }

function expiryOf(time: OldTime, { undated }: CustomerRules): Expiry | FindingName {
  if ('ms' in time) return { expiresAtMs: time.ms, isUndated: false }
  if (time.fault === 'missing' && undated !== undefined) return { ...undated, isUndated: true }
  return `expiry_${time.fault}`
}

/** When the customer was last seen; a date that cannot be, such as one to come, is none. */
function lastSeenOf(
  time: OldTime,
  { nowMs }: CustomerRules,
): { lastSeenMs: number | null; isUnfit: boolean } {
  if ('ms' in time && time.ms <= nowMs && time.ms > 0) return { lastSeenMs: time.ms, isUnfit: false }
  return { lastSeenMs: null, isUnfit: !('fault' in time && time.fault === 'missing') }
}

/**
 * Judges one row of `user_jce` by itself.
 * @returns the customer, or `null` for a row that is left out, and what there is to say: for a row that is left out the
 *   first reason, with nothing of a hash that is none.
 */
export function judgeCustomer(
  old: OldRow<CustomerColumn>,
  rules: CustomerRules,
): { customer: Customer | null; findings: Finding[] } {
  const { row } = old
  if ('fault' in old) return { customer: null, findings: [finding(old.fault, row, { detail: old.detail })] }
  const judged = judgeCells(row, old.cells, rules)
  const { customer } = judged
  if (customer === null || old.mayBeCut !== true) return judged
  const cut = finding('may_be_cut', row, { customer: customer.name, hash: customer.digest })
  return { customer, findings: [...judged.findings, cut] }
}

function judgeCells(row: number, cells: Cells, rules: CustomerRules) {
  const { readTime, times, nowMs } = rules
  const name = cells.Nama ?? ''
  const written = cells.hwid_encrypted ?? ''
  const digest = written.trim().toLowerCase()
  const out = (found: FindingName, detail: string | null) => ({
    customer: null,
    findings: [
      finding(found, row, { customer: name, hash: SHA256_HEX.test(digest) ? digest : null, detail }),
    ],
  })
  const nul = Object.entries(cells).find(([, text]) => text?.includes('\0'))
  if (nul !== undefined) return out('nul_byte', `in ${nul[0]}`)
  const fault = hashFault(digest)
  if (fault !== null) return out(...fault)
  const { sk, sck, maintenance, status1_text: status1Text } = cells
  const unfit = textFault({ name, sk, sck, maintenance, status1Text })
  if (unfit !== null) return out('text_unfit', unfit)
  const expiry = expiryOf(readTime(cells.expiry_date, times.expiry_date ?? 'local'), rules)
  if (typeof expiry === 'string')
    return out(expiry, expiry === 'expiry_missing' ? null : shownDate(cells.expiry_date))
  const { expiresAtMs, isUndated } = expiry
  const { lastSeenMs, isUnfit } = lastSeenOf(readTime(cells.last_login, times.last_login ?? 'local'), rules)
  const note = (found: FindingName, detail: string | null = null) =>
    finding(found, row, { customer: name, hash: digest, detail })
  const findings = [
    ...(isUndated ? [note('undated')] : []),
    ...(expiresAtMs !== null && expiresAtMs <= nowMs
      ? [note('expired', new Date(expiresAtMs).toISOString())]
      : []),
    ...(isUnfit ? [note('last_login_unfit', shownDate(cells.last_login))] : []),
    ...(written === digest ? [] : [note('hash_normalised')]),
  ]
  return {
    customer: { row, digest, name, expiresAtMs, lastSeenMs, sk, sck, maintenance, status1Text },
    findings,
  }
}
