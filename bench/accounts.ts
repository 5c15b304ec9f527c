import { createApp } from '../src/app.ts'
import type { Config } from '../src/config.ts'
import { createLogger } from '../src/log.ts'
import type { Shot } from './load/load.ts'
import { inGroups } from './prepare.ts'

export const ADMIN = 'admin@example.com'
export const USER = 'user@example.com'
const SESSIONS = 64
const PASSWORD = 'a heron stands by the weir'

/** Somebody who is signed in. */
export type Account = { readonly sessionId: string; readonly authorization: string }

/** Makes the two who sign in, as an operator would. */
export async function addUsers(config: Config): Promise<void> {
  const app = await createApp(config, { logger: createLogger('silent') })
  try {
    for (const [email, role] of [
      [ADMIN, 'admin'],
      [USER, 'user'],
    ] as const)
      await app.users.create({ name: 'bench' }, { email, fullName: 'Somebody', role, password: PASSWORD })
  } finally {
    await app.close()
  }
}

async function post(url: string, authorization: string | undefined, body: object = {}) {
  const headers = {
    'content-type': 'application/json',
    ...(authorization === undefined ? {} : { authorization }),
  }
  const reply = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await reply.text()
  if (reply.status !== 200) throw new Error(`${url} answered ${reply.status} ${text}`)
  return JSON.parse(text)
}

export async function signIn(baseUrl: string, email: string): Promise<Account> {
  const { token, sessionId } = await post(`${baseUrl}/api/auth/login`, undefined, {
    ...{ email, password: PASSWORD },
  })
  return { sessionId, authorization: `Bearer ${token.token}` }
}

export async function signOut(baseUrl: string, { authorization }: Account): Promise<void> {
  await post(`${baseUrl}/api/auth/logout`, authorization)
}

export async function forceOut(baseUrl: string, admin: Account, { sessionId }: Account): Promise<void> {
  await post(`${baseUrl}/api/user-sessions/force-logout/${sessionId}`, admin.authorization)
}

/** The same request of each of 64 living sessions. */
export async function signedInShots(baseUrl: string, path: string): Promise<Shot[]> {
  const accounts = await inGroups(Array.from({ length: SESSIONS }), () => signIn(baseUrl, USER))
  return accounts.map(({ authorization }) => ({ method: 'GET', path, authorization }))
}
