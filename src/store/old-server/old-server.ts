/**
 * What an old server kept, row by row as it stands there. Nothing in it is judged here but what keeps a row from being
 * read at all.
 */

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

/** What a time stands for: local time as text, an instant as text in UTC, or whole seconds since 1970. */
export type TimeKind = 'local' | 'instant' | 'unix'

/** Why the cells of a row cannot be read. */
export type RowFault = 'cell_count' | 'not_utf8'

export type OldRow<C extends string> = {
  /** As an operator finds it again: the line of the file, or the place in the order of reading. */
  readonly row: number
  /** The source ends in this row, and nothing says that its last cell is whole. */
  readonly mayBeCut?: boolean
} & (
  | { readonly cells: Readonly<Record<C, string | null>> }
  | { readonly fault: RowFault; readonly detail: string }
)

export type OldTable<C extends string> = {
  readonly rows: AsyncIterable<OldRow<C>>
  /** How each column of times is written; `local` where nothing is said. */
  readonly times: Readonly<Partial<Record<C, TimeKind>>>
  /** How much has been read, from 0 to 1. */
  readonly progress: () => number
}

export type OldServer = {
  /** The tables are read one after the other, each once. */
  readonly customers: OldTable<CustomerColumn>
  /** `null` where there are none to be read; a note says why. */
  readonly sessionKeys: OldTable<SessionKeyColumn> | null
  /** What an operator should know about the way it is read. */
  readonly notes: readonly string[]
  close(): Promise<void>
}
