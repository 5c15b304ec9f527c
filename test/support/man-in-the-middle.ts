import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import { type CertifiedKey, createAuthority, issueServerCertificate } from '../../src/crypto/certificates.ts'

const HOUR_MS = 3_600_000

/** A certificate for 127.0.0.1, and the authority of its own that vouches for it. */
export function certifiedLoopback(commonName: string): CertifiedKey & { readonly ca: string } {
  const validity = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) }
  const authority = createAuthority({ commonName, ...validity })
  const names = { hostNames: [], ipAddresses: ['127.0.0.1'] }
  return { ca: authority.certPem, ...issueServerCertificate({ authority, ...names, ...validity }) }
}

/** What went over one connection, decrypted, as each side sent it. */
export type Exchange = { readonly request: Buffer; readonly reply: Buffer }

/** What is done to the bytes on their way; a reply may be held back for as long as that takes. */
export type Meddling = {
  readonly request?: (request: Buffer) => Buffer
  readonly reply?: (reply: Buffer, request: Buffer) => Buffer | Promise<Buffer>
}

/** Where the head of an HTTP message ends, and the message with it; `undefined` while that is not known. */
function lengthOf(bytes: Buffer): number | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [, length = '0'] = /\r\ncontent-length: (\d+)/i.exec(bytes.toString('latin1', 0, end)) ?? []
  return end + 4 + Number(length)
}

async function read(socket: TLSSocket, isWhole: (bytes: Buffer) => boolean): Promise<Buffer> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, chunk])
    if (isWhole(bytes)) break
  }
  return bytes
}

export type ManInTheMiddle = Awaited<ReturnType<typeof startManInTheMiddle>>

/**
 * Stands between a client that closes its connections and a server: ends the client's TLS with a certificate of its own,
 * sees and keeps everything, and passes it on.
 */
export async function startManInTheMiddle(
  t: Pick<Test, 'teardown'>,
  server: { readonly port: number; readonly ca: string },
) {
  const { certPem, keyPem, ca } = certifiedLoopback('Trusted by the owner of the machine')
  const seen: Exchange[] = []
  let meddling: Meddling = {}

  /** Sends bytes to the server as they are. @returns everything that comes back. */
  async function send(request: Buffer): Promise<Buffer> {
    const socket = connect({ host: '127.0.0.1', port: server.port, ca: server.ca })
    socket.on('error', () => {})
    socket.write(request)
    const reply = await read(socket, (bytes) => bytes.length >= (lengthOf(bytes) ?? Number.POSITIVE_INFINITY))
    socket.destroy()
    return reply
  }

  async function relay(client: TLSSocket): Promise<void> {
    const request = await read(client, (bytes) => bytes.length === lengthOf(bytes))
    const { request: changeRequest, reply: changeReply } = meddling
    const reply = await send(changeRequest?.(request) ?? request)
    seen.push({ request, reply })
    client.end((await changeReply?.(reply, request)) ?? reply)
  }

  const listener = createServer({ cert: certPem, key: keyPem }, (client) => {
    client.on('error', () => {})
    relay(client).catch(() => client.destroy())
  })
  listener.on('tlsClientError', () => {})
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => listener.close())

  return {
    url: `https://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    ca,
    /** In the order of their ends; later ones are added to the same array. */
    seen: seen as readonly Exchange[],
    send,
    /** From now on this is done to everything that passes. */
    meddle: (how: Meddling) => {
      meddling = how
    },
  }
}
