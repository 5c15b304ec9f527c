import { isIP } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { App } from '../app.ts'
import { supportCodeOf } from '../domain/ids.ts'

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
  // Some proxies write a port behind the address they forward, and brackets around it.
  const [, bracketed, plain = ''] = /^(?:\[(.+)\](?::\d+)?|(.+?)(?:(?<=\.\d+):\d+)?)$/.exec(ip) ?? []
  const [address = ''] = (bracketed ?? plain).replace(/^::ffff:(?=.*\.)/i, '').split('%')
  return isIP(address) === 0 ? UNKNOWN : address
}

export function beginRequest(request: FastifyRequest, reply: FastifyReply): void {
  request.facts = {}
  request.address = addressOf(request)
  reply.header('x-request-id', request.id).header('cache-control', 'no-store')
}

/** Gives every request its id and no-store, and writes its one log line when it is answered. */
export function followRequests(server: FastifyInstance, app: App): void {
  server.decorateRequest('facts')
  server.decorateRequest('address', UNKNOWN)
  server.addHook('onRequest', async (request, reply) => {
    beginRequest(request, reply)
    // Who hangs up gets no reply, and what he asked for may be done all the same: it needs its line no less.
    reply.raw.once('close', () => {
      if (reply.raw.writableFinished) return
      request.facts.outcome = 'client_gone'
      logRequest(app, request, { status: CLIENT_GONE })
    })
  })
  server.addHook('onResponse', async (request, reply) =>
    logRequest(app, request, { status: reply.statusCode, ms: Math.round(reply.elapsedTime * 10) / 10 }),
  )
}

export function logRequest(app: App, request: FastifyRequest, sent: { status: number; ms?: number }): void {
  const { outcome = 'answered', ...facts } = request.facts
  const route = request.routeOptions.url ?? 'unknown'
  app.counters.add(outcome === 'answered' ? `http.${sent.status}` : outcome)
  app.logger.info({
    event: 'http.request',
    request_id: request.id,
    support_code: supportCodeOf(request.id),
    method: request.method,
    // The pattern, never the URL: what a client puts into a query is not ours to keep.
    route,
    ...sent,
    address: request.address,
    outcome,
    ...facts,
  })
}
