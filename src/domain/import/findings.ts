/** What a finding means for its row: it is, or would be, in Kunci; it is not; or something beside its outcome. */
export type FindingKind = 'in' | 'out' | 'note' | 'session_key'

/** All that an import can say of rows, in the order of its report. */
export type FindingTable<N extends string> = Readonly<
  Record<N, readonly [kind: FindingKind, meaning: string]>
>

/** A line of the report of any import. */
export type Line<N extends string = string> = {
  readonly finding: N
  /** As the source counts rows. */
  readonly row: number
  readonly detail: string | null
}

/** What can be said of a customer's row, and of a session key's. */
export const FINDINGS = {
  imported: ['in', 'Imported'],
  known: ['in', 'In Kunci already, and the same'],
  differs: ['in', 'In Kunci already, but not as the old server has it now; nothing was changed'],
  duplicate: ['in', 'The same machine as another row, which ends later or comes first and is the one taken'],
  hash_missing: ['out', 'Left out: hwid_encrypted is empty'],
  hash_plain: ['out', 'Left out: hwid_encrypted looks like a hardware id in the clear, not its SHA-256'],
  hash_malformed: ['out', 'Left out: hwid_encrypted is no SHA-256 in 64 hex characters'],
  expiry_missing: ['out', 'Left out: expiry_date is empty (say --undated never, or --undated YYYY-MM-DD)'],
  expiry_unreadable: ['out', 'Left out: expiry_date is no date written YYYY-MM-DD[ HH:MM:SS]'],
  expiry_nonexistent: ['out', 'Left out: the clocks of the time zone never showed this expiry_date'],
  expiry_ambiguous: ['out', 'Left out: the clocks of the time zone showed this expiry_date twice'],
  text_unfit: ['out', 'Left out: a text that Kunci cannot keep'],
  cell_count: ['out', 'Left out: too few or too many cells'],
  not_utf8: ['out', 'Left out: characters that are not UTF-8'],
  nul_byte: ['out', 'Left out: a NUL byte'],
  expired: ['note', 'Note: the licence has expired'],
  undated: ['note', 'Note: expiry_date is empty; --undated says what it is taken for'],
  last_login_unfit: ['note', 'Note: last_login is no date in the past, and is not carried over'],
  hash_normalised: ['note', 'Note: hwid_encrypted has capitals or spaces around it'],
  may_be_cut: [
    'note',
    'Note: the file ends in this row without a line break; see that its last cell is whole',
  ],
  same_customer: ['note', 'Note: the name is that of an earlier row too'],
  session_key_imported: ['session_key', 'Session keys: brought over'],
  session_key_known: ['session_key', 'Session keys: there already'],
  session_key_expired: ['session_key', 'Session keys: expired, left behind'],
  session_key_unfit: ['session_key', 'Session keys: no key of the old server, left behind'],
} as const satisfies FindingTable<string>

export type FindingName = keyof typeof FINDINGS

/** A line of the report. */
export type Finding = Line<FindingName> & {
  readonly customer: string | null
  /** The first eight hex of the old hash, or the first eight characters of a session id. */
  readonly hash: string | null
  readonly licenceId: string | null
}

const CUSTOMER_MAX = 64

/** A finding about a row of which little may be known. */
export function finding(
  name: FindingName,
  row: number,
  facts: Partial<Pick<Finding, 'customer' | 'hash' | 'licenceId' | 'detail'>> = {},
): Finding {
  const { customer = null, hash = null, licenceId = null, detail = null } = facts
  const shown =
    customer !== null && customer.length > CUSTOMER_MAX ? `${customer.slice(0, CUSTOMER_MAX)}…` : customer
  return { finding: name, row, customer: shown, hash: hash?.slice(0, 8) ?? null, licenceId, detail }
}
