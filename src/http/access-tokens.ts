import { LRUCache } from 'lru-cache'
import type { App } from '../app.ts'
import type { TokenClaims } from '../domain/sealed/handshakes.ts'
import { memoised } from '../memo.ts'
import { createSignedTokens } from './signed-tokens.ts'

const KIND = {
  type: 'dsk-at+jwt',
  audience: 'dsk-api',
  required: ['sub', 'sid', 'ste', 'cnf', 'jti', 'iat', 'exp'],
}
const CLOCK_TOLERANCE_MS = 30_000
const REMEMBERED_MAX = 20_000

function claimsIn(value: unknown): TokenClaims | null {
  const { sid, ste, cnf, exp } = (value ?? {}) as Partial<TokenClaims>
  const isOurs =
    typeof sid === 'string' &&
    (ste === 'S1' || ste === 'S2' || ste === 'S3') &&
    typeof cnf?.dsk1 === 'string' &&
    Number.isSafeInteger(exp)
  return isOurs ? (value as TokenClaims) : null
}

export type AccessTokens = ReturnType<typeof createAccessTokens>

/** The tokens of sealed sessions. */
export function createAccessTokens(app: App) {
  const tokens = createSignedTokens(app, KIND)
  /** Claims by token: a signature is checked once, and one that was made here not at all. Ends with its ring. */
  const remembered = memoised((_ring: object) => new LRUCache<string, TokenClaims>({ max: REMEMBERED_MAX }))

  async function issue(claims: TokenClaims): Promise<string> {
    const token = await tokens.sign(claims)
    remembered(tokens.ring()).set(token, claims)
    return token
  }

  /** The claims of a living token that one of our keys signed, or `null` for every cause alike. */
  async function verify(token: string): Promise<TokenClaims | null> {
    const known = remembered(tokens.ring())
    const claims = known.get(token) ?? claimsIn((await tokens.verifier())(token))
    if (claims === null || claims.exp * 1000 + CLOCK_TOLERANCE_MS <= app.clock()) return null
    known.set(token, claims)
    return claims
  }

  return { issue, verify }
}
