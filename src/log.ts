import pino, { type DestinationStream, type Logger } from 'pino'

export type { Logger } from 'pino'

/** What no log line ever holds, whatever object is logged by mistake. Bodies are never logged at all. */
export const REDACTED: ReadonlySet<string> = new Set([
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
])

const CENSORED = '[redacted]'
const DEPTH_MAX = 4
/** POSIX's least PIPE_BUF is smaller, that of Linux and its kin is this. */
const ATOMIC_BYTES = 4096
const GATHERED_BYTES = 3072

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

function isHarmless(name: string, value: unknown): boolean {
  return !REDACTED.has(name.toLowerCase()) && !isPlainObject(value)
}

/**
 * Replaces secret members, at any depth a log line has. pino's own `redact` took a third of a request's time; most lines
 * have nothing to replace and are not even copied.
 */
function withoutSecrets(fields: Record<string, unknown>, depth = 0): Record<string, unknown> {
  if (Object.keys(fields).every((name) => isHarmless(name, fields[name]))) return fields
  const safe: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields)) {
    if (REDACTED.has(name.toLowerCase())) safe[name] = CENSORED
    else if (!isPlainObject(value)) safe[name] = value
    else safe[name] = depth < DEPTH_MAX ? withoutSecrets(value, depth + 1) : CENSORED
  }
  return safe
}

type Where = {
  /** Standard output when it is not said. */
  readonly destination?: DestinationStream
  /** The number of the process that writes, where several share one output. */
  readonly worker?: number | undefined
}

/**
 * One JSON line an event. Writes are gathered, so that a log line costs a request nothing to speak of, and are small
 * enough that the system takes each as a whole: lines of several processes do not run into each other.
 */
export function createLogger(level: string, { destination, worker }: Where = {}): Logger {
  const options = {
    level,
    base: worker === undefined ? null : { worker },
    formatters: { log: (fields: object) => withoutSecrets(fields as Record<string, unknown>) },
  }
  return pino(
    options,
    destination ??
      pino.destination({
        dest: 1,
        sync: false,
        minLength: GATHERED_BYTES,
        maxWrite: ATOMIC_BYTES,
        periodicFlush: 200,
      }),
  )
}

/** Writes out what is still gathered: before the process ends. */
export function flushLogger(logger: Logger): Promise<void> {
  return new Promise((resolve) => logger.flush(() => resolve()))
}
