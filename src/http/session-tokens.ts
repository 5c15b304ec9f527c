import type { App } from '../app.ts'
import type { NamedSession } from '../domain/session-cache.ts'
import type { SignedIn, TrackedSession } from '../domain/sessions.ts'
import { memoised } from '../memo.ts'
import { createSignedTokens } from './signed-tokens.ts'

const KIND = {
  type: 'kunci-session+jwt',
  audience: 'kunci-users',
  required: ['sub', 'sid', 'jti', 'iat', 'exp'],
}
const JTI_BYTES = 16
const GENUINE_MAX = 100_000

/** Whose session a token says it is: to look it up, before its signature was looked at. */
function namesIn(token: string): NamedSession | null {
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
  /** What tokens name whose signatures were checked. A key that was retired vouches for none that it vouched for before. */
  const genuineUnder = memoised((_ring: object) => new Map<string, NamedSession>())

  function issue({ userId, sessionId, loginAtMs, expiresAtMs }: TrackedSession): Promise<string> {
    return tokens.sign({
      ...{ sub: String(userId), sid: sessionId, jti: random(JTI_BYTES).toString('base64url') },
      ...{ iat: Math.floor(loginAtMs / 1000), exp: Math.floor(expiresAtMs / 1000) },
    })
  }

  async function check(token: string): Promise<NamedSession | null> {
    const names = namesIn(token)
    if (names === null) return null
    const genuine = genuineUnder(tokens.ring())
    const verify = await tokens.verifier()
    if (verify(token) === null) return null
    const [oldest] = genuine.keys()
    if (genuine.size >= GENUINE_MAX && oldest !== undefined) genuine.delete(oldest)
    genuine.set(token, names)
    return names
  }

  /**
   * The live session that a genuine token names, or `null` for every cause alike; at once where both are known.
   * @throws {StoreError} when its row cannot be read.
   */
  function sessionOf(token: string): SignedIn | null | Promise<SignedIn | null> {
    const known = genuineUnder(tokens.ring()).get(token)
    if (known !== undefined) return sessions.signedIn(known)
    return check(token).then((names) => (names === null ? null : sessions.signedIn(names)))
  }

  return { issue, sessionOf }
}
