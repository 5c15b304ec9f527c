import type { Test } from 'tap'
import type { App } from '../../src/app.ts'
import type { Role } from '../../src/store/accounts.ts'
import type { TestDatabase, TestEnv } from './databases.ts'
import { ACTOR, type Bench, openBench } from './legacy.ts'
import type { WireRequest } from './wire-client.ts'

/** The least that Argon2id may cost here: for tests of something else. */
export const CHEAP: TestEnv = { ARGON2_MEMORY_KIB: '8192', ARGON2_PASSES: '1' }
export const PASSWORD = 'seven herons by the weir'
/** Later than any test runs: what is over by the clock of the database must not be over by the test's. */
export const START_MS = Date.UTC(2031, 0, 1)

export type Reply = {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** Whatever takes requests: a server without a socket, or one across a wire. */
export type Server = { send(path: string, wish?: WireRequest): Promise<Reply> }

// biome-ignore lint/suspicious/noExplicitAny: what a server says is looked at member by member.
export type Answer = Reply & { readonly body: any }

/** A whole server without a socket, in 2031, where passwords cost little and nobody is limited. */
export async function openHouse(
  t: Pick<Test, 'teardown'>,
  database: TestDatabase,
  extraEnv: TestEnv = {},
): Promise<Bench> {
  const config = await database.freshConfig(t, { ...CHEAP, RATE_LIMIT_PER_MINUTE: '0', ...extraEnv })
  return openBench(t, config, START_MS)
}

/** The same server as somebody at this address meets it. */
export function at({ server }: Pick<Bench, 'server'>, remoteAddress = '198.51.100.7'): Server {
  return {
    send: async (url, { method = 'POST', headers = {}, body } = {}) => {
      const wish = { url, method: method as 'GET', headers: { ...headers }, remoteAddress }
      const reply = await server.inject({ ...wish, ...(body === undefined ? {} : { payload: body }) })
      return { status: reply.statusCode, headers: reply.headers, text: reply.body }
    },
  }
}

export function addUser({ users }: App, email: string, role: Role = 'user') {
  return users.create(ACTOR, { email, fullName: `Name of ${email.split('@')[0]}`, role, password: PASSWORD })
}

/** Sends `body` as JSON, or as it is where it is a text. */
export async function ask(
  server: Server,
  route: string,
  { body, headers = {} }: { body?: unknown; headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  const [method = 'GET', path = ''] = route.split(' ')
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const typed = body === undefined ? headers : { 'content-type': 'application/json', ...headers }
  const reply = await server.send(path, {
    method,
    headers: typed,
    ...(text === undefined ? {} : { body: text }),
  })
  const isJson = String(reply.headers['content-type']).startsWith('application/json')
  return { ...reply, body: isJson ? JSON.parse(reply.text) : null }
}

export type Wish = {
  readonly password?: string
  readonly code?: string
  readonly headers?: Readonly<Record<string, string>>
}

export function login(server: Server, email: string, { password = PASSWORD, code, headers = {} }: Wish = {}) {
  return ask(server, 'POST /api/auth/login', { body: { email, password, code }, headers })
}

export type Client = ReturnType<typeof clientWith>

/** Somebody who has a token. */
export function clientWith(server: Server, token: string, sessionId: string) {
  const authorization = `Bearer ${token}`
  return {
    ...{ token, sessionId, headers: { authorization } },
    ask: (route: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) =>
      ask(server, route, { body, headers: { authorization, ...headers } }),
  }
}

/** @throws {Error} when he is not let in. */
export function clientOf(server: Server, { status, body, text }: Answer): Client {
  if (status !== 200) throw new Error(`not signed in: ${status} ${text}`)
  return clientWith(server, body.token.token, body.sessionId)
}

export async function signIn(server: Server, email: string, wish?: Wish): Promise<Client> {
  return clientOf(server, await login(server, email, wish))
}

/** Whether a token is worth anything now. */
export async function isIn(client: Client): Promise<boolean> {
  const { status, text } = await client.ask('GET /api/auth/me')
  if (status !== 200 && status !== 401) throw new Error(`neither in nor out: ${status} ${text}`)
  return status === 200
}
