import { type App, createApp } from '../../app.ts'
import { loadConfig } from '../../config.ts'
import { startServer } from '../../http/server.ts'
import { createLogger, flushLogger } from '../../log.ts'
import { command } from '../command.ts'
import { endWithGrace } from '../serving/grace.ts'
import { FROM_CLONE, hints, setupHint } from '../serving/hints.ts'
import { warn } from '../serving/warnings.ts'
import { followLead, startWorkers, workerNumber } from '../serving/workers.ts'
import { beginYoung } from '../serving/young-objects.ts'

type Listening = { readonly url: string; close(): Promise<void> }

/** Closes everything in the order in which nothing is missed: first who asks, then what answers. */
async function close(
  app: App,
  starting: Promise<Listening> | undefined,
  timer: { stop: () => Promise<void> } | undefined,
): Promise<void> {
  const listening = await starting?.catch(() => undefined)
  await listening?.close()
  await timer?.stop()
  await app.close()
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
    beginYoung()
    const config = loadConfig(env)
    const worker = workerNumber()
    const isLed = worker !== undefined
    const app = await createApp(config, { logger: createLogger(config.logLevel, { worker }) })
    const timer = isLed ? undefined : app.cleanup.start()
    let starting: Promise<Listening> | undefined
    const grace = endWithGrace(app, streams.stderr, !isLed, () => close(app, starting, timer))
    const letGo = isLed ? followLead(app, grace.close) : undefined
    try {
      if (!isLed) await warn(app)
      starting = isLed || config.workers === 1 ? startServer(app) : startWorkers(app)
      const { url } = await starting
      if (isLed) app.logger.info({ event: 'worker.listening', url, pid: process.pid })
      else app.logger.info({ event: 'server.listening', url })
      await flushLogger(app.logger)
      if (!isLed) streams.stderr.write(await setupHint(app, url, args.hints ? FROM_CLONE : 'kunci'))
      if (args.hints && !isLed) streams.stderr.write(await hints(app, url))
    } catch (error) {
      grace.uninstall()
      await close(app, starting, timer)
      await flushLogger(app.logger)
      letGo?.()
      throw error
    }
    // The end is at hand in endWithGrace, which leaves the process.
    return new Promise<never>(() => {})
  },
})

export const serveCommands = [serve]
