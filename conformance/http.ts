import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** The addresses of the protocol. */
export const SESSION = '/v1/session'
export const CALL = '/v1/call'

/** As a client sent it, complete. */
export type Request = {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export type Reply = {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Text goes out as it is, anything else as JSON. */
  readonly body: unknown
  /** What the genuine server minded about the request: for the report, not for the wire. */
  readonly complaint?: string
}

/** A reply that plain HTTP cannot express: it has the connection for itself. */
export type Spectacle = (response: ServerResponse) => void

export type Exchange = { readonly request: Request; readonly reply: Reply | Spectacle }

export type Front = AsyncDisposable & {
  /** No slash at its end. */
  readonly url: string
  /** In the order in which the requests were complete. */
  readonly exchanges: readonly Exchange[]
  /** Every byte that came in, whatever it was. */
  received(): Buffer
}

export function textOf({ body }: Reply): string {
  return typeof body === 'string' ? body : JSON.stringify(body)
}

/** @returns `null` where the client left in the middle of it. */
async function read(message: IncomingMessage): Promise<Request | null> {
  const { method = '', url: path = '', headers } = message
  try {
    return { method, path, headers, body: await buffer(message) }
  } catch {
    return null
  }
}

function send(response: ServerResponse, reply: Reply | Spectacle): void {
  if (typeof reply === 'function') {
    reply(response)
    return
  }
  const text = textOf(reply)
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  response.writeHead(reply.status, { ...headers, ...reply.headers }).end(text)
}

function listening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
}

/** Listens on a port of its own, on this machine alone, and notes all it hears. */
export async function openFront(respond: (request: Request) => Reply | Spectacle): Promise<Front> {
  const exchanges: Exchange[] = []
  const heard: Buffer[] = []
  const server = createServer(async (message, response) => {
    const request = await read(message)
    if (request === null) return
    const reply = respond(request)
    exchanges.push({ request, reply })
    // Once more, as it may have come in chunks.
    heard.push(request.body)
    send(response, reply)
  })
  server.on('connection', (socket) => socket.on('data', (chunk: Buffer) => heard.push(Buffer.from(chunk))))
  await listening(server)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exchanges,
    received: () => Buffer.concat(heard),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
