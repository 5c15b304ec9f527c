import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { App } from '../../app.ts'
import { addressKey, subnetKey } from '../../domain/addresses.ts'
import { ErrorReply, HandOutRefusal, HandOutReply, LEGACY_ERROR } from '../../wire.ts'
import { sessionMark } from '../doors.ts'
import { objectIn, takeAnyBody } from '../legacy-body.ts'

const schema = {
  tags: ['legacy contract'],
  summary: 'Hand out a session key',
  description:
    'GET or POST, any content type. A body that names a sealed suite is refused, never answered in the clear.',
  response: { 200: HandOutReply, 429: HandOutRefusal, 503: ErrorReply },
}

/** `GET|POST /auth/get-session-key`, as the old PHP server had it. */
export function sessionKeyRoutes(app: App) {
  return async (scope: FastifyInstance): Promise<void> => {
    takeAnyBody(scope)

    scope.addHook('onRequest', (request, reply, done) => {
      const { address } = request
      const isWithin =
        app.limits.allows('hand_out', addressKey(address)) &&
        app.limits.allows('hand_out_subnet', subnetKey(address))
      if (isWithin) return done()
      request.facts.outcome = 'session_key.too_many'
      app.events.refuse('excess_rate_limit_exceeded', address)
      void reply.code(429).header('retry-after', '60').send(LEGACY_ERROR.tooManyHandOuts)
    })

    async function handOut(request: FastifyRequest, reply: FastifyReply) {
      if (objectIn(request.body)?.suite !== undefined) {
        request.facts.outcome = 'session_key.suite_refused'
        app.events.refuse('input_validation_fail', request.address)
        return reply.code(400).send(LEGACY_ERROR.suiteRefused)
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

    for (const url of ['/auth/get-session-key', '/auth/get-session-key.php'])
      scope.route({ method: ['GET', 'POST'], url, schema, handler: handOut })
  }
}
