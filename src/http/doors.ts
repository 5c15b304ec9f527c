import { createHash } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { App } from '../app.ts'
import { addressKey } from '../domain/addresses.ts'
import { supportCodeOf } from '../domain/ids.ts'
import type { HandOut } from '../domain/session-keys.ts'
import { AppError } from '../errors.ts'
import { LEGACY_ERROR } from '../wire.ts'
import { refuse } from './errors.ts'
import { addressOf } from './request-context.ts'

const PURPOSE = 'hwid_encryption'

declare module 'fastify' {
  interface FastifyRequest {
    /** The session a client's token names; set by the client door alone. */
    sessionId: string
    /** The operator's token; set by the operator door alone. */
    operatorId: string
  }
}

/** What a log may call a session by. */
export function sessionMark(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('hex').slice(0, 8)
}

function bearer({ headers }: FastifyRequest): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
}

/** The legacy contract: its HS256 tokens by the door's `jwt`, and a support code on every reply, refusals too. */
export async function legacyDoor(door: FastifyInstance, { keyring }: App): Promise<void> {
  door.addHook('onRequest', async (request, reply) => {
    reply.header('x-support-code', supportCodeOf(request.id))
  })
  await door.register(fastifyJwt, {
    secret: currentSecret(keyring['legacy-jwt']),
    sign: { algorithm: 'HS256' },
    verify: VERIFY,
  })
}

/** Expiry is judged by the one clock that sessions live by, not by this process's own. */
const VERIFY = { algorithms: ['HS256' as const], ignoreExpiration: true, ignoreNotBefore: true, cache: false }

type Ring = App['keyring']['legacy-jwt']

function currentSecret({ current, keys }: Ring): Buffer {
  const key = keys.get(current)
  if (key === undefined) throw new Error('a ring holds its current key')
  return key.export()
}

/** The claims of a token that the current secret signed, or one that was retired while its last tokens live. */
function claimsIn(
  door: FastifyInstance,
  { current, keys }: Ring,
  token: string,
): Record<string, unknown> | null {
  const retired = [...keys]
    .filter(([id]) => id !== current)
    .map(([, key]) => ({ ...VERIFY, key: key.export() }))
  for (const options of [undefined, ...retired]) {
    try {
      return options === undefined ? door.jwt.verify(token) : door.jwt.verify(token, options)
    } catch {}
  }
  return null
}

function sessionIdIn(door: FastifyInstance, ring: Ring, token: string, nowMs: number): string | null {
  const { session_id: sessionId, exp, purpose } = claimsIn(door, ring, token) ?? {}
  const isValid = typeof sessionId === 'string' && typeof exp === 'number' && purpose === PURPOSE
  return isValid && exp * 1000 > nowMs ? sessionId : null
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
  door.addHook('onRequest', async (request, reply) => {
    const address = addressOf(request)
    const tooMany = () => {
      request.facts.outcome = 'check.too_many'
      app.events.refuse('excess_rate_limit_exceeded', address)
      return reply.code(429).header('retry-after', '60').send(LEGACY_ERROR.tooManyChecks)
    }
    const header = request.headers['x-session-token']
    const token = bearer(request) ?? (typeof header === 'string' ? header : undefined)
    const sessionId =
      token === undefined ? null : sessionIdIn(door, app.keyring['legacy-jwt'], token, app.clock())
    if (sessionId !== null) {
      if (!app.limits.allows('check', addressKey(address))) return tooMany()
      request.sessionId = sessionId
      request.facts.session = sessionMark(sessionId)
      return
    }
    app.events.refuse('authn_token_refused', address)
    if (!app.limits.allows('refused_token', addressKey(address))) return tooMany()
    request.facts.outcome = 'check.token_refused'
    return reply
      .code(401)
      .send(token === undefined ? LEGACY_ERROR.authenticationRequired : LEGACY_ERROR.invalidSession)
  })
}

/** Lets through who shows a living operator token. */
export function operatorDoor(door: FastifyInstance, app: App): void {
  door.decorateRequest('operatorId', '')
  door.addHook('onRequest', async (request, reply) => {
    const address = addressOf(request)
    const operator = await app.tokens.authenticate(bearer(request) ?? '')
    if (operator !== null) {
      request.operatorId = operator.id
      return
    }
    app.events.refuse('authn_token_refused', address)
    if (!app.limits.allows('refused_token', addressKey(address))) throw new AppError('too_many_requests')
    reply.header('www-authenticate', 'Bearer')
    return refuse(request, reply, 'authentication_required')
  })
}
