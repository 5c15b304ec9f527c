import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { App } from '../app.ts'
import { addressKey, subnetKey } from '../domain/addresses.ts'
import { supportCodeOf } from '../domain/ids.ts'
import { StoreError } from '../errors.ts'
import { isCallRequest, isSessionRequest, PLAIN_ERRORS, type PlainError } from '../wire/sealed.ts'
import { createAccessTokens } from './access-tokens.ts'
import { bearer, sessionMark } from './doors.ts'

const RETRY_AFTER_S: Partial<Record<PlainError, number>> = { rate: 60, busy: 1 }

/** How a plain error is written: under /api old programs look for `success` first. */
export type Dialect = 'v1' | 'api'

const BODIES = {
  v1: (error: PlainError) => `{"v":1,"error":"${error}"}`,
  api: (error: PlainError) => `{"success":false,"v":1,"error":"${error}"}`,
} as const satisfies Record<Dialect, (error: PlainError) => string>

/** Answers before a session has authenticated: one body for each status, whatever the cause. */
export function refusePlainly(
  request: FastifyRequest,
  reply: FastifyReply,
  error: PlainError,
  dialect: Dialect,
): FastifyReply {
  request.facts.outcome ??= `sealed.${error}_refused`
  const retryAfterS = RETRY_AFTER_S[error]
  if (retryAfterS !== undefined) reply.header('retry-after', retryAfterS)
  return reply
    .code(PLAIN_ERRORS[error])
    .type('application/json; charset=utf-8')
    .serializer((text: string) => text)
    .send(BODIES[dialect](error))
}

const BY_STATUS: Readonly<Record<number, PlainError>> = { 400: 'request', 413: 'size', 415: 'type' }

/** What was thrown, as a plain error. What nobody foresaw is no fault of the request: it may be sent again. */
export function plainErrorOf(error: unknown, app: App, request: FastifyRequest): PlainError {
  const known = BY_STATUS[(error as Partial<FastifyError>).statusCode ?? 500]
  if (known !== undefined) return known
  app.logger.error({ event: 'request.failed', request_id: request.id, err: error })
  request.facts.outcome = error instanceof StoreError ? 'store_unavailable' : 'internal'
  return 'busy'
}

export type SealedAnswers = ReturnType<typeof sealedAnswers>

/** The two requests of the sealed suites, at whatever address they come. */
export function sealedAnswers(app: App) {
  const tokens = createAccessTokens(app)

  /** Within what an address and its network may ask for: session keys of every contract count together. */
  function mayBegin({ address }: FastifyRequest): boolean {
    const isWithin =
      app.limits.allows('hand_out', addressKey(address)) &&
      app.limits.allows('hand_out_subnet', subnetKey(address))
    if (!isWithin) app.events.refuse('excess_rate_limit_exceeded', address)
    return isWithin
  }

  async function begin(request: FastifyRequest, reply: FastifyReply, body: unknown, dialect: Dialect) {
    if (!isSessionRequest(body)) return malformed(request, reply, 'request', dialect)
    const hello = await app.handshakes.begin(body, request.address, tokens.issue)
    if (hello === 'request' || hello === 'kex') return malformed(request, reply, hello, dialect)
    request.facts.outcome = 'session_key.agreed'
    request.facts.session = sessionMark(hello.sessionId)
    return {
      ...{ v: 1, suite: hello.suite, kid: hello.kid, session_id: hello.sessionId },
      ...{ expires_in: hello.expiresInS, pub: hello.serverPublic, box: hello.box },
    }
  }

  function malformed(request: FastifyRequest, reply: FastifyReply, error: PlainError, dialect: Dialect) {
    app.events.refuse('input_validation_fail', request.address)
    return refusePlainly(request, reply, error, dialect)
  }

  /** Whatever kept a message from authenticating has one answer; who gets too many of them gets another. */
  function unauthenticated(request: FastifyRequest, reply: FastifyReply, dialect: Dialect) {
    const { address } = request
    app.events.refuse('authn_token_refused', address)
    const isWithin = app.limits.allows('refused_token', addressKey(address))
    if (!isWithin) app.events.refuse('excess_rate_limit_exceeded', address)
    return refusePlainly(request, reply, isWithin ? 'session' : 'rate', dialect)
  }

  async function answerCall(
    request: FastifyRequest,
    reply: FastifyReply,
    body: unknown,
    dialect: Dialect,
    onlyOp?: string,
  ) {
    if (!isCallRequest(body) || body.op !== (onlyOp ?? body.op))
      return malformed(request, reply, 'request', dialect)
    request.facts.session = sessionMark(body.session_id)
    const token = bearer(request) ?? ''
    const claims = await tokens.verify(token)
    if (claims === null) return unauthenticated(request, reply, dialect)
    const caller = { address: request.address, supportCode: supportCodeOf(request.id) }
    const result = await app.calls.call(body, { claims, token }, caller)
    if (result.kind === 'refused')
      return result.refusal === 'request'
        ? malformed(request, reply, 'request', dialect)
        : unauthenticated(request, reply, dialect)
    const { op, status, code } = result.facts
    request.facts.outcome = `call.${code}`
    request.facts.detail = `${op} ${status}`
    return result.reply
  }

  /** Whatever was thrown has a plain answer, at an address of the legacy contract too. */
  async function whole(
    request: FastifyRequest,
    reply: FastifyReply,
    dialect: Dialect,
    work: () => Promise<object>,
  ): Promise<object> {
    try {
      return await work()
    } catch (error) {
      return refusePlainly(request, reply, plainErrorOf(error, app, request), dialect)
    }
  }

  return {
    mayBegin,
    beginSession: (request: FastifyRequest, reply: FastifyReply, body: unknown, dialect: Dialect) =>
      whole(request, reply, dialect, () => begin(request, reply, body, dialect)),
    /** @param onlyOp the operation that the address stands for, if it stands for one. */
    call: (request: FastifyRequest, reply: FastifyReply, body: unknown, dialect: Dialect, onlyOp?: string) =>
      whole(request, reply, dialect, () => answerCall(request, reply, body, dialect, onlyOp)),
  }
}
