import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import closeWithGrace from 'close-with-grace'
import { type App, createApp } from '../../app.ts'
import { type Config, loadConfig } from '../../config.ts'
import { startServer } from '../../http/server.ts'
import { createLogger, flushLogger } from '../../log.ts'
import { command } from '../command.ts'

const SECRET_MIN_BYTES = 32
/** Where the demo client asks when it is not told. */
const CLIENT_DEFAULT_URL = 'http://127.0.0.1:3000'
/** Node would run a handler of these for ever: whatever raised them goes on. */
const NOT_OURS = ['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV', 'SIGUSR2'] as const

type Server = Awaited<ReturnType<typeof startServer>>

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

/** What an operator should know, and what the server can do without. */
async function warn({ config, createdKeys, logger, cleanup }: App): Promise<void> {
  const { host, tlsCert, trustProxy, jwtSecret, databaseUrl, keysDir } = config
  if (createdKeys.length > 0)
    logger.warn(
      { event: 'keys.created', files: createdKeys },
      `wrote new secret keys to ${keysDir}; back it up: without them this database cannot be read`,
    )
  if (tlsCert === undefined && trustProxy === undefined && !isLoopback(host))
    logger.warn(
      { event: 'server.plain_http', host },
      'anybody on the way can read and change what is sent: set TLS_CERT and TLS_KEY, or TRUST_PROXY behind a proxy with TLS',
    )
  if (jwtSecret !== undefined && Buffer.byteLength(jwtSecret) < SECRET_MIN_BYTES)
    logger.warn(
      { event: 'settings.short_jwt_secret' },
      `JWT_SECRET is shorter than ${SECRET_MIN_BYTES} bytes: it can be guessed from any token`,
    )
  if (databaseUrl !== undefined && !(await cleanup.hasLivingEvent()))
    logger.warn(
      { event: 'cleanup.no_database_event' },
      'the EVENT cleanup_expired_sessions does not run, so this server removes expired session keys itself; "kunci migrate" says why',
    )
}

/** Closes everything in the order in which nothing is missed: first who asks, then what answers. */
async function close(
  app: App,
  server: Server | undefined,
  timer: { stop: () => Promise<void> },
): Promise<void> {
  await server?.close()
  await timer.stop()
  await app.close()
}

/** The address as a client on this machine would use it. */
function localUrl(url: string): string {
  const local = new URL(url)
  if (local.protocol === 'https:') local.hostname = 'localhost'
  else if (['0.0.0.0', '[::]'].includes(local.hostname)) local.hostname = '127.0.0.1'
  return local.origin
}

function clientCommand(url: string, { tlsCert }: Config): string {
  const authority = tlsCert === undefined ? '' : join(dirname(tlsCert), 'ca.pem')
  const trust = authority !== '' && existsSync(authority) ? `NODE_EXTRA_CA_CERTS=${authority} ` : ''
  const where = url === CLIENT_DEFAULT_URL ? '' : ` --url ${url}`
  return `${trust}npm run client -- --hwid 1234567890${where}`
}

/** What a newcomer does next, to be pasted. */
async function hints(app: App, { url }: Server): Promise<string> {
  const local = localUrl(url)
  const greeting = `\nKunci listens on ${local} until you press Ctrl-C. What it offers: ${local}/docs\n`
  if ((await app.products.list()).length > 0) return greeting
  return `${greeting}
There is no product yet. To see a licence check, paste this into another terminal, in this folder:

  npm run -s kunci -- products create --code demo --name Demo
  npm run -s kunci -- licences create --product demo --customer "Budi" --hwid 1234567890
  ${clientCommand(local, app.config)}
`
}

/** Ends the process at a signal or an unforeseen error, once requests in flight are answered and all is written. */
function endWithGrace(
  { config, logger }: App,
  stderr: NodeJS.WritableStream,
  closeAll: () => Promise<void>,
): { uninstall: () => void } {
  const { shutdownTimeoutMs } = config
  const options = {
    delay: shutdownTimeoutMs,
    logger: false as const,
    skip: [...NOT_OURS],
    onTimeout: () => stderr.write(`kunci: not closed after ${shutdownTimeoutMs} ms; ended all the same\n`),
    onSecondSignal: () => stderr.write('kunci: a second signal; ended at once\n'),
    onSecondError: (error: unknown) => stderr.write(`kunci: failed while closing: ${error}\n`),
  }
  return closeWithGrace(options, async ({ err, signal }) => {
    if (err === undefined) logger.info({ event: 'server.stopping', signal })
    else logger.fatal({ event: 'server.failed', err })
    try {
      await closeAll()
      logger.info({ event: 'server.stopped' })
    } catch (error) {
      logger.error({ event: 'server.not_closed', err: error })
    }
    await flushLogger(logger)
  })
}

const serve = command({
  path: ['serve'],
  summary: 'Runs the server until it is stopped; its log goes to stdout, one JSON object a line.',
  options: { hints: { doc: 'Says on stderr, once it listens, what to try next.' } },
  positionals: [],
  example: 'kunci serve',
  more: () =>
    'SIGTERM and SIGINT stop it: requests in flight are answered first. For its settings see: kunci config --help',
  run: async ({ args, env, streams }) => {
    const config = loadConfig(env)
    const app = await createApp(config, { logger: createLogger(config.logLevel) })
    const timer = app.cleanup.start()
    let server: Server | undefined
    const grace = endWithGrace(app, streams.stderr, () => close(app, server, timer))
    try {
      await warn(app)
      server = await startServer(app)
      app.logger.info({ event: 'server.listening', url: server.url })
      await flushLogger(app.logger)
      if (args.hints) streams.stderr.write(await hints(app, server))
    } catch (error) {
      grace.uninstall()
      await close(app, server, timer)
      await flushLogger(app.logger)
      throw error
    }
    // The end is at hand in endWithGrace, which leaves the process.
    return new Promise<never>(() => {})
  },
})

export const serveCommands = [serve]
