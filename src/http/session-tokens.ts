import type { App } from '../app.ts'
import type { NamedSession } from '../domain/session-cache.ts'
import type { SignedIn, TrackedSession } from '../domain/sessions.ts'
import { createSignedTokens } from './signed-tokens.ts'

const JTI_BYTES = 16

function namesIn(claims: unknown): NamedSession | null {
  const { sub, sid } = (claims ?? {}) as { readonly sub?: unknown; readonly sid?: unknown }
  const isOurs =
    typeof sub === 'string' &&
    /^[1-9]\d{0,15}$/.test(sub) &&
    typeof sid === 'string' &&
    /^[0-9a-f]{32}$/.test(sid)
  return isOurs ? { userId: Number(sub), sessionId: sid } : null
}

const KIND = {
  type: 'kunci-session+jwt',
  audience: 'kunci-users',
  required: ['sub', 'sid', 'jti', 'iat', 'exp'],
  read: namesIn,
  rememberedMax: 100_000,
}

export type SessionTokens = ReturnType<typeof createSessionTokens>

/** The tokens of users: each names a session, and is worth what that session is worth at the moment. */
export function createSessionTokens(app: Pick<App, 'keyPairs' | 'issuer' | 'random' | 'sessions'>) {
  const { random, sessions } = app
  const tokens = createSignedTokens(app, KIND)

  function issue({ userId, sessionId, loginAtMs, expiresAtMs }: TrackedSession): Promise<string> {
    return tokens.sign({
      ...{ sub: String(userId), sid: sessionId, jti: random(JTI_BYTES).toString('base64url') },
      ...{ iat: Math.floor(loginAtMs / 1000), exp: Math.floor(expiresAtMs / 1000) },
    })
  }

  /**
   * The live session that a genuine token names, or `null` for every cause alike; at once where both are known.
   * @throws {StoreError} when its row cannot be read.
   */
  function sessionOf(token: string): SignedIn | null | Promise<SignedIn | null> {
    const names = tokens.genuine(token)
    if (!(names instanceof Promise)) return sessions.signedIn(names)
    return names.then((checked) => (checked === null ? null : sessions.signedIn(checked)))
  }

  return { issue, sessionOf }
}
