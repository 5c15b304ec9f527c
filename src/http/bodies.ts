import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'

/** Many front ends say that they send JSON with every request, also where they send nothing. */
export function takeEmptyBodies(scope: FastifyInstance): void {
  const parse = scope.getDefaultJsonParser('error', 'error')
  scope.removeContentTypeParser('application/json')
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else void parse(request, body as string, done)
  })
}

/**
 * A body is taken at its word, on all routes that come after: a number is no text, and nothing is no empty one. A query
 * is nothing but text, and goes on being read as what it should be.
 */
export function takeBodiesLiterally(scope: FastifyInstance): void {
  scope.addHook('onRoute', (route) => {
    if (route.schema?.body !== undefined) route.validatorCompiler = TypeBoxValidatorCompiler
  })
}
