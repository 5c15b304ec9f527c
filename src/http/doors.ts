import { hash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { App } from '../app.ts'
import { addressKey } from '../domain/addresses.ts'
import { supportCodeOf } from '../domain/ids.ts'
import type { SessionClaims } from '../domain/session-keys.ts'
import { isOperator, type SignedIn } from '../domain/sessions.ts'
import type { TicketUse } from '../domain/streams/tickets.ts'
import { AppError, type ErrorCode } from '../errors.ts'
import { memoised } from '../memo.ts'
import { LEGACY_ERROR } from '../wire/legacy.ts'
import { refuse } from './errors.ts'
import { useLegacyTokens } from './legacy-tokens.ts'
import type { SessionTokens } from './session-tokens.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What a client's token says of its session; set by the client door alone. */
    sessionClaims: SessionClaims
    /** Who asks, and by which session; set by the doors of users alone. */
    signedIn: SignedIn
    /** The ticket that a stream is opened with, or `null`; set by the stream door alone. */
    streamTicket: TicketUse | null
  }
}

/** What a log may call a session by. */
export function sessionMark(sessionId: string): string {
  return hash('sha256', sessionId).slice(0, 8)
}

/** The token in a request's Authorization, if there is one. */
export function bearer({ headers }: FastifyRequest): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
}

const USER_AGENT_MAX = 512

/** What a client says it is, as far as it is kept. */
export function userAgentOf({ headers }: FastifyRequest): string {
  return (headers['user-agent'] ?? '').slice(0, USER_AGENT_MAX)
}

/** The legacy contract: its tokens, and a support code on every reply, refusals too. */
export async function legacyDoor(door: FastifyInstance, app: App): Promise<void> {
  door.addHook('onRequest', (request, reply, done) => {
    reply.header('x-support-code', supportCodeOf(request.id))
    done()
  })
  await useLegacyTokens(door, app)
}

/** Lets through who shows a valid session token, within the limit of his address. */
export function clientDoor(door: FastifyInstance, app: App): void {
  door.decorateRequest('sessionClaims')
  // Once the body is read: a sealed one has been answered by then, by a token of another kind.
  door.addHook('preHandler', (request, reply, done) => {
    const { address } = request
    const header = request.headers['x-session-token']
    const token = bearer(request) ?? (typeof header === 'string' ? header : undefined)
    const session = token === undefined ? null : door.legacyTokens.sessionIn(token)
    if (session === null) app.events.refuse('authn_token_refused', address)
    if (!app.limits.allows(session === null ? 'refused_token' : 'check', addressKey(address))) {
      request.facts.outcome = 'check.too_many'
      app.events.refuse('excess_rate_limit_exceeded', address)
      return void reply.code(429).header('retry-after', '60').send(LEGACY_ERROR.tooManyChecks)
    }
    if (session === null) {
      request.facts.outcome = 'check.token_refused'
      const refusal = token === undefined ? LEGACY_ERROR.authenticationRequired : LEGACY_ERROR.invalidSession
      return void reply.code(401).send(refusal)
    }
    request.sessionClaims = session
    request.facts.session = sessionMark(session.sessionId)
    done()
  })
}

/** Refuses who shows nothing that opens the door, and counts it. */
function refuseStranger(
  app: App,
  request: FastifyRequest,
  reply: FastifyReply,
  code: ErrorCode,
): FastifyReply {
  const { address } = request
  app.events.refuse('authn_token_refused', address)
  if (!app.limits.allows('refused_token', addressKey(address))) throw new AppError('too_many_requests')
  reply.header('www-authenticate', 'Bearer')
  return refuse(request, reply, code)
}

/** Refuses an address that has passwords checked too often: before anything is worked on, as each costs memory and time. */
export function passwordLimit(app: App): (request: FastifyRequest) => Promise<void> {
  return async ({ address }) => {
    if (app.limits.allows('login', addressKey(address))) return
    app.events.refuse('excess_rate_limit_exceeded', address)
    throw new AppError('too_many_requests', { retryAfterS: 60 })
  }
}

/** Lets through who shows a living operator token. */
export function operatorDoor(door: FastifyInstance, app: App): void {
  door.addHook('onRequest', async (request, reply) => {
    if ((await app.tokens.authenticate(bearer(request) ?? '')) !== null) return
    return refuseStranger(app, request, reply, 'authentication_required')
  })
}

/** Once for each reading of its row. */
const markOf = memoised(({ sessionId }: SignedIn) => sessionMark(sessionId))

function admit(app: App, request: FastifyRequest, session: SignedIn): void {
  request.signedIn = session
  request.facts.session = markOf(session)
  app.sessions.touch(session, { ipAddress: request.address, userAgent: userAgentOf(request) })
}

/** A session, unless the request names another one. */
function asNamed({ headers }: FastifyRequest, session: SignedIn | null): SignedIn | null {
  const { 'x-session-id': named = session?.sessionId } = headers
  return named === session?.sessionId ? session : null
}

/** Lets through who shows the token of a live session of his. */
export function userDoor(door: FastifyInstance, app: App, tokens: SessionTokens): void {
  door.decorateRequest('signedIn')
  door.addHook('onRequest', (request, reply, done) => {
    const enter = (session: SignedIn | null) => {
      if (session === null) return refuseStranger(app, request, reply, 'sign_in_required')
      return void admit(app, request, session)
    }
    const shown = tokens.sessionOf(bearer(request) ?? '')
    // What is known already waits for nothing, and costs no promise.
    if (shown instanceof Promise) return shown.then((session) => enter(asNamed(request, session)))
    if (enter(asNamed(request, shown)) === undefined) done()
  })
}

/** Lets through who shows such a token, or has a ticket in the URL: not every client of streams can set a header. */
export function streamDoor(door: FastifyInstance, app: App, tokens: SessionTokens): void {
  door.decorateRequest('signedIn')
  door.decorateRequest('streamTicket', null)
  door.addHook('onRequest', async (request, reply) => {
    const { ticket } = request.query as Record<string, unknown>
    if (ticket === undefined) {
      const session = asNamed(request, await tokens.sessionOf(bearer(request) ?? ''))
      if (session === null) return refuseStranger(app, request, reply, 'sign_in_required')
      return admit(app, request, session)
    }
    const admission = await app.streamTickets.redeem(
      String(ticket),
      Boolean(request.headers['last-event-id']),
    )
    if (admission.kind === 'refused') return refuseStranger(app, request, reply, 'stream_ticket_invalid')
    if (admission.kind === 'over') {
      request.facts.outcome = 'stream.session_over'
      // The one answer after which a browser does not try again (WHATWG HTML, section 9.2.3).
      return reply.code(204).send()
    }
    request.streamTicket = admission.use
    admit(app, request, admission.session)
  })
}

/** Lets through, of those whom {@link userDoor} let through, admins and superadmins. */
export function adminDoor(door: FastifyInstance): void {
  door.addHook('onRequest', async (request, reply) => {
    if (!isOperator(request.signedIn.user.role)) return refuse(request, reply, 'not_permitted')
  })
}
