import { isIP } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { App } from '../app.ts'
import { supportCodeOf } from '../domain/ids.ts'
import { Slots } from '../slots.ts'
import { answerHeaders } from './headers.ts'

/** What a request leaves in its one log line and in the counters, beside method, route and status. */
export type Facts = {
  /** What happened, such as `session_key.handed_out`. */
  outcome?: string
  /** The first 8 hex of SHA-256 of the session id: enough to follow a session through the log. */
  session?: string
  /** What the operator should know and the caller not, such as which setting to mend. */
  detail?: string | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    facts: Facts
    /** The caller's, as it is limited, stored and logged: read once, while the connection is sure to have one. */
    address: string
  }
}

/** What stands for an address that is none, as a proxy can forward any text. */
const UNKNOWN = 'unknown'
/** nginx's status for a client that hung up before its reply. */
const CLIENT_GONE = 499

/** The caller's address as it is stored: IPv4 that came mapped into IPv6 is IPv4, and a zone is cut off. */
function addressOf(request: FastifyRequest): string {
  // The system forgets whose a connection was when the caller resets it before we ask.
  const ip: string = request.ip ?? UNKNOWN
  if (isIP(ip) === 4) return ip
  // Some proxies write a port behind the address they forward, and brackets around it.
  const [, bracketed, plain = ''] = /^(?:\[(.+)\](?::\d+)?|(.+?)(?:(?<=\.\d+):\d+)?)$/.exec(ip) ?? []
  const [address = ''] = (bracketed ?? plain).replace(/^::ffff:(?=.*\.)/i, '').split('%')
  return isIP(address) === 0 ? UNKNOWN : address
}

/** Every request from its first hook until its reply is sent or nobody waits for it any more. */
export type Requests = ReturnType<typeof trackRequests>

/** Gives each request its id, its address and its headers, writes its one log line, and knows which are unanswered. */
export function trackRequests(app: App) {
  const headers = answerHeaders(app.config)
  const unanswered = new Slots<FastifyReply>()
  let onAllAnswered = (): void => undefined

  function begin(request: FastifyRequest, reply: FastifyReply): void {
    request.facts = {}
    request.address = addressOf(request)
    reply.header('x-request-id', request.id).headers(headers)
    const place = unanswered.add(reply)
    reply.raw.once('close', () => {
      unanswered.take(place)
      end(request, reply)
    })
  }

  function end(request: FastifyRequest, reply: FastifyReply): void {
    // Who hangs up gets no reply, and what he asked for may be done all the same: it needs its line no less.
    const isSent = reply.raw.writableFinished
    const { outcome = 'answered', ...facts } = isSent
      ? request.facts
      : { ...request.facts, outcome: 'client_gone' }
    const status = isSent ? reply.statusCode : CLIENT_GONE
    app.counters.add(outcome === 'answered' ? `http.${status}` : outcome)
    app.logger.info({
      event: 'http.request',
      request_id: request.id,
      support_code: supportCodeOf(request.id),
      method: request.method,
      // The pattern, never the URL: what a client puts into a query is not ours to keep.
      route: request.routeOptions.url ?? 'unknown',
      status,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      address: request.address,
      outcome,
      ...facts,
    })
    if (unanswered.size === 0) onAllAnswered()
  }

  return {
    begin,
    unanswered: unanswered as Pick<Slots<FastifyReply>, 'all' | 'size'>,
    /** Calls `listener` each time the last unanswered request ends. */
    whenAllAnswered: (listener: () => void): void => {
      onAllAnswered = listener
    },
  }
}

/** Begins every request that Fastify finds a route for, or answers with 404. */
export function followRequests(server: FastifyInstance, { begin }: Requests): void {
  server.decorateRequest('facts')
  server.decorateRequest('address', UNKNOWN)
  server.addHook('onRequest', (request, reply, done) => {
    begin(request, reply)
    done()
  })
}
