import { type AddressInfo, isIPv6 } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify, { type FastifyInstance, LogController } from 'fastify'
import type { App } from '../app.ts'
import type { Config } from '../config.ts'
import { newRequestId } from '../domain/ids.ts'
import { SetupError } from '../errors.ts'
import { loadTls, type TlsPaths } from '../tls.ts'
import { VERSION } from '../version.ts'
import { takeBodiesLiterally, takeEmptyBodies } from './bodies.ts'
import { closeGently } from './closing.ts'
import { adminDoor, clientDoor, legacyDoor, operatorDoor, streamDoor, userDoor } from './doors.ts'
import { answerErrors, clientErrorAnswerer, frameworkErrorAnswerer } from './errors.ts'
import { pageHeaders } from './headers.ts'
import { followRequests, type Requests, trackRequests } from './request-context.ts'
import { accountRoutes } from './routes/account.ts'
import { authRoutes } from './routes/auth.ts'
import { eventRoutes } from './routes/events.ts'
import { healthRoutes } from './routes/health.ts'
import { licenceRoutes } from './routes/licences.ts'
import { sealedRoutes } from './routes/sealed.ts'
import { sessionKeyRoutes } from './routes/session-keys.ts'
import { sessionRoutes, userSessionRoutes } from './routes/sessions.ts'
import { streamAccessRoutes, streamRoutes } from './routes/streams.ts'
import { wellKnownRoutes } from './routes/well-known.ts'
import { sealedAnswers } from './sealed.ts'
import { createSessionTokens } from './session-tokens.ts'
import { watchTls } from './tls.ts'

const BODY_MAX_BYTES = 16 * 1024
/** Node looks this often for requests that take too long; its own default of 30 s would let them take that much longer. */
const TIMEOUT_CHECK_MS = 1000

function tlsPaths({ config }: App): TlsPaths | undefined {
  if (config.tlsCert === undefined || config.tlsKey === undefined) return undefined
  return { certPath: config.tlsCert, keyPath: config.tlsKey }
}

function readTls(paths: TlsPaths) {
  try {
    return loadTls(paths)
  } catch (error) {
    throw new SetupError((error as Error).message, { cause: error })
  }
}

function bareServer(app: App, requests: Requests): FastifyInstance {
  const { config, logger, random } = app
  const paths = tlsPaths(app)
  const listener = { connectionsCheckingInterval: TIMEOUT_CHECK_MS, requestTimeout: config.requestTimeoutMs }
  const server = fastify({
    ...(paths === undefined ? { http: listener } : { https: { ...readTls(paths), ...listener } }),
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    // One logger for all requests: each line names its request itself.
    childLoggerFactory: (parent) => parent,
    genReqId: () => newRequestId(random),
    requestIdHeader: false,
    bodyLimit: BODY_MAX_BYTES,
    requestTimeout: config.requestTimeoutMs,
    keepAliveTimeout: config.keepAliveTimeoutMs,
    trustProxy: config.trustProxy === undefined ? false : [...config.trustProxy],
    forceCloseConnections: 'idle',
    // A request that reached us is answered, also while we are closing.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    clientErrorHandler: clientErrorAnswerer(app),
    frameworkErrors: frameworkErrorAnswerer(requests),
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true, allErrors: false } },
  })
  return server as unknown as FastifyInstance
}

async function describe(server: FastifyInstance, { config }: App): Promise<void> {
  await server.register(swagger, {
    openapi: {
      info: {
        title: 'Kunci',
        description: 'Session keys and licence checks for desktop tools.',
        version: VERSION,
      },
      components: {
        securitySchemes: {
          session: { type: 'http', scheme: 'bearer', description: 'The session_token of the hand-out.' },
          user: { type: 'http', scheme: 'bearer', description: 'The token of `POST /api/auth/login`.' },
          operator: { type: 'http', scheme: 'bearer', description: 'A token of `kunci tokens create`.' },
        },
      },
    },
  })
  await server.register(async (pages) => {
    await pageHeaders(pages, config)
    await pages.register(swaggerUi, { routePrefix: '/docs', staticCSP: true })
  })
}

/** Builds the HTTP face of an app. Nothing listens yet: tests inject requests. */
export async function createServer(app: App): Promise<FastifyInstance> {
  const requests = trackRequests(app)
  const server = bareServer(app, requests).withTypeProvider<TypeBoxTypeProvider>()
  closeGently(server, requests)
  followRequests(server, requests)
  answerErrors(server, app)
  await describe(server, app)
  await server.register(healthRoutes(app))
  await server.register(wellKnownRoutes(app))
  const sealed = sealedAnswers(app)
  await server.register(sealedRoutes(app, sealed), { prefix: '/v1' })
  // Doors. Who stands behind one has passed its guard; a route cannot forget it.
  await server.register(async (door) => {
    await legacyDoor(door, app)
    await door.register(sessionKeyRoutes(app, sealed), { prefix: '/api' })
    await door.register(async (guarded) => {
      clientDoor(guarded, app)
      await guarded.register(licenceRoutes(app, sealed), { prefix: '/api' })
    })
  })
  takeBodiesLiterally(server)
  const sessionTokens = createSessionTokens(app)
  await server.register(authRoutes(app, sessionTokens), { prefix: '/api' })
  await server.register(async (guarded) => {
    takeEmptyBodies(guarded)
    userDoor(guarded, app, sessionTokens)
    await guarded.register(accountRoutes(app), { prefix: '/api' })
    await guarded.register(sessionRoutes(app), { prefix: '/api' })
    await guarded.register(streamAccessRoutes(app), { prefix: '/api' })
    await guarded.register(async (inner) => {
      adminDoor(inner)
      await inner.register(userSessionRoutes(app), { prefix: '/api/user-sessions' })
    })
  })
  await server.register(async (guarded) => {
    streamDoor(guarded, app, sessionTokens)
    await guarded.register(streamRoutes(app), { prefix: '/api' })
  })
  await server.register(async (guarded) => {
    operatorDoor(guarded, app)
    await guarded.register(eventRoutes(app), { prefix: '/api/admin' })
  })
  return server
}

/** Where a server that listens there is reached. */
export function serverUrl({ tlsCert }: Config, { address, port }: { address: string; port: number }): string {
  const host = isIPv6(address) ? `[${address}]` : address
  return `${tlsCert === undefined ? 'http' : 'https'}://${host}:${port}`
}

/**
 * Listens as the settings say.
 * @returns the address in use, and `close`, which lets requests in flight finish.
 * @throws {SetupError} when the port is taken or the certificate cannot be used.
 */
export async function startServer(app: App): Promise<{ url: string; close(): Promise<void> }> {
  const { config, logger } = app
  const server = await createServer(app)
  try {
    await server.listen({ host: config.host, port: config.port })
  } catch (error) {
    await server.close()
    throw new SetupError(`Cannot listen on ${config.host}:${config.port}: ${(error as Error).message}`, {
      cause: error,
    })
  }
  const keyWatch = app.keyWatch.start()
  const paths = tlsPaths(app)
  const watch =
    paths === undefined
      ? undefined
      : watchTls(server.server as unknown as TlsServer, paths, {
          onReload: () => logger.info({ event: 'tls.reloaded' }),
          onError: (error) => logger.error({ event: 'tls.not_reloaded', err: error }),
        })
  return {
    url: serverUrl(config, server.server.address() as AddressInfo),
    close: async () => {
      watch?.close()
      await server.close()
      await keyWatch.stop()
    },
  }
}
