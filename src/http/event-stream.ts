import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply } from 'fastify'
import type { StreamMessage } from '../domain/streams/messages.ts'
import type { Reader } from '../domain/streams/stream.ts'
import { memoised } from '../memo.ts'

/** How soon a reader comes back whose stream broke off. */
const RETRY_MS = 1000
/** Whoever lets more than this pile up is cut off, and is told what he missed when he comes back. */
const UNSENT_MAX_BYTES = 256 * 1024
/** How long a reader may take over what a stream begins with, and over its last words. */
const TAKEN_WITHIN_MS = 15_000
const LAST_WORDS_MS = 2000

/** A message as it stands on the wire, made once however many read it. JSON has no line breaks of its own. */
const bytesOf = memoised(({ id, event, data }: StreamMessage) =>
  Buffer.from(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
)

/**
 * Answers with Server-Sent Events (WHATWG HTML, section 9.2): the reply is the stream's from now on.
 * @returns where to write them. Its reader's leave is the response's `close`.
 */
export function eventStream(reply: FastifyReply): Reader {
  // nginx would keep small events back until it has a page of them.
  reply.header('content-type', 'text/event-stream; charset=utf-8').header('x-accel-buffering', 'no')
  const { raw } = reply.hijack()
  // One who hangs up while he is written to is gone, which `close` says too.
  raw.on('error', () => undefined)
  raw.writeHead(200, reply.getHeaders() as OutgoingHttpHeaders)
  raw.write(`retry: ${RETRY_MS}\n\n`)

  return {
    send: (messages) => {
      if (raw.writableLength > UNSENT_MAX_BYTES) return void raw.destroy()
      for (const message of messages) raw.write(bytesOf(message))
    },
    // A block without data is no event, yet its id counts: whoever comes back after a quiet day has missed little.
    beat: (position) => void raw.write(`: hb\nid: ${position}\n\n`),
    drained: () =>
      new Promise((resolve) => {
        if (raw.destroyed || !raw.writableNeedDrain) return resolve()
        const timer = setTimeout(() => raw.destroy(), TAKEN_WITHIN_MS).unref()
        const settle = () => {
          clearTimeout(timer)
          raw.off('drain', settle).off('close', settle)
          resolve()
        }
        raw.on('drain', settle).on('close', settle)
      }),
    end: () => {
      const timer = setTimeout(() => raw.destroy(), LAST_WORDS_MS).unref()
      raw.once('close', () => clearTimeout(timer)).end()
    },
  }
}
