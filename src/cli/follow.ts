import { setTimeout as sleep } from 'node:timers/promises'
import type { App } from '../app.ts'
import { eventIdPrefix } from '../domain/ids.ts'
import { StoreError } from '../errors.ts'
import type { EventFilter, EventRow } from '../store/events.ts'

const POLL_MS = 1000
/** Ids are not the order of commits, and the row of a refusal grows for a minute: so far back each look reaches. */
const OVERLAP_MS = 120_000
/** Most rows that one look reads. */
const LOOK_MAX = 10_000

export type Filter = Omit<EventFilter, 'fromId' | 'limit'>

type Seen = Map<string, number>

/** The rows that are new or have grown since they were last looked at. */
function unseen(rows: readonly EventRow[], seen: Seen): EventRow[] {
  const fresh = rows.filter(({ id, count }) => (seen.get(id) ?? 0) < count)
  for (const { id, count } of rows) seen.set(id, count)
  return fresh
}

function forgetBefore(seen: Seen, fromId: string): void {
  for (const id of seen.keys()) if (id < fromId) seen.delete(id)
}

/**
 * The newest events first of all, then each second those that are new or have grown, until `signal` aborts.
 * @param note is told when something may have been missed.
 */
export async function* followEvents(
  app: Pick<App, 'events' | 'clock'>,
  {
    filter,
    limit,
    signal,
    note,
  }: {
    filter: Filter
    limit: number
    signal: AbortSignal
    note: (text: string) => void
  },
): AsyncGenerator<readonly EventRow[]> {
  const seen: Seen = new Map()
  let lookedAtMs = app.clock()
  let wasFull = false
  const look = async () => {
    const fromId = eventIdPrefix(lookedAtMs - OVERLAP_MS)
    const nowMs = app.clock()
    const rows = await app.events.list({ ...filter, fromId, limit: LOOK_MAX })
    const isFull = rows.length === LOOK_MAX
    if (isFull && !wasFull) note('There are more events than can be followed; filter them to see all.')
    wasFull = isFull
    forgetBefore(seen, fromId)
    lookedAtMs = nowMs
    return unseen(rows, seen)
  }
  // Before the newest ones are read: what is older than those is then not taken for new.
  await look()
  const newest = await app.events.list({ ...filter, limit })
  unseen(newest, seen)
  yield newest
  let isDown = false
  while (await pause(signal)) {
    try {
      yield await look()
      isDown = false
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      if (!isDown) note(`The database does not answer; still trying. ${error.message}`)
      isDown = true
    }
  }
}

/** @returns `false` when it was ended early. */
async function pause(signal: AbortSignal): Promise<boolean> {
  return sleep(POLL_MS, true, { signal }).catch(() => false)
}
