import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { App } from '../../app.ts'
import type { LegacyVerdict } from '../../domain/checks.ts'
import { supportCodeOf } from '../../domain/ids.ts'
import { GrantedReply, LEGACY_ERROR, LegacyErrorReply } from '../../wire/legacy.ts'
import { ErrorReply } from '../../wire/service.ts'
import { objectIn, takeAnyBody } from '../legacy-body.ts'
import { legacyDates, legacyExpiry } from '../legacy-date.ts'
import type { SealedAnswers } from '../sealed.ts'

const schema = {
  tags: ['legacy contract'],
  summary: 'Check a licence',
  description:
    'Body: JSON, whatever its content type says: `{"hwid": "<hex of AES-256-CBC/PKCS#7 of the HWID>", "licence": "<optional licence key>"}`. ' +
    'Other members are ignored. The token may also stand in X-Session-Token.',
  security: [{ session: [] }],
  response: {
    200: Type.Union([GrantedReply, LegacyErrorReply]),
    400: LegacyErrorReply,
    401: LegacyErrorReply,
    429: LegacyErrorReply,
    503: ErrorReply,
  },
}

const REFUSALS = {
  expired: LEGACY_ERROR.licenceExpired,
  not_found: LEGACY_ERROR.notFound,
  session_expired: LEGACY_ERROR.sessionExpired,
  unreadable: LEGACY_ERROR.verificationFailed,
} as const

type Posted = { hwid: string; licenceKey: string | undefined }

function posted(body: unknown): Posted | null {
  const { hwid, licence = '' } = objectIn(body) ?? {}
  if (typeof hwid !== 'string' || typeof licence !== 'string') return null
  return { hwid, licenceKey: licence.trim() === '' ? undefined : licence }
}

/** `POST /1.php` and `/licence/check`, as the old PHP server had it: the verdict in plain JSON, refusals with 200. */
export function licenceRoutes(app: App, sealed: SealedAnswers) {
  const write = legacyDates(app.config.legacyTimeZone)

  function answer(verdict: LegacyVerdict, reply: FastifyReply) {
    if (verdict.kind === 'blocked') {
      reply.code(429).header('retry-after', '60')
      return LEGACY_ERROR.tooManyChecks
    }
    if (verdict.kind !== 'granted') return REFUSALS[verdict.kind]
    const { licence, texts, nowMs } = verdict
    return {
      status: 'success',
      message: 'Access granted',
      ...legacyExpiry(licence.expiresAtMs, nowMs, write),
      user: licence.customer,
      sk: texts.sk,
      sck: texts.sck,
      maintenance: texts.maintenance,
      status1_text: texts.status1Text,
    }
  }

  async function check(request: FastifyRequest, reply: FastifyReply) {
    const { address } = request
    const body = posted(request.body)
    if (body === null) {
      request.facts.outcome = 'check.malformed'
      app.events.refuse('input_validation_fail', address)
      reply.code(400)
      return LEGACY_ERROR.invalidRequest
    }
    const verdict = await app.checks.legacy({
      session: request.sessionClaims,
      payload: body.hwid,
      licenceKey: body.licenceKey,
      address,
      supportCode: supportCodeOf(request.id),
    })
    request.facts.outcome = `check.${verdict.kind}`
    return answer(verdict, reply)
  }

  /** Answers a sealed body before the guard of the legacy contract asks for a token of its own. */
  async function answerSealed(request: FastifyRequest, reply: FastifyReply) {
    const body = objectIn(request.body)
    if (body === null || !('box' in body)) return
    const answer = await sealed.call(request, reply, body, 'api', 'licence.check')
    return answer === reply ? reply : reply.send(answer)
  }

  return async (scope: FastifyInstance): Promise<void> => {
    takeAnyBody(scope)
    // One of several shapes: plain JSON.stringify is faster than finding out which compiled one fits.
    scope.setSerializerCompiler(() => JSON.stringify)
    const methods = { method: ['GET', 'POST'], schema, handler: check }
    scope.route({ ...methods, url: '/1.php' })
    scope.route({ ...methods, url: '/licence/check', preValidation: answerSealed })
  }
}
