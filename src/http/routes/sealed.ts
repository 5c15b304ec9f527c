import type { FastifyInstance } from 'fastify'
import type { App } from '../../app.ts'
import { CallReply, CallRequest, PlainErrorReply, SessionReply, SessionRequest } from '../../wire/sealed.ts'
import { plainErrorOf, refusePlainly, type SealedAnswers } from '../sealed.ts'

const SESSION_BODY_MAX_BYTES = 8 * 1024

const plain = {
  400: PlainErrorReply,
  413: PlainErrorReply,
  415: PlainErrorReply,
  429: PlainErrorReply,
  503: PlainErrorReply,
}

const session = {
  tags: ['sealed suites'],
  summary: 'Agree on a session key',
  description:
    'The key is never sent. The reply proves the server by the key that the client has pinned: docs/PROTOCOL.md.',
  body: SessionRequest,
  response: { 200: SessionReply, ...plain },
}

const call = {
  tags: ['sealed suites'],
  summary: 'Send a sealed message',
  description:
    'With the token of the session in Authorization. Every reply to a message that authenticates has status 200; what became of it stands in the box.',
  security: [{ session: [] }],
  body: CallRequest,
  response: { 200: CallReply, 401: PlainErrorReply, ...plain },
}

/** `POST /v1/session` and `/v1/call`: the protocol's own addresses. */
export function sealedRoutes(app: App, answers: SealedAnswers) {
  return async (scope: FastifyInstance): Promise<void> => {
    // The schemas are for the description: the answers look at a body themselves, at whatever address it came.
    scope.setValidatorCompiler(() => () => true)
    scope.setSerializerCompiler(() => JSON.stringify)
    scope.removeContentTypeParser('text/plain')
    scope.setErrorHandler((error, request, reply) => {
      const plainError = plainErrorOf(error, app, request)
      if (plainError !== 'busy') app.events.refuse('input_validation_fail', request.address)
      return refusePlainly(request, reply, plainError, 'v1')
    })

    scope.post('/session', {
      schema: session,
      bodyLimit: SESSION_BODY_MAX_BYTES,
      onRequest: async (request, reply) => {
        if (!answers.mayBegin(request)) return refusePlainly(request, reply, 'rate', 'v1')
      },
      handler: (request, reply) => answers.beginSession(request, reply, request.body, 'v1'),
    })

    scope.post('/call', {
      schema: call,
      handler: (request, reply) => answers.call(request, reply, request.body, 'v1'),
    })
  }
}
