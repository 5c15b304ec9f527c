import type { FastifyInstance } from 'fastify'
import type { App } from '../../app.ts'
import { AppError } from '../../errors.ts'
import { ErrorReply, JwkSetReply, KeySetReply } from '../../wire/service.ts'

const CACHEABLE = 'public, max-age=300'

/** The public keys, for whoever verifies what the private ones signed. */
export function wellKnownRoutes({ keys, keySets }: App) {
  return async (scope: FastifyInstance): Promise<void> => {
    const tags = ['keys']
    const jwks = {
      tags,
      summary: 'The keys that verify the tokens of sealed sessions',
      description: 'For other servers (RFC 7517): a desktop client trusts nothing that it has from here.',
      response: { 200: JwkSetReply },
    }
    const keySet = {
      tags,
      summary: 'The newest signed key set',
      description: 'A JWS of the root key: worth as much to a client as its pin of that key.',
      response: { 200: KeySetReply, 404: ErrorReply, 503: ErrorReply },
    }

    scope.get('/.well-known/jwks.json', { schema: jwks }, async (_request, reply) => {
      reply.header('cache-control', CACHEABLE).type('application/jwk-set+json')
      return { keys: keys.jwtJwks() }
    })

    scope.get('/.well-known/dsk1-keys.jwt', { schema: keySet }, async (_request, reply) => {
      const newest = await keySets.newest()
      if (newest === null) throw new AppError('not_found', { detail: 'no key set was signed yet' })
      reply.header('cache-control', CACHEABLE).type('application/jwt')
      return newest.jws
    })
  }
}
