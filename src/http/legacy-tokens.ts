import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import type { App } from '../app.ts'
import type { HandOut, SessionClaims } from '../domain/session-keys.ts'
import { memoised } from '../memo.ts'

const PURPOSE = 'hwid_encryption'
const KEY = /^[0-9a-f]{64}$/i
const IV = /^[0-9a-f]{32}$/i
const SIGN = { algorithm: 'HS256' as const }
/** Expiry is judged by the one clock that sessions live by, not by this process's own. */
const VERIFY = { algorithms: ['HS256' as const], ignoreExpiration: true, ignoreNotBefore: true, cache: false }

declare module 'fastify' {
  interface FastifyInstance {
    /** Of the legacy contract; there behind its door. */
    legacyTokens: LegacyTokens
  }
}

export type LegacyTokens = {
  /** The signed token of a hand-out, key and IV in it. */
  issue(handOut: HandOut, address: string): string
  /** What a valid token says of its session, or `null`. */
  sessionIn(token: string): SessionClaims | null
}

/** The claims of a hand-out, in the order the old server wrote them. */
function claimsOf(handOut: HandOut, ip: string) {
  return {
    session_id: handOut.sessionId,
    key: handOut.keyHex,
    iv: handOut.ivHex,
    ip,
    purpose: PURPOSE,
    iat: handOut.issuedAtS,
    exp: handOut.expiresAtS,
    jti: handOut.rowMark,
  }
}

/** Gives a door the HS256 tokens of the legacy contract. */
export async function useLegacyTokens(door: FastifyInstance, app: App): Promise<void> {
  const { legacySecrets, clock } = app
  const [secret] = legacySecrets()
  await door.register(fastifyJwt, { secret, sign: SIGN, verify: VERIFY })

  /** None for the secret that the plugin has: what it made for that one at its start is faster. */
  const optionsFor = memoised((key: Buffer) =>
    key.equals(secret) ? {} : { sign: { ...SIGN, key }, verify: { ...VERIFY, key } },
  )

  /** The claims of a token that the current secret signed, or one before or after it while their tokens live. */
  function claimsIn(token: string): Record<string, unknown> | null {
    for (const key of legacySecrets()) {
      try {
        return door.jwt.verify(token, optionsFor(key).verify)
      } catch {}
    }
    return null
  }

  function issue(handOut: HandOut, address: string): string {
    const [current] = legacySecrets()
    return door.jwt.sign(claimsOf(handOut, address), optionsFor(current).sign)
  }

  door.decorate('legacyTokens', {
    issue,
    sessionIn: (token) => {
      const { session_id: sessionId, key: keyHex, iv: ivHex, exp, purpose, jti } = claimsIn(token) ?? {}
      if (typeof sessionId !== 'string' || typeof exp !== 'number' || purpose !== PURPOSE) return null
      if (typeof keyHex !== 'string' || typeof ivHex !== 'string') return null
      if (!KEY.test(keyHex) || !IV.test(ivHex) || exp * 1000 <= clock()) return null
      return { sessionId, keyHex, ivHex, rowMark: String(jti) }
    },
  } satisfies LegacyTokens)
}
