import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { App } from '../../app.ts'
import { HandOutRefusal, HandOutReply, LEGACY_ERROR } from '../../wire/legacy.ts'
import { PlainErrorReply, SessionReply } from '../../wire/sealed.ts'
import { ErrorReply } from '../../wire/service.ts'
import { sessionMark } from '../doors.ts'
import { objectIn, takeAnyBody } from '../legacy-body.ts'
import { refusePlainly, type SealedAnswers } from '../sealed.ts'

const schema = {
  tags: ['legacy contract'],
  summary: 'Hand out a session key',
  description:
    'GET or POST, any content type. A body that names a sealed suite is answered as by /v1/session, never in the clear.',
  response: {
    200: Type.Union([HandOutReply, SessionReply]),
    400: PlainErrorReply,
    429: Type.Union([HandOutRefusal, PlainErrorReply]),
    503: Type.Union([ErrorReply, PlainErrorReply]),
  },
}

/** `GET|POST /auth/get-session-key`, as the old PHP server had it, and `/v1/session` for a body that names a suite. */
export function sessionKeyRoutes(app: App, sealed: SealedAnswers) {
  return async (scope: FastifyInstance): Promise<void> => {
    takeAnyBody(scope)
    // One of several shapes: plain JSON.stringify is faster than finding out which compiled one fits.
    scope.setSerializerCompiler(() => JSON.stringify)

    async function handOut(request: FastifyRequest, reply: FastifyReply) {
      const body = objectIn(request.body)
      const isWithin = sealed.mayBegin(request)
      if (body !== null && 'suite' in body) return beginSession(request, reply, body, isWithin)
      if (!isWithin) {
        request.facts.outcome = 'session_key.too_many'
        return reply.code(429).header('retry-after', '60').send(LEGACY_ERROR.tooManyHandOuts)
      }
      await app.products.legacy()
      const { address } = request
      const key = await app.sessionKeys.handOut(address)
      request.facts = { outcome: 'session_key.handed_out', session: sessionMark(key.sessionId) }
      return {
        status: 'success',
        session_token: scope.legacyTokens.issue(key, address),
        expires_in: key.expiresAtS - key.issuedAtS,
        message: 'Session key generated successfully',
      }
    }

    function beginSession(request: FastifyRequest, reply: FastifyReply, body: unknown, isWithin: boolean) {
      if (!isWithin) return refusePlainly(request, reply, 'rate', 'api')
      return sealed.beginSession(request, reply, body, 'api')
    }

    for (const url of ['/auth/get-session-key', '/auth/get-session-key.php'])
      scope.route({ method: ['GET', 'POST'], url, schema, handler: handOut })
  }
}
