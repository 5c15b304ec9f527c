import { hash } from 'node:crypto'
import type { App } from '../app.ts'
import type { SignedIn, TrackedSession } from '../domain/sessions.ts'
import { memoised } from '../memo.ts'
import { createSignedTokens } from './signed-tokens.ts'

const KIND = {
  type: 'kunci-session+jwt',
  audience: 'kunci-users',
  required: ['sub', 'sid', 'jti', 'iat', 'exp'],
}
const JTI_BYTES = 16

/** Whose session a token says it is: to look it up, before its signature was looked at. */
function namesIn(token: string): { userId: number; sessionId: string } | null {
  try {
    const [, payload = ''] = token.split('.', 2)
    const { sub, sid } = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    const isOurs = /^[1-9]\d{0,15}$/.test(sub) && /^[0-9a-f]{32}$/.test(sid)
    return isOurs ? { userId: Number(sub), sessionId: sid } : null
  } catch {
    return null
  }
}

export type SessionTokens = ReturnType<typeof createSessionTokens>

/** The tokens of users: each names a session, and is worth what that session is worth at the moment. */
export function createSessionTokens(app: Pick<App, 'keyPairs' | 'issuer' | 'random' | 'sessions'>) {
  const { random, sessions } = app
  const tokens = createSignedTokens(app, KIND)
  /** Goes into what a token is remembered by: a key that was retired vouches for none that it vouched for before. */
  const markOf = memoised((_ring: object) => random(JTI_BYTES).toString('base64url'))

  function issue({ userId, sessionId, loginAtMs, expiresAtMs }: TrackedSession): Promise<string> {
    return tokens.sign({
      ...{ sub: String(userId), sid: sessionId, jti: random(JTI_BYTES).toString('base64url') },
      ...{ iat: Math.floor(loginAtMs / 1000), exp: Math.floor(expiresAtMs / 1000) },
    })
  }

  /**
   * The live session that a genuine token names, or `null` for every cause alike.
   * @throws {StoreError} when its row cannot be read.
   */
  async function sessionOf(token: string): Promise<SignedIn | null> {
    const names = namesIn(token)
    if (names === null) return null
    const verify = await tokens.verifier()
    const digest = hash('sha256', `${markOf(tokens.ring())} ${token}`, 'base64url')
    return sessions.signedIn({ ...names, digest }, () => verify(token) !== null)
  }

  return { issue, sessionOf }
}
