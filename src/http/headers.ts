import helmet from '@fastify/helmet'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config.ts'

/** Browsers are told to insist on HTTPS only where there is HTTPS: /docs must open on plain loopback too. */
function isSecure({ tlsCert, trustProxy }: Config): boolean {
  return tlsCert !== undefined || trustProxy !== undefined
}

/** What every answer carries. No answer of the API is a page: nothing in it may be run, framed, guessed at or kept. */
export function answerHeaders(config: Config): Readonly<Record<string, string>> {
  return {
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    ...(isSecure(config) ? { 'strict-transport-security': 'max-age=31536000; includeSubDomains' } : {}),
  }
}

/** What pages carry besides, set for each anew: many headers, which would double the cost of an answer of the API. */
export async function pageHeaders(scope: FastifyInstance, config: Config): Promise<void> {
  await scope.register(helmet, {
    strictTransportSecurity: isSecure(config),
    contentSecurityPolicy: { directives: { upgradeInsecureRequests: isSecure(config) ? [] : null } },
  })
}
