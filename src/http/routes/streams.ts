import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import type { App } from '../../app.ts'
import { TICKET_TTL_S } from '../../domain/streams/tickets.ts'
import { AppError } from '../../errors.ts'
import { ErrorReply } from '../../wire/service.ts'
import {
  PollQuery,
  PollReply,
  StreamHeaders,
  StreamQuery,
  StreamReply,
  StreamTicketReply,
} from '../../wire/streams.ts'
import { eventStream } from '../event-stream.ts'

const refusals = { 401: ErrorReply, 429: ErrorReply, 503: ErrorReply }
const common = { tags: ['streams'], security: [{ user: [] }] }

/** `null` for what is no position: whoever sends it is told how things are. */
function lastEventId({ headers }: FastifyRequest): number | null {
  const text = headers['last-event-id']
  return typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : null
}

/** `GET /events`, the stream itself. */
export function streamRoutes(app: App) {
  return async (scope: FastifyInstance): Promise<void> => {
    scope.addHook('preClose', async () => app.streams.close())
    const schema = {
      ...common,
      summary: 'What happens, as it happens: Server-Sent Events',
      querystring: StreamQuery,
      headers: StreamHeaders,
      response: {
        200: { content: { 'text/event-stream': { schema: StreamReply } } },
        204: Type.Null({ description: 'The session of this ticket is over: do not come back.' }),
        ...refusals,
      },
    }
    scope.get('/events', { schema }, async (request, reply) => {
      const { signedIn: session, streamTicket: ticket } = request
      const stream = app.streams.open({ kind: 'stream', session, ticket, after: lastEventId(request) })
      request.facts.outcome = 'stream.ended'
      reply.raw.once('close', stream.close)
      await stream.begin(() => eventStream(reply))
      return reply
    })
  }
}

/** What it takes to open a stream, and the same for those who cannot read one. */
export function streamAccessRoutes(app: App) {
  return async (scope: FastifyInstance): Promise<void> => {
    const ticketSchema = {
      ...common,
      summary: 'A ticket that opens one stream, to stand in its URL',
      response: { 200: StreamTicketReply, ...refusals },
    }
    scope.post('/events/ticket', { schema: ticketSchema }, async ({ signedIn }) => {
      if (!app.limits.allows('stream_ticket', signedIn.sessionId)) throw new AppError('too_many_requests')
      const ticket = await app.streamTickets.create(signedIn)
      const url = `${scope.prefix}/events?ticket=${ticket}`
      return { success: true, data: { ticket, expiresIn: TICKET_TTL_S, url } }
    })

    const pollSchema = {
      ...common,
      summary: 'What happened since, or what happens next',
      querystring: PollQuery,
      response: { 200: PollReply, 400: ErrorReply, ...refusals },
    }
    scope.get<{ Querystring: Static<typeof PollQuery> }>(
      '/events/poll',
      { schema: pollSchema },
      async ({ signedIn: session, query }, reply) => {
        const { after = null, wait = 25 } = query
        const gone = new AbortController()
        reply.raw.once('close', () => gone.abort())
        return { success: true, data: await app.poll({ session, after, waitMs: wait * 1000 }, gone.signal) }
      },
    )
  }
}
