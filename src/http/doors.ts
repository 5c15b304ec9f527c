import { hash } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { App } from '../app.ts'
import { addressKey } from '../domain/addresses.ts'
import { supportCodeOf } from '../domain/ids.ts'
import type { HandOut } from '../domain/session-keys.ts'
import { AppError } from '../errors.ts'
import { LEGACY_ERROR } from '../wire.ts'
import { refuse } from './errors.ts'

const PURPOSE = 'hwid_encryption'

declare module 'fastify' {
  interface FastifyRequest {
    /** The session a client's token names; set by the client door alone. */
    sessionId: string
  }
}

/** What a log may call a session by. */
export function sessionMark(sessionId: string): string {
  return hash('sha256', sessionId).slice(0, 8)
}

function bearer({ headers }: FastifyRequest): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
}

/** The legacy contract: its HS256 tokens by the door's `jwt`, and a support code on every reply, refusals too. */
export async function legacyDoor(door: FastifyInstance, { legacySecrets }: App): Promise<void> {
  door.addHook('onRequest', (request, reply, done) => {
    reply.header('x-support-code', supportCodeOf(request.id))
    done()
  })
  await door.register(fastifyJwt, {
    secret: requireSecret(legacySecrets[0]),
    sign: { algorithm: 'HS256' },
    verify: VERIFY,
  })
}

/** Expiry is judged by the one clock that sessions live by, not by this process's own. */
const VERIFY = { algorithms: ['HS256' as const], ignoreExpiration: true, ignoreNotBefore: true, cache: false }

function requireSecret(secret: Buffer | undefined): Buffer {
  if (secret === undefined) throw new Error('there is a secret to sign with')
  return secret
}

/** The claims of a token that the current secret signed, or one that was retired while its last tokens live. */
function claimsIn(
  door: FastifyInstance,
  { legacySecrets }: App,
  token: string,
): Record<string, unknown> | null {
  for (const [i, key] of legacySecrets.entries()) {
    try {
      return i === 0 ? door.jwt.verify(token) : door.jwt.verify(token, { ...VERIFY, key })
    } catch {}
  }
  return null
}

function sessionIdIn(door: FastifyInstance, app: App, token: string): string | null {
  const { session_id: sessionId, exp, purpose } = claimsIn(door, app, token) ?? {}
  const isValid = typeof sessionId === 'string' && typeof exp === 'number' && purpose === PURPOSE
  return isValid && exp * 1000 > app.clock() ? sessionId : null
}

/** The claims of a hand-out, in the order the old server wrote them. */
export function legacyClaims(handOut: HandOut, ip: string, jti: string) {
  return {
    session_id: handOut.sessionId,
    key: handOut.keyHex,
    iv: handOut.ivHex,
    ip,
    purpose: PURPOSE,
    iat: handOut.issuedAtS,
    exp: handOut.expiresAtS,
    jti,
  }
}

/** Lets through who shows a valid session token, within the limit of his address. */
export function clientDoor(door: FastifyInstance, app: App): void {
  door.decorateRequest('sessionId', '')
  door.addHook('onRequest', (request, reply, done) => {
    const { address } = request
    const header = request.headers['x-session-token']
    const token = bearer(request) ?? (typeof header === 'string' ? header : undefined)
    const sessionId = token === undefined ? null : sessionIdIn(door, app, token)
    if (sessionId === null) app.events.refuse('authn_token_refused', address)
    if (!app.limits.allows(sessionId === null ? 'refused_token' : 'check', addressKey(address))) {
      request.facts.outcome = 'check.too_many'
      app.events.refuse('excess_rate_limit_exceeded', address)
      return void reply.code(429).header('retry-after', '60').send(LEGACY_ERROR.tooManyChecks)
    }
    if (sessionId === null) {
      request.facts.outcome = 'check.token_refused'
      const refusal = token === undefined ? LEGACY_ERROR.authenticationRequired : LEGACY_ERROR.invalidSession
      return void reply.code(401).send(refusal)
    }
    request.sessionId = sessionId
    request.facts.session = sessionMark(sessionId)
    done()
  })
}

/** Lets through who shows a living operator token. */
export function operatorDoor(door: FastifyInstance, app: App): void {
  door.addHook('onRequest', async (request, reply) => {
    const { address } = request
    if ((await app.tokens.authenticate(bearer(request) ?? '')) !== null) return
    app.events.refuse('authn_token_refused', address)
    if (!app.limits.allows('refused_token', addressKey(address))) throw new AppError('too_many_requests')
    reply.header('www-authenticate', 'Bearer')
    return refuse(request, reply, 'authentication_required')
  })
}
