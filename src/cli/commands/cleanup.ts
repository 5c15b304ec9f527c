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

export const cleanupCommands = [sessionKeys]
