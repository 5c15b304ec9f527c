import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { App } from '../app.ts'
import { newRequestId } from '../domain/ids.ts'
import { AppError, ERRORS, type ErrorCode, StoreError } from '../errors.ts'
import type { Requests } from './request-context.ts'

const RETRY_AFTER_S = 1

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_request',
  404: 'not_found',
  408: 'request_timeout',
  413: 'body_too_large',
  415: 'unsupported_media_type',
  429: 'too_many_requests',
  431: 'headers_too_large',
}

function codeOf(error: unknown): ErrorCode {
  if (error instanceof AppError) return error.code
  if (error instanceof StoreError) return 'store_unavailable'
  return BY_STATUS[(error as Partial<FastifyError>).statusCode ?? 500] ?? 'internal'
}

/** The one shape of refusals. */
export function refusalBody(code: ErrorCode, requestId: string) {
  return { status: 'error', code, message: ERRORS[code][1], request_id: requestId }
}

/** Answers with a coded refusal. */
export function refuse(request: FastifyRequest, reply: FastifyReply, code: ErrorCode): FastifyReply {
  request.facts.outcome = code
  const [status] = ERRORS[code]
  if (status === 503) reply.header('retry-after', RETRY_AFTER_S)
  return reply
    .code(status)
    .type('application/json; charset=utf-8')
    .serializer(JSON.stringify)
    .send(refusalBody(code, request.id))
}

/** One way out for everything that was thrown: a code and a safe text for the caller, the cause for the log alone. */
export function answerErrors(server: FastifyInstance, app: App): void {
  server.setErrorHandler((error, request, reply) => {
    const code = codeOf(error)
    if (ERRORS[code][0] >= 500)
      app.logger.error({ event: 'request.failed', request_id: request.id, err: error })
    if (error instanceof AppError) {
      request.facts.detail = error.detail
      if (error.retryAfterS !== undefined) reply.header('retry-after', error.retryAfterS)
    }
    return refuse(request, reply, code)
  })
  server.setNotFoundHandler((request, reply) => refuse(request, reply, 'not_found'))
}

/** Answers what no route could be looked up for, such as a broken escape in the URL; no hook has run by then. */
export function frameworkErrorAnswerer({ begin }: Requests) {
  return (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void => {
    begin(request, reply)
    refuse(request, reply, codeOf(error))
  }
}

/** Answers what is not even HTTP, before there is a request; it has its id and its log line all the same. */
export function clientErrorAnswerer({ logger, random, counters }: App) {
  return (error: NodeJS.ErrnoException, socket: Socket): void => {
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
    const status = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 }[error.code ?? ''] ?? 400
    const outcome = BY_STATUS[status] ?? 'invalid_request'
    const requestId = newRequestId(random)
    const body = JSON.stringify(refusalBody(outcome, requestId))
    counters.add(outcome)
    const address = socket.remoteAddress ?? 'unknown'
    logger.info({ event: 'http.request', request_id: requestId, route: 'unknown', status, address, outcome })
    socket.end(
      `HTTP/1.1 ${status} ${outcome}\r\nContent-Type: application/json; charset=utf-8\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nX-Request-Id: ${requestId}\r\n` +
        `Cache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
    )
  }
}
