import type { SealedSuite } from '../../crypto/suites.ts'
import type { MessageRecord } from '../../store/messages.ts'

export const MINUTE_S = 60

/** Whose message it is. */
export type Caller = {
  readonly suite: SealedSuite
  readonly sessionId: string
  readonly address: string
  /** Where the session was begun from. */
  readonly sessionAddress: string
  readonly supportCode: string
  /** base64url of 16 bytes: the same when the client asks again in another session. */
  readonly nonce: string
}

/** What a message brings about, beside its claim and its reply. */
export type Effects = Omit<MessageRecord, 'message'>

/** What stands in the box of a reply. */
export type Answer = {
  readonly status: number
  readonly code: string
  readonly data: Readonly<Record<string, unknown>>
}

export type Answered = {
  readonly kind: 'answered'
  readonly answer: Answer
  /** Committed with the answer, and retries get it again; `null`: nothing is kept, and the same bytes may be sent again. */
  readonly effects: Effects | null
  /** What is counted once for a message, however often it is sent. */
  readonly onceRecorded?: () => Promise<void>
}

/** `foreign_address`: the session is not good from where it is used. */
export type Outcome = Answered | { readonly kind: 'foreign_address' }

export function answered(data: Answer['data'], effects: Effects): Answered {
  return { kind: 'answered', answer: { status: 200, code: 'ok', data }, effects }
}

export function refused(status: number, code: string, effects: Effects | null = { events: [] }): Answered {
  return { kind: 'answered', answer: { status, code, data: {} }, effects }
}

/** Nothing was done: the same bytes may be sent again after so many seconds. */
export function slowDown(retryInS: number): Answered {
  const answer = { status: 429, code: 'slow_down', data: { retry_in: retryInS } }
  return { kind: 'answered', answer, effects: null }
}
