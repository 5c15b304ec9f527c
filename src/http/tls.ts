import type { Server } from 'node:tls'
import { fileState } from '../file-state.ts'
import { loadTls, type TlsPaths } from '../tls.ts'

const POLL_INTERVAL_MS = 5_000

export interface WatchTlsOptions {
  /** Called after a new pair was installed: new connections get it, open ones keep the old. */
  onReload: () => void
  /** Called once for each change of the files that could not be installed; the old pair stays in use. */
  onError: (error: Error) => void
  /** How often the files are looked at, in milliseconds; by default every five seconds. */
  intervalMs?: number
  /** The time in epoch milliseconds. */
  clock?: () => number
}

/**
 * Keeps a running TLS server on the pair that lies in the files: installs it now, and again whenever one of the files
 * changes (also when certbot turns a link to a new file). A pair that {@link loadTls} refuses, such as one that is
 * half written, is not installed; it is tried again at every look until it is whole.
 *
 * The files are polled: change notices get lost over links and network drives. The timer keeps no process alive.
 * `setSecureContext` forgets TLS options other than the pair (minVersion, ciphers ...); the server should have none.
 */
export function watchTls(server: Server, paths: TlsPaths, options: WatchTlsOptions): { close(): void } {
  const { onReload, onError, intervalMs = POLL_INTERVAL_MS, clock = Date.now } = options
  let installed = ''
  let reported = ''

  function look(): boolean {
    // Taken before the files are read: a change in between is then seen at the next look.
    const state = `${fileState(paths.certPath)} ${fileState(paths.keyPath)}`
    if (state === installed) return false
    try {
      server.setSecureContext(loadTls(paths, clock()))
      installed = state
      return true
    } catch (error) {
      if (state !== reported) onError(error as Error)
      reported = state
      return false
    }
  }

  // The pair may have changed since the server was made with it; that first pair is no news.
  look()
  const timer = setInterval(() => {
    if (look()) onReload()
  }, intervalMs)
  timer.unref()
  return { close: () => clearInterval(timer) }
}
