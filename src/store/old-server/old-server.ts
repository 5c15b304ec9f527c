import type { OldTable } from './old-table.ts'

export const CUSTOMER_COLUMNS = [
  'Nama',
  'hwid_encrypted',
  'expiry_date',
  'sk',
  'sck',
  'maintenance',
  'status1_text',
  'last_login',
] as const
export type CustomerColumn = (typeof CUSTOMER_COLUMNS)[number]

/** Columns that need not be there. */
export const OPTIONAL_COLUMNS: ReadonlySet<string> = new Set(['last_login'])
/** Columns that may be there and are not read. */
export const UNREAD_COLUMNS: ReadonlySet<string> = new Set(['id', 'counter'])

export const SESSION_KEY_COLUMNS = [
  'session_id',
  'session_key',
  'session_iv',
  'client_ip',
  'created_at',
  'expires_at',
] as const
export type SessionKeyColumn = (typeof SESSION_KEY_COLUMNS)[number]

export type OldServer = {
  /** The tables are read one after the other, each once. */
  readonly customers: OldTable<CustomerColumn>
  /** `null` where there are none to be read; a note says why. */
  readonly sessionKeys: OldTable<SessionKeyColumn> | null
  /** What an operator should know about the way it is read. */
  readonly notes: readonly string[]
  close(): Promise<void>
}
