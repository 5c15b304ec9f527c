import { createPublicKey } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import fastify, { type FastifyInstance } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { App } from '../app.ts'
import type { SigningKey } from '../crypto/jwk.ts'
import type { TokenClaims } from '../domain/sealed/handshakes.ts'
import { memoised } from '../memo.ts'

const TYPE = 'dsk-at+jwt'
const AUDIENCE = 'dsk-api'
const REQUIRED = ['sub', 'sid', 'ste', 'cnf', 'jti', 'iat', 'exp']
const TOKEN_MAX_CHARACTERS = 2048
const CLOCK_TOLERANCE_MS = 30_000
const REMEMBERED_MAX = 20_000

/** @fastify/jwt for one key: it takes its keys at registration, and ours change while the server runs. */
async function holderOf({ kid, privateKey }: SigningKey, issuer: string): Promise<FastifyInstance> {
  const holder = fastify()
  await holder.register(fastifyJwt, {
    secret: {
      private: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      public: createPublicKey(privateKey).export({ format: 'pem', type: 'spki' }).toString(),
    },
    decode: { complete: true },
    sign: { algorithm: 'EdDSA', kid, header: { alg: 'EdDSA', typ: TYPE }, iss: issuer, aud: AUDIENCE },
    verify: {
      algorithms: ['EdDSA'],
      allowedIss: issuer,
      allowedAud: AUDIENCE,
      checkTyp: TYPE,
      requiredClaims: REQUIRED,
      // Expiry is judged by the one clock that sessions live by, not by this process's own.
      ignoreExpiration: true,
      cache: false,
    },
  })
  await holder.ready()
  return holder
}

function claimsIn(value: unknown): TokenClaims | null {
  const { sid, ste, cnf, exp } = value as Partial<TokenClaims>
  const isOurs =
    typeof sid === 'string' &&
    (ste === 'S1' || ste === 'S2' || ste === 'S3') &&
    typeof cnf?.dsk1 === 'string' &&
    Number.isSafeInteger(exp)
  return isOurs ? (value as TokenClaims) : null
}

export type AccessTokens = ReturnType<typeof createAccessTokens>

/** The tokens of sealed sessions: EdDSA (RFC 8037), `dsk-at+jwt`, under the ring `jwt`. */
export function createAccessTokens({ keyPairs, issuer, clock }: App) {
  /** One for each key of a ring, by key id; the current key's first. */
  const holders = memoised(async (keys: readonly SigningKey[]) => {
    const all = await Promise.all(keys.map(async (key) => [key.kid, await holderOf(key, issuer)] as const))
    return {
      byKid: new Map(all),
      current: all[0]?.[1] as FastifyInstance,
      /** Claims by token: a signature is checked once, and one that was made here not at all. Ends with its ring. */
      verified: new LRUCache<string, TokenClaims>({ max: REMEMBERED_MAX }),
    }
  })

  async function issue(claims: TokenClaims): Promise<string> {
    const { current, verified } = await holders(keyPairs.jwt())
    const token = current.jwt.sign(claims)
    verified.set(token, claims)
    return token
  }

  /** The claims of a living token that one of our keys signed, or `null` for every cause alike. */
  async function verify(token: string): Promise<TokenClaims | null> {
    if (token.length > TOKEN_MAX_CHARACTERS) return null
    const { byKid, verified } = await holders(keyPairs.jwt())
    const claims = verified.get(token) ?? verifyWith(byKid, token)
    if (claims === null || claims.exp * 1000 + CLOCK_TOLERANCE_MS <= clock()) return null
    verified.set(token, claims)
    return claims
  }

  function verifyWith(byKid: ReadonlyMap<string, FastifyInstance>, token: string): TokenClaims | null {
    try {
      const [header = ''] = token.split('.', 1)
      const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString('latin1'))
      const holder = byKid.get(kid)
      return holder === undefined ? null : claimsIn(holder.jwt.verify(token))
    } catch {
      return null
    }
  }

  return { issue, verify }
}
