import { advice, command, sql } from '../remedy.ts'
import { type CleanupEvent, maySeeEvents, readCleanupEvent } from '../store/engine/cleanup-event.ts'
import { accountExists, type ServerFacts } from '../store/inspection/server.ts'
import { countOverdue, EVENT_SILENCE_MAX_S } from '../store/session-keys.ts'
import { type Finding, notChecked, ok, warning } from './finding.ts'
import type { Connected, Room } from './patient.ts'

/** A row goes a minute after its end and the cleaning runs each minute: what is older was overlooked for long. */
const OVERDUE_MS = 5 * 60_000
const COUNTED_MAX = 10_000
const SERVER_DOES_IT =
  'The database does not remove expired session keys by itself: the server does it each minute while it runs.'

function schedulerFinding(eventScheduler: string | null): Finding {
  const id = 'cleanup.scheduler'
  if (eventScheduler === null) return notChecked(id, 'the server does not say whether it runs EVENTs')
  if (eventScheduler === 'ON') return ok(id, 'event_scheduler is ON.')
  return warning(
    id,
    `event_scheduler is ${eventScheduler}.`,
    SERVER_DOES_IT,
    eventScheduler === 'DISABLED'
      ? [
          advice(
            'In the configuration of the database server, under [mysqld], and with a restart of it: event_scheduler = ON',
          ),
        ]
      : [
          sql('SET GLOBAL event_scheduler = ON;'),
          advice('And for its next start, in its configuration under [mysqld]: event_scheduler = ON'),
        ],
  )
}

function eventFinding(event: CleanupEvent | null): Finding {
  const id = 'cleanup.event'
  if (event === null)
    return warning(id, 'There is no EVENT cleanup_expired_sessions.', SERVER_DOES_IT, [
      command('kunci migrate'),
    ])
  if (!event.isCurrent)
    return warning(
      id,
      'The EVENT cleanup_expired_sessions does something else, or at other times, than that of this version.',
      'Expired session keys may stay for long, or the tables of this version may not be cleaned.',
      [advice('Put that of this version in its place:'), command('kunci migrate')],
    )
  if (event.isEnabled) return ok(id, 'The EVENT cleanup_expired_sessions is there and enabled.')
  return warning(
    id,
    'The EVENT cleanup_expired_sessions is disabled here.',
    `${SERVER_DOES_IT} In a cluster it runs on one node only, and is disabled everywhere once that node was replaced.`,
    [sql('ALTER EVENT cleanup_expired_sessions ENABLE;')],
  )
}

async function definerFinding(
  db: Connected,
  event: CleanupEvent,
  login: CleanupEvent['definer'],
): Promise<Finding> {
  const id = 'cleanup.definer'
  const { user, host } = event.definer
  const isOwn = user === login.user && host === login.host
  const exists = isOwn || (await accountExists(db, user, host))
  if (exists === null)
    return notChecked(id, `this login may not see whether there is an account ${user}@${host}`)
  if (exists) return ok(id, `It runs as ${user}@${host}.`)
  return warning(
    id,
    `The EVENT runs as ${user}@${host}, and there is no such account any more.`,
    `Every run of it fails, in the error log only. ${SERVER_DOES_IT}`,
    [advice('Have it made anew, as the login of DATABASE_URL:'), command('kunci migrate')],
  )
}

function lastRunFinding({ silentS, isEnabled }: CleanupEvent, scheduler: string | null): Finding {
  const id = 'cleanup.last_run'
  if (scheduler === null) return notChecked(id, 'the server does not say whether it runs EVENTs')
  if (scheduler !== 'ON') return notChecked(id, 'event_scheduler is off')
  if (!isEnabled) return notChecked(id, 'the EVENT is disabled')
  if (silentS < EVENT_SILENCE_MAX_S)
    return ok(id, `It ran, or was made, ${Math.max(0, silentS)} seconds ago.`)
  return warning(
    id,
    `The EVENT is enabled but has not run for ${Math.round(silentS / 60)} minutes.`,
    SERVER_DOES_IT,
    [advice('Have it made anew; in a cluster, on one node:'), command('kunci migrate')],
  )
}

/** @param nowMs by the clock that sessions live by. */
async function backlogFinding(db: Connected, nowMs: number): Promise<Finding> {
  const id = 'cleanup.backlog'
  const overdue = await countOverdue(db, nowMs - OVERDUE_MS, COUNTED_MAX)
  if (overdue === 0) return ok(id, 'No session keys that expired more than five minutes ago are left.')
  const count = overdue === COUNTED_MAX ? `At least ${overdue}` : String(overdue)
  return warning(
    id,
    `${count} session keys expired more than five minutes ago and are still there.`,
    'Nothing removes them, or no server has run for a while. They open nothing, but the table grows.',
    [command('kunci cleanup session-keys')],
  )
}

const OF_EVENT = ['cleanup.event', 'cleanup.definer', 'cleanup.last_run']

async function eventFindings(db: Connected, { account, eventScheduler }: ServerFacts): Promise<Finding[]> {
  if (!(await maySeeEvents(db))) return OF_EVENT.map((id) => notChecked(id, 'this login may not see EVENTs'))
  const event = await readCleanupEvent(db)
  const found = eventFinding(event)
  if (event === null) return [found, ...OF_EVENT.slice(1).map((id) => notChecked(id, 'there is no EVENT'))]
  return [found, await definerFinding(db, event, account), lastRunFinding(event, eventScheduler)]
}

export const schedulerRoom: Room = {
  ids: () => ['cleanup.scheduler'],
  needs: 'server',
  look: async (_db, { eventScheduler }) => [schedulerFinding(eventScheduler)],
}

export const cleanupEventRoom: Room = {
  ids: (dialect) => (dialect === 'mysql' ? OF_EVENT : []),
  needs: 'database',
  look: async (db, _patient, facts) => (facts === null ? [] : eventFindings(db, facts)),
}

export const backlogRoom: Room = {
  ids: () => ['cleanup.backlog'],
  needs: 'database',
  look: async (db, { clock }) => [await backlogFinding(db, (db.clock ?? clock)())],
}
