import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { App } from '../../app.ts'
import { type SignedIn, sessionView, userActor } from '../../domain/sessions.ts'
import { userView } from '../../domain/users.ts'
import { memoised } from '../../memo.ts'
import { ErrorReply } from '../../wire/service.ts'
import {
  MeReply,
  MessageReply,
  PasswordOnly,
  PasswordRequest,
  RecoveryCodes,
  TotpOffer,
  TotpRequest,
} from '../../wire/users.ts'
import { passwordLimit } from '../doors.ts'

const plain = { 400: ErrorReply, 401: ErrorReply, 429: ErrorReply, 503: ErrorReply }
const guarded = { tags: ['users'], security: [{ user: [] }] }

/** Once for each reading of its row. */
const meOf = memoised((session: SignedIn) => ({
  user: userView(session.user),
  sessionId: session.sessionId,
  session: sessionView(session),
}))

/** What those who are signed in ask about themselves. */
export function accountRoutes(app: App) {
  const limited = passwordLimit(app)
  return async (scope: FastifyInstance): Promise<void> => {
    const me = { ...guarded, summary: 'Who am I', response: { 200: MeReply, ...plain } }
    scope.get('/auth/me', { schema: me }, async ({ signedIn }) => meOf(signedIn))

    const logout = { ...guarded, summary: 'Sign out', response: { 200: MessageReply, ...plain } }
    scope.post('/auth/logout', { schema: logout }, async ({ signedIn, address }) => {
      await app.sessions.end([signedIn], 'logout', userActor(signedIn.user, address))
      return { message: 'Logout berhasil' }
    })

    const password = {
      ...guarded,
      summary: 'Change my password; my other sessions end',
      body: PasswordRequest,
      response: { 200: MessageReply, 422: ErrorReply, ...plain },
    }
    scope.post<{ Body: Static<typeof PasswordRequest> }>(
      '/auth/password',
      { schema: password, onRequest: limited },
      async ({ signedIn: session, address, body }) => {
        await app.credentials.changePassword({ session, address }, body)
        return { message: 'Password changed' }
      },
    )

    const offer = {
      ...guarded,
      summary: 'A secret for my authenticator; nothing changes yet',
      response: { 200: TotpOffer, 409: ErrorReply, ...plain },
    }
    scope.post('/auth/totp', { schema: offer }, async ({ signedIn }) => ({
      success: true,
      data: await app.credentials.offerTotp(signedIn),
    }))

    const confirm = {
      ...guarded,
      summary: 'Switch one-time codes on, by a first one',
      body: TotpRequest,
      response: { 200: RecoveryCodes, 409: ErrorReply, 422: ErrorReply, ...plain },
    }
    scope.post<{ Body: Static<typeof TotpRequest> }>(
      '/auth/totp/confirm',
      { schema: confirm, onRequest: limited },
      async ({ signedIn: session, address, body }) => ({
        success: true,
        data: { recoveryCodes: await app.credentials.confirmTotp({ session, address }, body) },
      }),
    )

    const off = {
      ...guarded,
      summary: 'Switch one-time codes off',
      body: PasswordOnly,
      response: { 200: MessageReply, 409: ErrorReply, ...plain },
    }
    scope.delete<{ Body: Static<typeof PasswordOnly> }>(
      '/auth/totp',
      { schema: off, onRequest: limited },
      async ({ signedIn: session, address, body }) => {
        await app.credentials.dropTotp({ session, address }, body.password)
        return { message: 'One-time codes are off' }
      },
    )
  }
}
