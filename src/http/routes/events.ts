import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { App } from '../../app.ts'
import { eventView } from '../../domain/events.ts'
import { CountersReply, ErrorReply, EventsQuery, EventsReply } from '../../wire/service.ts'

const refusals = { 400: ErrorReply, 401: ErrorReply, 429: ErrorReply, 503: ErrorReply }
const common = { tags: ['operators'], security: [{ operator: [] }] }

/** What operators read: the record, and the counters of this process. */
export function eventRoutes(app: App) {
  return async (scope: FastifyInstance): Promise<void> => {
    const listSchema = {
      ...common,
      summary: 'The newest events, oldest first',
      querystring: EventsQuery,
      response: { 200: EventsReply, ...refusals },
    }
    scope.get<{ Querystring: Static<typeof EventsQuery> }>(
      '/events',
      { schema: listSchema },
      async ({ query }) => {
        const { type, support_code: supportCode, licence_id: licenceId, limit = 100 } = query
        const events = await app.events.list({ type, supportCode, licenceId, limit })
        return { events: events.map(eventView) }
      },
    )

    const countersSchema = {
      ...common,
      summary: 'How often each thing happened in this process',
      response: { 200: CountersReply, ...refusals },
    }
    scope.get('/counters', { schema: countersSchema }, async () => ({ counters: app.counters.all() }))
  }
}
