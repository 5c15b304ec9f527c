import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import type { App } from '../../app.ts'
import type { LoginResult } from '../../domain/logins.ts'
import type { TrackedSession } from '../../domain/sessions.ts'
import { type Client, TAKE_OVER_S } from '../../domain/sign-in-moves.ts'
import { deviceOf } from '../../domain/user-agents.ts'
import { userView } from '../../domain/users.ts'
import { ErrorReply } from '../../wire/service.ts'
import {
  FullHouseReply,
  LoginReply,
  LoginRequest,
  SetupRequest,
  TakeOverRequest,
  UserItem,
} from '../../wire/users.ts'
import { passwordLimit, userAgentOf } from '../doors.ts'
import { refusalBody } from '../errors.ts'
import type { SessionTokens } from '../session-tokens.ts'

const tags = ['users']
const plain = { 400: ErrorReply, 401: ErrorReply, 429: ErrorReply, 503: ErrorReply }

function header({ headers }: FastifyRequest, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}

function houseItem(session: TrackedSession) {
  return {
    sessionId: session.sessionId,
    deviceName: session.deviceName,
    deviceType: session.deviceType,
    country: session.country,
    loginAt: new Date(session.loginAtMs).toISOString(),
    lastActivity: new Date(session.lastActivityMs).toISOString(),
  }
}

/** Signing in: what anybody may ask for. */
export function authRoutes(app: App, tokens: SessionTokens) {
  const limited = passwordLimit(app)

  async function clientOf(request: FastifyRequest): Promise<Client> {
    const { address } = request
    const userAgent = userAgentOf(request)
    const said = { type: header(request, 'x-device-type'), name: header(request, 'x-device-name') }
    return { address, userAgent, device: deviceOf(userAgent, said), country: await app.countryOf(address) }
  }

  async function answer(request: FastifyRequest, reply: FastifyReply, result: LoginResult) {
    request.facts.outcome = `login.${result.kind}`
    if (result.kind === 'opened') {
      const { user, session } = result
      const expiresAt = new Date(session.expiresAtMs).toISOString()
      return {
        message: 'Login berhasil',
        token: { type: 'bearer', token: await tokens.issue(session), expires_at: expiresAt },
        user: userView(user),
        sessionId: session.sessionId,
      }
    }
    const takeOver = { token: result.token, expiresIn: TAKE_OVER_S }
    const body = refusalBody(result.kind, request.id)
    reply.code(409)
    if (result.kind === 'session_limit') return { ...body, sessions: result.live.map(houseItem), takeOver }
    reply.header('retry-after', result.retryAfterS)
    return { ...body, retryAfter: result.retryAfterS, takeOver }
  }

  return async (scope: FastifyInstance): Promise<void> => {
    const responses = { 200: LoginReply, 409: FullHouseReply, ...plain }
    const login = {
      tags,
      summary: 'Sign in',
      description:
        'X-Device-Name and X-Device-Type say what a user agent does not. A full house is a 409, not a failed sign-in.',
      body: LoginRequest,
      response: responses,
    }
    scope.post<{ Body: Static<typeof LoginRequest> }>(
      '/auth/login',
      { schema: login, onRequest: limited },
      async (request, reply) => {
        const { email, password, code } = request.body
        return answer(
          request,
          reply,
          await app.logins.login({ email, password, code }, await clientOf(request)),
        )
      },
    )

    const takeOver = {
      tags,
      summary: 'Come back to a full house with the token of the 409',
      body: TakeOverRequest,
      response: responses,
    }
    scope.post<{ Body: Static<typeof TakeOverRequest> }>(
      '/auth/take-over',
      { schema: takeOver, onRequest: limited },
      async (request, reply) => {
        const { token, sessionId = null } = request.body
        return answer(request, reply, await app.logins.takeOver(token, sessionId, await clientOf(request)))
      },
    )

    const setup = {
      tags,
      summary: 'Create the first superadmin, with the code that the server printed',
      body: SetupRequest,
      response: { 201: UserItem, 409: ErrorReply, 422: ErrorReply, ...plain },
    }
    scope.post<{ Body: Static<typeof SetupRequest> }>(
      '/setup',
      { schema: setup, onRequest: limited },
      async ({ body: { code, ...user }, address }, reply) => {
        reply.code(201)
        return userView(await app.setup.run(code, user, address))
      },
    )
  }
}
