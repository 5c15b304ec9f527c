import type { FindingTable, Line } from './findings.ts'

/** What can be said of a user's row, and of a session's. */
export const USER_FINDINGS = {
  user_imported: ['in', 'Users: imported'],
  user_known: ['in', 'Users: in Kunci already, and the same'],
  user_differs: ['in', 'Users: in Kunci already, but not as they are there; nothing was changed'],
  user_duplicate: [
    'in',
    'Users: the same email as an earlier row, which is the one taken; sessions of both are its',
  ],
  user_unreadable: ['out', 'Users left out: the row cannot be read'],
  user_id_unfit: ['out', 'Users left out: no id, or that of an earlier row'],
  user_email_unfit: ['out', 'Users left out: the email is none'],
  user_password_left: [
    'note',
    'Note: no Argon2id hash to take over, so nobody gets in until "kunci users reset-password"',
  ],
  user_is_operator: ['note', 'Note: is an operator here too; see that it is meant'],
  user_role_unknown: ['note', 'Note: the role is none of user, admin and superadmin; taken for user'],
  user_is_disabled: ['note', 'Note: comes disabled; "kunci users enable" lets him in'],
  user_active_unclear: [
    'note',
    'Note: whether the user is active is neither true nor false; taken for disabled',
  ],
  user_name_changed: ['note', 'Note: the name could not be kept as it is'],
  user_created_unfit: ['note', 'Note: created_at is no date in the past; taken for now'],
  user_id_changed: ['note', 'Note: the id is taken in Kunci, or none of ours; he gets another'],
  user_may_be_cut: ['note', 'Note: the file ends in this user without a line break; see that it is whole'],
  session_imported: ['in', 'Sessions: imported as history, ended'],
  session_known: ['in', 'Sessions: in Kunci already'],
  session_differs: [
    'in',
    'Sessions: in Kunci already, with another time of login; nothing was changed. Was the time zone another one?',
  ],
  session_duplicate: ['in', 'Sessions: the same id as an earlier row, which is the one taken'],
  session_unreadable: ['out', 'Sessions left out: the row cannot be read'],
  session_unfit: ['out', 'Sessions left out: no id, or a time that is none'],
  session_of_nobody: ['out', 'Sessions left out: of a user who is not in Kunci'],
  session_address_left: ['note', 'Note: the IP address is none, and is left empty'],
  session_is_old: ['note', 'Note: ended before SESSION_HISTORY_DAYS; the next clean-up removes it'],
  session_may_be_cut: [
    'note',
    'Note: the file ends in this session without a line break; see that it is whole',
  ],
} as const satisfies FindingTable<string>

export type UserFindingName = keyof typeof USER_FINDINGS

/** A line of the report. */
export type UserFinding = Line<UserFindingName> & {
  readonly email: string | null
  /** Of the user or the session, in the old system. */
  readonly oldId: string | null
  /** Of the user, in Kunci. */
  readonly userId: number | null
}

const SHOWN_MAX = 64

function shown(text: string | null): string | null {
  return text !== null && text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text
}

/** A finding about a row of which little may be known. */
export function userFinding(
  name: UserFindingName,
  row: number,
  facts: Partial<Pick<UserFinding, 'email' | 'oldId' | 'userId' | 'detail'>> = {},
): UserFinding {
  const { email = null, oldId = null, userId = null, detail = null } = facts
  return { finding: name, row, email: shown(email), oldId: shown(oldId), userId, detail }
}
