import { enrolDevice, type NewEnrolment, releaseDevice, seenTogether } from './devices.ts'
import { Coalescer } from './engine/coalescer.ts'
import {
  type Database,
  DuplicateKeyError,
  insertMany,
  paddedList,
  placeholders,
  type Reader,
  type Session,
  type Statement,
} from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'
import { type NewLease, putLease } from './leases.ts'
import { changeSeat, type SeatChange } from './seats.ts'
import { closeSession } from './session-keys.ts'

/** A message of a sealed session, claimed by session and number, with the reply that its retries get again. */
export type Message = {
  readonly sessionId: string
  readonly seq: number
  /** base64url of 32 bytes. */
  readonly requestHash: string
  /** Salt and box in base64url, with a dot between. */
  readonly reply: string
  readonly expiresAtMs: number
}

/** What an operation answered, by the nonce that names it in whatever session it is asked for again. */
export type Idempotent = {
  readonly scope: string
  readonly nonce: string
  readonly op: string
  readonly result: string
  readonly createdAtMs: number
}

/** Everything that a message brings about, its claim and its reply included. */
export type MessageRecord = {
  readonly message: Message
  readonly events: readonly EventRow[]
  readonly seenDevice?: { readonly id: string; readonly atMs: number } | undefined
  readonly enrol?: NewEnrolment | undefined
  /** The binding of the old contract that makes way. */
  readonly release?: { readonly id: string; readonly atMs: number } | undefined
  /** In this order: a seat is left before it is taken. */
  readonly seats?: readonly SeatChange[] | undefined
  readonly lease?: NewLease | undefined
  readonly idempotent?: Idempotent | undefined
  /** Ends the session of the message as of this time. */
  readonly closeAtMs?: number | undefined
}

/**
 * `duplicate`: this number of the session is claimed already. `overtaken`: what was decided rests on what another
 * message has changed meanwhile. `repeated`: this nonce was answered already.
 */
export type MessageOutcome = 'recorded' | 'duplicate' | 'overtaken' | 'repeated'

export type MessageStore = {
  /** Writes a message whole or not at all, and settles once it is committed. A duplicate undoes its own effects alone. */
  record(record: MessageRecord): Promise<MessageOutcome>
  find(sessionId: string, seq: number): Promise<Pick<Message, 'requestHash' | 'reply'> | null>
  findIdempotent(scope: string, nonce: string): Promise<Pick<Idempotent, 'op' | 'result'> | null>
  /** Removes up to `limit` messages whose sessions expired before the given time. @returns how many went. */
  removeExpired(beforeMs: number, limit: number): Promise<number>
  /** Removes what was answered before the given time. */
  removeIdempotent(beforeMs: number): Promise<number>
}

const BATCH_MAX = 64

class Refused extends Error {
  readonly outcome: MessageOutcome
  constructor(outcome: MessageOutcome) {
    super(outcome)
    this.outcome = outcome
  }
}

function insertMessages(messages: readonly Message[]): Statement {
  return insertMany(
    'kunci_session_messages',
    ['session_id', 'seq', 'request_hash', 'reply', 'expires_at_ms'],
    messages.map(({ sessionId, seq, requestHash, reply, expiresAtMs }) => [
      sessionId,
      seq,
      requestHash,
      reply,
      expiresAtMs,
    ]),
  )
}

function inOneOrder({ message: a }: MessageRecord, { message: b }: MessageRecord): number {
  return a.sessionId === b.sessionId ? a.seq - b.seq : a.sessionId < b.sessionId ? -1 : 1
}

/** Messages without effects that could be refused. One claim that is taken fails the batch, and each is then alone. */
async function recordTogether(db: Database, records: readonly MessageRecord[]): Promise<MessageOutcome[]> {
  // In one order, so that two batches which share claims or devices do not wait for each other in a circle.
  const sorted = [...records].sort(inOneOrder)
  const events = records.flatMap((record) => record.events)
  const seen = records.flatMap(({ seenDevice }) => seenDevice ?? [])
  await db.batch([
    insertMessages(sorted.map(({ message }) => message)),
    ...(events.length > 0 ? [insertEvents(events)] : []),
    ...(seen.length > 0 ? [seenTogether(seen)] : []),
  ])
  return records.map(() => 'recorded')
}

/** Runs one step of a transaction; a key that is there already means what `outcome` says. */
async function step(outcome: MessageOutcome, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw error instanceof DuplicateKeyError ? new Refused(outcome) : error
  }
}

async function runAlone(tx: Session, record: MessageRecord): Promise<void> {
  const { message, events, seenDevice, enrol, release, seats, lease, idempotent, closeAtMs } = record
  await step('duplicate', () => tx.run(...insertMessages([message])))
  if (idempotent !== undefined) await step('repeated', () => tx.run(...insertIdempotent(idempotent)))
  if (enrol !== undefined) await step('overtaken', () => enrolDevice(tx, enrol))
  if (release !== undefined)
    await step('overtaken', async () => {
      if ((await tx.run(...releaseDevice(release.id, release.atMs))) !== 1) throw new Refused('overtaken')
    })
  for (const change of seats ?? [])
    await step('overtaken', async () => {
      if (!(await changeSeat(tx, change))) throw new Refused('overtaken')
    })
  if (lease !== undefined)
    await step('overtaken', async () => {
      if (!(await putLease(tx, lease))) throw new Refused('overtaken')
    })
  if (seenDevice !== undefined) await tx.run(...seenTogether([seenDevice]))
  if (closeAtMs !== undefined) await tx.run(...closeSession(message.sessionId, closeAtMs))
  if (events.length > 0) await tx.run(...insertEvents(events))
}

async function recordAlone(db: Database, record: MessageRecord): Promise<MessageOutcome> {
  try {
    await db.transaction((tx) => runAlone(tx, record))
    return 'recorded'
  } catch (error) {
    if (error instanceof Refused) return error.outcome
    throw error
  }
}

function insertIdempotent({ scope, nonce, op, result, createdAtMs }: Idempotent): Statement {
  return insertMany(
    'kunci_idempotency',
    ['scope', 'nonce', 'op', 'result', 'created_at_ms'],
    [[scope, nonce, op, result, createdAtMs]],
  )
}

function isPlain({ enrol, release, seats, lease, idempotent, closeAtMs }: MessageRecord): boolean {
  return [enrol, release, seats?.[0], lease, idempotent, closeAtMs].every((effect) => effect === undefined)
}

async function claimTogether(
  together: Coalescer<MessageRecord, MessageOutcome>,
  record: MessageRecord,
): Promise<MessageOutcome> {
  try {
    return await together.submit(record)
  } catch (error) {
    if (error instanceof DuplicateKeyError) return 'duplicate'
    throw error
  }
}

export function messageStore(db: Database): MessageStore {
  const together = new Coalescer<MessageRecord, MessageOutcome>((records) => recordTogether(db, records), {
    maxItems: BATCH_MAX,
    lanes: 1,
  })
  return {
    record: (record) => (isPlain(record) ? claimTogether(together, record) : recordAlone(db, record)),
    find: async (sessionId, seq) => {
      // Whoever asks may have been answered by another node a moment ago.
      const all: Reader['all'] = db.allCaughtUp ?? ((sql, params) => db.all(sql, params))
      const [row] = await all<{ request_hash: string; reply: string }>(
        'SELECT request_hash, reply FROM kunci_session_messages WHERE session_id = ? AND seq = ?',
        [sessionId, seq],
      )
      return row === undefined ? null : { requestHash: row.request_hash, reply: row.reply }
    },
    findIdempotent: async (scope, nonce) => {
      const [row] = await db.all<{ op: string; result: string }>(
        'SELECT op, result FROM kunci_idempotency WHERE scope = ? AND nonce = ?',
        [scope, nonce],
      )
      return row ?? null
    },
    removeExpired: async (beforeMs, limit) => {
      // By session and number, as MySQL deletes with LIMIT and SQLite does not.
      const rows = await db.all<{ session_id: string; seq: number }>(
        `SELECT session_id, seq FROM kunci_session_messages WHERE expires_at_ms < ?
         ORDER BY expires_at_ms LIMIT ${Math.floor(limit)}`,
        [beforeMs],
      )
      const gone = paddedList([...new Set(rows.map(({ session_id: id }) => id))])
      if (rows.length > 0)
        await db.run(
          `DELETE FROM kunci_session_messages
           WHERE session_id IN (${placeholders(gone.length)}) AND expires_at_ms < ?`,
          [...gone, beforeMs],
        )
      return rows.length
    },
    removeIdempotent: (beforeMs) =>
      db.run('DELETE FROM kunci_idempotency WHERE created_at_ms < ?', [beforeMs]),
  }
}
