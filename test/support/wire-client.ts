import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingHttpHeaders,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

export type WireReply = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The body as it came. */
  readonly text: string
  readonly tookMs: number
}

export type WireRequest = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** A request under way: `isSent` once its last byte was given to the system. It is sent once, whatever happens. */
export type Exchange = { readonly reply: Promise<WireReply>; isSent(): boolean }

export type WireOptions = {
  readonly connections?: number
  readonly keepAlive?: boolean
  /** The authority it trusts, in PEM, instead of the system's. */
  readonly ca?: string
}

/** Keeps its connections open between requests, as a browser or a proxy does, unless it is told otherwise. */
export function wireClient(baseUrl: string, { connections = 32, keepAlive = true, ca }: WireOptions = {}) {
  const isSecure = baseUrl.startsWith('https:')
  const request = isSecure ? httpsRequest : httpRequest
  const agent = isSecure
    ? new HttpsAgent({ keepAlive, maxSockets: connections, ...(ca === undefined ? {} : { ca }) })
    : new HttpAgent({ keepAlive, maxSockets: connections })

  function begin(path: string, { method = 'POST', headers = {}, body }: WireRequest = {}): Exchange {
    const startMs = performance.now()
    let sent: ClientRequest | undefined
    const reply = new Promise<WireReply>((resolve, reject) => {
      sent = request(new URL(path, baseUrl), { method, headers: { ...headers }, agent })
      sent.on('error', reject)
      sent.on('response', (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString('utf8'),
            tookMs: performance.now() - startMs,
          }),
        )
      })
      sent.end(body)
    })
    reply.catch(() => {})
    return { reply, isSent: () => sent?.writableFinished === true }
  }

  return {
    begin,
    send: (path: string, wish?: WireRequest) => begin(path, wish).reply,
    handOut: () => begin('/api/auth/get-session-key').reply,
    check: (token: string, body: unknown) =>
      begin('/api/1.php', {
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      }).reply,
    close: () => agent.destroy(),
  }
}

export type WireClient = ReturnType<typeof wireClient>

/** Calls `work` in so many loops at once until `stop` is called, which waits for the last ones. */
export function loops(count: number, work: (loop: number) => Promise<void>): { stop(): Promise<void> } {
  let isOver = false
  const all = Promise.all(
    Array.from({ length: count }, async (_, loop) => {
      while (!isOver) await work(loop)
    }),
  )
  all.catch(() => {})
  return {
    stop: async () => {
      isOver = true
      await all
    },
  }
}
