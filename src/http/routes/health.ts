import type { FastifyInstance } from 'fastify'
import type { App } from '../../app.ts'
import { HealthReply } from '../../wire/service.ts'

/** For load balancers: `live` while the process runs, `ready` while the database answers too. */
export function healthRoutes(app: App) {
  return async (scope: FastifyInstance): Promise<void> => {
    const tags = ['health']
    const live = { tags, summary: 'The process runs', response: { 200: HealthReply } }
    const ready = { tags, summary: 'The database answers', response: { 200: HealthReply, 503: HealthReply } }

    scope.get('/health/live', { schema: live }, async () => ({ status: 'ok' }))

    scope.get('/health/ready', { schema: ready }, async (_request, reply) => {
      try {
        await app.ping()
        return { status: 'ok' }
      } catch (error) {
        app.logger.warn({ event: 'health.not_ready', err: error })
        return reply.code(503).send({ status: 'unavailable' })
      }
    })
  }
}
