import { connect, type Socket } from 'node:net'
import type { Account } from './accounts.ts'

const KEPT_CHARACTERS = 4096
const SILENCE_MAX_MS = 60_000

/** A stream that somebody reads. */
export type OpenStream = {
  /** Settles with the time, in ms, at which this text was there. @throws {Error} when the stream ends before, or falls silent. */
  hears(text: string): Promise<number>
  close(): void
}

/** The position that the stream is at. */
export async function positionNow(baseUrl: string, { authorization }: Account): Promise<number> {
  const reply = await fetch(`${baseUrl}/api/events/poll?wait=0`, { headers: { authorization } })
  return ((await reply.json()) as { data: { lastId: number } }).data.lastId
}

/** What a socket said last, and who waits for what in it. */
function listenTo(socket: Socket): OpenStream['hears'] {
  let heard = ''
  let look = () => {}
  let fail = (_: Error) => {}
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    heard = (heard + chunk).slice(-KEPT_CHARACTERS)
    look()
  })
  socket.on('close', () => fail(new Error(`A stream ended. It said last: ${heard.slice(-300)}`)))
  socket.on('error', (error) => fail(error))
  return (text) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(new Error(`A stream does not say ${text}`)), SILENCE_MAX_MS)
      fail = (error) => {
        clearTimeout(timer)
        reject(error)
      }
      look = () => {
        if (!heard.includes(text)) return
        clearTimeout(timer)
        resolve(performance.now())
        look = () => {}
      }
      look()
    })
}

/**
 * Opens a stream over a bare socket, which costs this process next to nothing. Settles once it has begun.
 * @param lastEventId of a reader who comes back; without it the stream begins with a snapshot.
 */
export async function openStream(
  baseUrl: string,
  { authorization }: Account,
  lastEventId?: number,
): Promise<OpenStream> {
  const { hostname, port } = new URL(baseUrl)
  const socket = connect({ host: hostname, port: Number(port) })
  const hears = listenTo(socket)
  const resume = lastEventId === undefined ? '' : `Last-Event-ID: ${lastEventId}\r\n`
  socket.write(
    `GET /api/events HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${authorization}\r\n${resume}\r\n`,
  )
  await hears(lastEventId === undefined ? 'event: snapshot' : 'retry: ')
  return { hears, close: () => socket.destroy() }
}
