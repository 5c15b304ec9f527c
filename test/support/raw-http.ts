import { connect } from 'node:net'

const SILENCE_MAX_MS = 20_000

export type RawReply = { readonly status: number; readonly head: string; readonly text: string }

/**
 * Writes bytes to a server as they are.
 * @param then `end`: says that nothing more will come. `reset`: hangs up without waiting for anything.
 * @returns everything that came back until the server hung up.
 * @throws {Error} when it neither answers nor hangs up for 20 seconds.
 */
export function write(port: number, bytes: Buffer, then: 'wait' | 'end' | 'reset' = 'wait'): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.setTimeout(SILENCE_MAX_MS, () => socket.destroy(new Error('the server is silent')))
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('end', () => socket.end())
  // Whoever is refused in the middle of a body is hung up on: what was said before counts.
  socket.on('error', (error: NodeJS.ErrnoException) =>
    error.code === 'ECONNRESET' || error.code === 'EPIPE' ? undefined : reject(error),
  )
  socket.on('close', () => resolve(Buffer.concat(chunks)))
  socket.write(bytes, () => {
    if (then === 'end') socket.end()
    if (then === 'reset') socket.resetAndDestroy()
  })
  return promise
}

/** The replies in what a server said, each with its length in Content-Length. @throws {Error} for anything else. */
export function repliesIn(bytes: Buffer): RawReply[] {
  const replies: RawReply[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\r\n\r\n', at)
    const head = bytes.toString('latin1', at, end)
    const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(head) ?? []
    const [, length] = /\r\ncontent-length: (\d+)/i.exec(head) ?? []
    if (end === -1 || status === undefined || length === undefined)
      throw new Error(`no reply: ${head.slice(0, 200)}`)
    at = end + 4 + Number(length)
    replies.push({ status: Number(status), head, text: bytes.toString('utf8', end + 4, at) })
  }
  return replies
}
