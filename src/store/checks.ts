import { enrolLegacyDevice, type NewDevice } from './devices.ts'
import { Coalescer } from './engine/coalescer.ts'
import {
  type Database,
  DuplicateKeyError,
  paddedList,
  placeholders,
  type Statement,
} from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'
import { endSession } from './session-keys.ts'

/** What a decided check leaves behind. */
export type CheckRecord = {
  readonly event: EventRow
  /** A known device that was seen; its `last_seen_ms` is moved to the event's time. */
  readonly seenDeviceId?: string | undefined
  readonly enrol?: NewDevice | undefined
  /** The session key that this check uses up. */
  readonly endSessionId?: string | undefined
}

export type CheckOutcome = 'recorded' | 'session_over' | 'device_taken'

export type CheckStore = {
  /**
   * Writes a check whole or not at all, and settles once it is committed. The database decides races: `session_over`
   * when another check used the session key up first, `device_taken` when another machine was enrolled first.
   */
  record(check: CheckRecord): Promise<CheckOutcome>
}

const BATCH_MAX = 64

class SessionOver extends Error {}

async function recordTogether(db: Database, checks: readonly CheckRecord[]): Promise<CheckOutcome[]> {
  const statements: Statement[] = [insertEvents(checks.map(({ event }) => event))]
  // In one order, so that two batches that share devices do not wait for each other in a circle.
  const seen = checks.flatMap(({ seenDeviceId }) => seenDeviceId ?? []).sort()
  if (seen.length > 0) {
    const ids = paddedList(seen)
    const atMs = Math.max(...checks.map(({ event }) => event.atMs))
    statements.push([
      `UPDATE kunci_devices SET last_seen_ms = ? WHERE id IN (${placeholders(ids.length)})`,
      [atMs, ...ids],
    ])
  }
  await db.batch(statements)
  return checks.map(() => 'recorded')
}

async function recordAlone(db: Database, { event, enrol, endSessionId }: CheckRecord): Promise<CheckOutcome> {
  try {
    await db.transaction(async (tx) => {
      if (endSessionId !== undefined) {
        const ended = await tx.run(...endSession(endSessionId, event.atMs))
        if (ended !== 1) throw new SessionOver()
      }
      for (const statement of enrol === undefined ? [] : enrolLegacyDevice(enrol)) await tx.run(...statement)
      await tx.run(...insertEvents([event]))
    })
    return 'recorded'
  } catch (error) {
    if (error instanceof SessionOver) return 'session_over'
    if (error instanceof DuplicateKeyError) return 'device_taken'
    throw error
  }
}

export function checkStore(db: Database): CheckStore {
  const together = new Coalescer<CheckRecord, CheckOutcome>((checks) => recordTogether(db, checks), {
    maxItems: BATCH_MAX,
    lanes: 1,
  })
  return {
    record: (check) =>
      check.enrol === undefined && check.endSessionId === undefined
        ? together.submit(check)
        : recordAlone(db, check),
  }
}
