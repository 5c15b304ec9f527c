import { concat } from './encoding.ts'
import { UnavailableError } from './unavailable.ts'

/** A reply of which nothing is authenticated yet. */
export type PlainReply = { readonly status: number; readonly text: string }

/**
 * Posts JSON.
 * @param waitsMs before each further try; those of the options where none are given.
 * @throws {UnavailableError} `no_reply` or `unopened`.
 */
export type Post = (
  path: string,
  body: string,
  token?: string,
  waitsMs?: readonly number[],
) => Promise<PlainReply>

export type TransportOptions = {
  /** Such as `https://licences.example`. */
  readonly serverUrl: string
  readonly fetch?: typeof globalThis.fetch
  /** Waits before the second, third and fourth try, in ms. */
  readonly retryMs?: readonly number[]
  /** How long one try may take, in ms. */
  readonly timeoutMs?: number
  readonly sleep?: (ms: number) => Promise<void>
}

const RETRY_MS = [1_000, 3_000, 9_000] as const
const TIMEOUT_MS = 10_000
const REPLY_MAX_BYTES = 65_536
const BUSY = 503

async function textOf(body: ReadableStream<Uint8Array> | null): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for (const reader = body?.getReader(); reader !== undefined; ) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.length
    if (length > REPLY_MAX_BYTES) {
      await reader.cancel()
      throw new UnavailableError('unopened')
    }
    chunks.push(value)
  }
  return new TextDecoder().decode(concat(...chunks))
}

/**
 * Sends the same bytes again after a time-out, a connection error or a 503, and gives up after the last wait.
 * @throws {TypeError} or {RangeError} for a server address that is none.
 */
export function createPost({
  serverUrl,
  fetch = globalThis.fetch,
  retryMs = RETRY_MS,
  timeoutMs = TIMEOUT_MS,
  sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
}: TransportOptions): Post {
  if (!/^https?:$/.test(new URL(serverUrl).protocol)) throw new RangeError(`no web address: ${serverUrl}`)
  const once = async (path: string, body: string, token?: string): Promise<PlainReply | null> => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
    try {
      const reply = await fetch(new URL(path, serverUrl), {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...authorization },
        body,
        redirect: 'error',
        credentials: 'omit',
        cache: 'no-store',
        signal: AbortSignal.timeout(timeoutMs),
      })
      const text = await textOf(reply.body)
      return reply.status === BUSY ? null : { status: reply.status, text }
    } catch (error) {
      if (error instanceof UnavailableError) throw error
      return null
    }
  }
  return async (path, body, token, waitsMs = retryMs) => {
    for (const waitMs of [...waitsMs, null]) {
      const reply = await once(path, body, token)
      if (reply !== null) return reply
      if (waitMs !== null) await sleep(waitMs)
    }
    throw new UnavailableError('no_reply')
  }
}
