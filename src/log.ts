import pino, { type DestinationStream, type Logger } from 'pino'

export type { Logger } from 'pino'

/** What no log line ever holds, whatever object is logged by mistake. Bodies are never logged at all. */
export const REDACTED = [
  'authorization',
  'x-session-token',
  'token',
  'session_token',
  'access_token',
  'key',
  'session_key',
  'session_iv',
  'iv',
  'box',
  'salt',
  'licence',
  'hwid',
  'password',
  'secret',
] as const

/** One JSON line an event. Writes are gathered, so that a log line costs a request nothing to speak of. */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const paths = REDACTED.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`])
  const options = { level, base: null, redact: { paths, censor: '[redacted]' } }
  return pino(
    options,
    destination ?? pino.destination({ dest: 1, sync: false, minLength: 4096, periodicFlush: 200 }),
  )
}

/** Writes out what is still gathered: before the process ends. */
export function flushLogger(logger: Logger): Promise<void> {
  return new Promise((resolve) => logger.flush(() => resolve()))
}
