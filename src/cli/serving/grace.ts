import closeWithGrace from 'close-with-grace'
import type { App } from '../../app.ts'
import { flushLogger } from '../../log.ts'

/** Node would run a handler of these for ever: whatever raised them goes on. */
const NOT_OURS = ['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV', 'SIGUSR2'] as const
/** What ends a server in order. A terminal and a service manager send it to every process of the group. */
const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/**
 * Ends the process at a signal or an unforeseen error, once requests in flight are answered and all is written.
 * @param obeysSignals `false` for a worker, which ends when the process that leads it says so.
 */
export function endWithGrace(
  { config, logger }: App,
  stderr: NodeJS.WritableStream,
  obeysSignals: boolean,
  closeAll: () => Promise<void>,
): { close: () => void; uninstall: () => void } {
  const { shutdownTimeoutMs } = config
  if (!obeysSignals) for (const signal of STOPPING) process.on(signal, () => {})
  const options = {
    delay: shutdownTimeoutMs,
    logger: false as const,
    skip: obeysSignals ? [...NOT_OURS] : [...NOT_OURS, ...STOPPING],
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
