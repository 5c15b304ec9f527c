import {
  enrolLegacyDevices,
  insertComponents,
  type NewComponent,
  type NewDevice,
  seenTogether,
} from './devices.ts'
import { Coalescer } from './engine/coalescer.ts'
import { type Database, DuplicateKeyError, type Session, type Statement } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'
import { endSession } from './session-keys.ts'

/** What a decided check leaves behind. */
export type CheckRecord = {
  readonly event: EventRow
  /** A known device that was seen; its `last_seen_ms` is moved to the event's time. */
  readonly seenDeviceId?: string | undefined
  readonly enrol?: NewDevice | undefined
  /** A component that a device in the old contract's slot is known by from now on. */
  readonly learn?: NewComponent | undefined
  /** The session key that this check uses up. */
  readonly endSessionId?: string | undefined
}

export type CheckOutcome = 'recorded' | 'session_over' | 'device_taken'

export type CheckStore = {
  /**
   * Writes a check whole or not at all, and settles once it is committed. The database decides races: `session_over`
   * when another check used the session key up first, `device_taken` when another one enrolled the machine or another
   * machine first, or the device was released meanwhile.
   */
  record(check: CheckRecord): Promise<CheckOutcome>
}

const BATCH_MAX = 64

class SessionOver extends Error {}
class DeviceReleased extends Error {}

/** Components are for devices in use only: one that was released a moment ago is nobody's any more. */
async function learnComponent(tx: Session, component: NewComponent): Promise<void> {
  const bound = await tx.run('UPDATE kunci_devices SET last_seen_ms = ? WHERE id = ? AND slot_no = 0', [
    component.firstSeenMs,
    component.deviceId,
  ])
  if (bound !== 1) throw new DeviceReleased()
  await tx.run(...insertComponents([component]))
}

async function recordTogether(db: Database, checks: readonly CheckRecord[]): Promise<CheckOutcome[]> {
  const statements: Statement[] = [insertEvents(checks.map(({ event }) => event))]
  const seen = checks.flatMap(({ seenDeviceId: id, event: { atMs } }) =>
    id === undefined ? [] : { id, atMs },
  )
  if (seen.length > 0) statements.push(seenTogether(seen))
  await db.batch(statements)
  return checks.map(() => 'recorded')
}

async function recordAlone(
  db: Database,
  { event, enrol, learn, endSessionId }: CheckRecord,
): Promise<CheckOutcome> {
  try {
    await db.transaction(async (tx) => {
      if (endSessionId !== undefined) {
        const ended = await tx.run(...endSession(endSessionId, event.atMs))
        if (ended !== 1) throw new SessionOver()
      }
      for (const statement of enrol === undefined ? [] : enrolLegacyDevices([enrol]))
        await tx.run(...statement)
      if (learn !== undefined) await learnComponent(tx, learn)
      await tx.run(...insertEvents([event]))
    })
    return 'recorded'
  } catch (error) {
    if (error instanceof SessionOver) return 'session_over'
    if (error instanceof DuplicateKeyError || error instanceof DeviceReleased) return 'device_taken'
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
      check.enrol === undefined && check.learn === undefined && check.endSessionId === undefined
        ? together.submit(check)
        : recordAlone(db, check),
  }
}
