import type { FastifyInstance } from 'fastify'

/** The old programs send any content type, or none, or one that is not even well formed: the bytes are what counts. */
export function takeAnyBody(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body)
  })
  scope.addHook('onRequest', (request, _reply, done) => {
    request.raw.headers['content-type'] = 'application/octet-stream'
    done()
  })
}

/** The JSON object in a body, or `null` when there is none: no body, broken JSON, an array, a number … */
export function objectIn(body: unknown): Record<string, unknown> | null {
  if (!Buffer.isBuffer(body) || body.length === 0) return null
  try {
    const value: unknown = JSON.parse(body.toString('utf8').replace(/^\ufeff/, ''))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null
  } catch {
    return null
  }
}
