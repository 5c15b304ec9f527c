import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createConnection } from 'mysql2/promise'
import { createApp, migrateDatabase } from '../src/app.ts'
import type { Config } from '../src/config.ts'
import { createLogger } from '../src/log.ts'
import { claimsOf, encrypt } from '../test/support/legacy.ts'
import type { Shot } from './load/load.ts'

const MACHINES = 1000
const GROUP = 50
const ACTOR = { name: 'bench' }
const HAND_OUT_PATH = '/api/auth/get-session-key'
const BASELINE_SCHEMA = new URL('baseline/schema.sql', import.meta.url)

const machines = Array.from({ length: MACHINES }, (_, i) => ({
  hwid: String(1_000_000_000 + i),
  customer: `Customer ${i}`,
}))

async function inGroups<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < all.length; i += GROUP) await Promise.all(all.slice(i, i + GROUP).map(work))
}

/** Makes Kunci's tables, a product, and a licence for every machine, as an operator would. */
export async function prepareKunci(config: Config): Promise<void> {
  await migrateDatabase(config)
  const app = await createApp(config, { logger: createLogger('silent') })
  try {
    await app.products.create(ACTOR, 'demo', 'Demo', { sk: 'sk', sck: 'sck' })
    await inGroups(machines, ({ hwid, customer }) =>
      app.licences.create(ACTOR, { productCode: 'demo', customer, expiresAtMs: null, hwid }),
    )
  } finally {
    await app.close()
  }
}

/** Makes the baseline's tables, and a licence for every machine. */
export async function prepareBaseline(databaseUrl: string): Promise<void> {
  const db = await createConnection({ uri: databaseUrl, multipleStatements: true })
  try {
    await db.query(readFileSync(BASELINE_SCHEMA, 'utf8'))
    const rows = machines.map(({ hwid, customer }) => {
      const hash = createHash('sha256').update(hwid).digest('hex')
      return [customer, hash, '9999-12-31 23:59:59', 'sk', 'sck', 'no', '']
    })
    await db.query(
      'INSERT INTO user_jce (Nama, hwid_encrypted, expiry_date, sk, sck, maintenance, status1_text) VALUES ?',
      [rows],
    )
  } finally {
    db.destroy()
  }
}

export const HAND_OUT: readonly Shot[] = [{ method: 'GET', path: HAND_OUT_PATH }]

async function sessionToken(baseUrl: string): Promise<string> {
  const reply = await fetch(baseUrl + HAND_OUT_PATH)
  const body = (await reply.json()) as { session_token?: string }
  if (reply.status !== 200 || body.session_token === undefined)
    throw new Error(`No session key from ${baseUrl}: ${reply.status} ${JSON.stringify(body)}`)
  return body.session_token
}

/** Sends a check as the load will, and looks at all that a load has no time to look at. */
async function requireGranted(baseUrl: string, shot: Shot, customer: string): Promise<void> {
  const { method, path, authorization = '', body = '' } = shot
  const headers = { authorization, 'content-type': 'application/json' }
  const reply = await fetch(baseUrl + path, { method, headers, body })
  const answer = (await reply.json()) as { message?: string; user?: string; sk?: string }
  const { message, user, sk } = answer
  if (reply.status !== 200 || message !== 'Access granted' || user !== customer || sk !== 'sk')
    throw new Error(`The machine of ${customer} was not granted: ${reply.status} ${JSON.stringify(answer)}`)
}

/**
 * Checks of all machines under living sessions that take turns. Each machine's first one was granted.
 * @throws {Error} when one is not granted to whom it should be.
 */
export async function checks(baseUrl: string, sessions: number): Promise<Shot[]> {
  const tokens: string[] = []
  await inGroups(Array.from({ length: sessions }), async () => tokens.push(await sessionToken(baseUrl)))
  const shots = Array.from({ length: Math.max(sessions, MACHINES) }, (_, i) => {
    const { hwid = '', customer = '' } = machines[i % MACHINES] ?? {}
    const token = tokens[i % sessions] ?? ''
    const body = JSON.stringify({ hwid: encrypt(claimsOf(token), hwid) })
    const shot: Shot = { method: 'POST', path: '/api/licence/check', authorization: `Bearer ${token}`, body }
    return { shot, customer }
  })
  await inGroups(shots.slice(0, MACHINES), ({ shot, customer }) => requireGranted(baseUrl, shot, customer))
  return shots.map(({ shot }) => shot)
}
