import { get, type IncomingHttpHeaders } from 'node:http'
import { createParser } from 'eventsource-parser'
import type { Test } from 'tap'
import type { Role } from '../../src/store/accounts.ts'
import type { TestDatabase } from './databases.ts'
import { until } from './installation.ts'
import type { Bench } from './legacy.ts'
import { addUser, at, type Client, clientOf, login, openHouse } from './users.ts'

export type Listening = Bench & { readonly url: string }

/** A server that listens, on a clock that the test moves. */
export async function openListening(t: Pick<Test, 'teardown'>, database: TestDatabase): Promise<Listening> {
  const bench = await openHouse(t, database)
  return { ...bench, url: await bench.server.listen({ host: '127.0.0.1', port: 0 }) }
}

export type SignedInUser = Client & { readonly userId: number }

/** Signs somebody in, and makes him first unless he is there. */
export async function signInAs(
  { app, server }: Pick<Bench, 'app' | 'server'>,
  email: string,
  role: Role = 'user',
): Promise<SignedInUser> {
  if ((await app.users.findByEmail(email)) === null) await addUser(app, email, role)
  const answer = await login(at({ server }), email)
  return { ...clientOf(at({ server }), answer), userId: answer.body.user.id }
}

export type Told = { readonly id: string; readonly event: string; readonly data: Record<string, unknown> }

export type StreamClient = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** What came so far; more is added to the same array. */
  readonly told: readonly Told[]
  /** The text of a reply that is no stream. */
  readonly text: () => string
  readonly heartbeats: () => number
  /** What a reader would come back with. */
  readonly lastEventId: () => string
  /** Whether the server ended it in good order; `undefined` while it goes on. */
  readonly ended: () => boolean | undefined
  /** The first event that is not a snapshot and comes after those that were asked for. */
  next(type?: string): Promise<Told>
  /** Reads no more until it is told to. */
  pause(): void
  resume(): void
  close(): void
}

/** Reads a stream as a program without EventSource would. Settles once the head of the reply is here. */
export function readStream(
  t: Pick<Test, 'teardown'>,
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<StreamClient> {
  const told: Told[] = []
  let [text, heartbeats, lastEventId, seen] = ['', 0, '', 0]
  let ended: boolean | undefined
  const parser = createParser({
    onEvent: ({ id = '', event = '', data }) => told.push({ id, event, data: JSON.parse(data) }),
    onComment: () => heartbeats++,
    onId: (id) => {
      lastEventId = id
    },
  })
  const { promise, resolve, reject } = Promise.withResolvers<StreamClient>()
  const request = get(url, { headers, agent: false })
  t.teardown(() => request.destroy())
  request.on('error', reject)
  request.on('response', (response) => {
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      text += chunk
      if (response.headers['content-type']?.startsWith('text/event-stream')) parser.feed(chunk)
    })
    response.on('error', () => undefined)
    response.on('close', () => {
      ended = response.complete
    })
    const next = async (type?: string): Promise<Told> => {
      let found: number
      const look = () => {
        found = told.findIndex(
          ({ event }, i) => i >= seen && event !== 'snapshot' && event === (type ?? event),
        )
        return found !== -1
      }
      await until(`an event ${type ?? 'of any type'} in ${JSON.stringify(told)}`, look)
      seen = found! + 1
      return told[found!]!
    }
    resolve({
      ...{ status: response.statusCode ?? 0, headers: response.headers, told, next },
      ...{ text: () => text, heartbeats: () => heartbeats, lastEventId: () => lastEventId },
      ended: () => ended,
      pause: () => void response.pause(),
      resume: () => void response.resume(),
      close: () => void request.destroy(),
    })
  })
  return promise
}
