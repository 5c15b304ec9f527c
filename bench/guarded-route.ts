/**
 * Kunci with one more route, which is there twice and answers the same: at /open for anybody, at /guarded for those who
 * are signed in. What is between them is the price of the door.
 */
import { createApp } from '../src/app.ts'
import { beginYoung } from '../src/cli/serving/young-objects.ts'
import { loadConfig } from '../src/config.ts'
import { userDoor } from '../src/http/doors.ts'
import { createServer } from '../src/http/server.ts'
import { createSessionTokens } from '../src/http/session-tokens.ts'
import { createLogger } from '../src/log.ts'

const text = { type: 'string' } as const
const schema = { response: { 200: { type: 'object', properties: { status: text, message: text } } } } as const
const ANSWER = { status: 'success', message: 'Hello' }

beginYoung()
const config = loadConfig(process.env)
const app = await createApp(config, { logger: createLogger(config.logLevel) })
const server = await createServer(app)
server.get('/open', { schema }, async () => ANSWER)
server.register(async (scope) => {
  userDoor(scope, app, createSessionTokens(app))
  scope.get('/guarded', { schema }, async () => ANSWER)
})
process.once('SIGTERM', async () => {
  await server.close()
  await app.close()
})
await server.listen({ host: '127.0.0.1', port: config.port })
