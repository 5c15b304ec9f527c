import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** What was sent to us before the end lies in our sockets unread for a few turns of the event loop at most. */
const LAST_LOOK_MS = 100

/** Drops no request that was sent before the server closes, and lets no connection hold up its end. */
export function closeGently(server: FastifyInstance): void {
  const sockets = new Set<Socket>()
  let unanswered = 0
  let isClosing = false
  let isEnding = false
  const endWhenAnswered = () => {
    if (!isEnding || unanswered > 0) return
    // Node closes those that once brought a request; others may be open for as long as their clients like.
    for (const socket of sockets) socket.destroy()
  }
  server.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.server.on('request', (_request, response: ServerResponse) => {
    unanswered++
    response.once('close', () => {
      unanswered--
      endWhenAnswered()
    })
  })
  server.addHook('preClose', async () => {
    isClosing = true
    // A connection that is closed over unread bytes is reset, and its client never learns what became of them.
    if (server.server.listening) await sleep(LAST_LOOK_MS)
    isEnding = true
    setImmediate(endWhenAnswered)
  })
  // Fastify says so only to requests that begin later; the others would keep their connections, and us, for minutes.
  server.addHook('onSend', (_request, reply, _payload, done) => {
    if (isClosing) reply.header('connection', 'close')
    done()
  })
}
