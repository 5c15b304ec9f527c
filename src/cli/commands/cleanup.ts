import { command } from '../command.ts'

const sessionKeys = command({
  path: ['cleanup', 'session-keys'],
  summary: 'Removes expired session keys by hand; normally the database or the server does it each minute.',
  options: {},
  positionals: [],
  example: 'kunci cleanup session-keys',
  run: ({ withApp }) =>
    withApp(async (app) => {
      const removed = await app.cleanup.run()
      return { data: { removed }, text: `Removed ${removed} expired session keys.` }
    }),
})

const userSessions = command({
  path: ['cleanup', 'user-sessions'],
  summary:
    "Writes down the end of users' sessions that are over, and removes old history; the server does it each minute.",
  options: { 'dry-run': { doc: 'Says how many are over, and changes nothing.' } },
  positionals: [],
  example: 'kunci cleanup user-sessions --dry-run',
  run: ({ args, withApp }) =>
    withApp(async ({ sessionExpiry }) => {
      if (args['dry-run']) {
        const overdue = await sessionExpiry.countOverdue()
        return {
          data: { overdue, ended: 0, removed: 0 },
          text: `Sessions that are over: ${overdue}. Nothing was changed.`,
        }
      }
      const ended = await sessionExpiry.endOverdue()
      const removed = await sessionExpiry.removeHistory()
      return {
        data: { overdue: ended, ended, removed },
        text: `Sessions ended: ${ended}. Removed from the history: ${removed}.`,
      }
    }),
})

export const cleanupCommands = [sessionKeys, userSessions]
