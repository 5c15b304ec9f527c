import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { App } from '../../app.ts'
import { sessionView, userActor } from '../../domain/sessions.ts'
import { ErrorReply } from '../../wire/service.ts'
import {
  AnswerRequest,
  EndedReply,
  ListQuery,
  MessageReply,
  ScopeQuery,
  SessionParams,
  SessionReply,
  SessionsReply,
  UserParams,
} from '../../wire/users.ts'

const refusals = { 400: ErrorReply, 401: ErrorReply, 429: ErrorReply, 503: ErrorReply }

/** My own sessions, and nobody else's: another's id is one that is not there. */
export function sessionRoutes({ sessions, sessionEndings }: App) {
  const common = { tags: ['users'], security: [{ user: [] }] }
  return async (scope: FastifyInstance): Promise<void> => {
    const list = { ...common, summary: 'Where I am signed in', response: { 200: SessionsReply, ...refusals } }
    scope.get('/sessions', { schema: list }, async ({ signedIn }) => ({
      success: true,
      data: (await sessions.liveOf(signedIn.userId)).map(sessionView),
    }))

    const endSome = {
      ...common,
      summary: 'Sign out elsewhere, or everywhere',
      querystring: ScopeQuery,
      response: { 200: EndedReply, ...refusals },
    }
    scope.delete<{ Querystring: Static<typeof ScopeQuery> }>(
      '/sessions',
      { schema: endSome },
      async ({ signedIn, address, query }) => {
        const except = query.scope === 'others' ? signedIn.sessionId : null
        const ended = await sessionEndings.endOthers(
          signedIn.userId,
          except,
          userActor(signedIn.user, address),
        )
        return { success: true, data: { ended } }
      },
    )

    const endOne = {
      ...common,
      summary: 'Sign out one of my sessions',
      params: SessionParams,
      response: { 200: EndedReply, 404: ErrorReply, ...refusals },
    }
    scope.delete<{ Params: Static<typeof SessionParams> }>(
      '/sessions/:sessionId',
      { schema: endOne },
      async ({ signedIn, address, params }) => {
        await sessionEndings.endOwn(signedIn.userId, params.sessionId, userActor(signedIn.user, address))
        return { success: true, data: { ended: 1 } }
      },
    )

    const answer = {
      ...common,
      summary: 'Answer for this session, which was asked to make way',
      body: AnswerRequest,
      response: { 200: MessageReply, 409: ErrorReply, ...refusals },
    }
    scope.post<{ Body: Static<typeof AnswerRequest> }>(
      '/sessions/answer',
      { schema: answer },
      async ({ signedIn, address, body }) => {
        const keeps = body.answer === 'keep'
        await sessionEndings.answer(signedIn, keeps, userActor(signedIn.user, address))
        return { message: keeps ? 'This session is kept' : 'This session has ended' }
      },
    )
  }
}

/** Everybody's sessions, for admins and superadmins. Addresses and members are those of older trackers. */
export function userSessionRoutes({ sessions, sessionEndings, sessionExpiry }: App) {
  const common = { tags: ['operators'], security: [{ user: [] }] }
  const all = { ...refusals, 403: ErrorReply }
  return async (scope: FastifyInstance): Promise<void> => {
    const active = {
      ...common,
      summary: 'Who is signed in now, the latest active first',
      querystring: ListQuery,
      response: { 200: SessionsReply, ...all },
    }
    scope.get<{ Querystring: Static<typeof ListQuery> }>(
      '/active-users',
      { schema: active },
      async ({ query }) => ({ success: true, data: (await sessions.listLive(query.limit)).map(sessionView) }),
    )

    const ofUser = {
      ...common,
      summary: 'The sessions of a user, over or not, the newest first',
      params: UserParams,
      response: { 200: SessionsReply, ...all },
    }
    scope.get<{ Params: Static<typeof UserParams> }>(
      '/user/:userId/sessions',
      { schema: ofUser },
      async ({ params }) => ({
        success: true,
        data: (await sessions.listOf(params.userId)).map(sessionView),
      }),
    )

    const force = {
      ...common,
      summary: "End somebody's session",
      params: SessionParams,
      response: { 200: SessionReply, 404: ErrorReply, ...all },
    }
    scope.post<{ Params: Static<typeof SessionParams> }>(
      '/force-logout/:sessionId',
      { schema: force },
      async ({ signedIn: { user }, address, params }) => {
        const by = { role: user.role, actor: userActor(user, address) }
        return { success: true, data: sessionView(await sessionEndings.force(by, params.sessionId)) }
      },
    )

    const cleanup = {
      ...common,
      summary: 'Write down the end of all sessions that are over',
      response: { 200: EndedReply, ...all },
    }
    scope.post('/cleanup-expired', { schema: cleanup }, async () => ({
      success: true,
      data: { ended: await sessionExpiry.endOverdue() },
    }))
  }
}
