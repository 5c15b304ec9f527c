import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { Slots } from '../slots.ts'
import type { Requests } from './request-context.ts'

/** What was sent to us before the end lies in our sockets unread for a few turns of the event loop at most. */
const LAST_LOOK_MS = 100

/** Drops no request that was sent before the server closes, and lets no connection hold up its end. */
export function closeGently(server: FastifyInstance, { unanswered, whenAllAnswered }: Requests): void {
  const sockets = new Slots<Socket>()
  server.server.on('connection', (socket: Socket) => {
    const place = sockets.add(socket)
    socket.once('close', () => sockets.take(place))
  })
  const endWhenAnswered = () => {
    if (unanswered.size > 0) return
    // Node closes those that once brought a request; others may be open for as long as their clients like.
    for (const socket of sockets.all()) socket.destroy()
  }
  server.addHook('preClose', async () => {
    // Fastify says so only to requests that begin later; these would keep their connections, and us, for minutes.
    for (const reply of unanswered.all()) if (!reply.sent) reply.header('connection', 'close')
    // A connection that is closed over unread bytes is reset, and its client never learns what became of them.
    if (server.server.listening) await sleep(LAST_LOOK_MS)
    whenAllAnswered(endWhenAnswered)
    setImmediate(endWhenAnswered)
  })
}
