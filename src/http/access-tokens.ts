import type { App } from '../app.ts'
import type { TokenClaims } from '../domain/sealed/handshakes.ts'
import { createSignedTokens } from './signed-tokens.ts'

const CLOCK_TOLERANCE_MS = 30_000

function claimsIn(value: unknown): TokenClaims | null {
  const { sid, ste, cnf, exp } = (value ?? {}) as Partial<TokenClaims>
  const isOurs =
    typeof sid === 'string' &&
    (ste === 'S1' || ste === 'S2' || ste === 'S3') &&
    typeof cnf?.dsk1 === 'string' &&
    Number.isSafeInteger(exp)
  return isOurs ? (value as TokenClaims) : null
}

const KIND = {
  type: 'dsk-at+jwt',
  audience: 'dsk-api',
  required: ['sub', 'sid', 'ste', 'cnf', 'jti', 'iat', 'exp'],
  read: claimsIn,
  rememberedMax: 20_000,
}

export type AccessTokens = ReturnType<typeof createAccessTokens>

/** The tokens of sealed sessions. */
export function createAccessTokens(app: App) {
  const tokens = createSignedTokens(app, KIND)

  /** The claims of a living token that one of our keys signed, or `null` for every cause alike. */
  async function verify(token: string): Promise<TokenClaims | null> {
    const claims = await tokens.genuine(token)
    return claims === null || claims.exp * 1000 + CLOCK_TOLERANCE_MS <= app.clock() ? null : claims
  }

  return { issue: (claims: TokenClaims) => tokens.sign(claims), verify }
}
