import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createConnection } from 'mysql2/promise'
import { createApp, migrateDatabase } from '../src/app.ts'
import type { Config } from '../src/config.ts'
import type { StaticKey } from '../src/crypto/kex.ts'
import { createLogger } from '../src/log.ts'
import { claimsOf, encrypt } from '../test/support/legacy.ts'
import type { Shot } from './load/load.ts'

const MACHINES = 1000
const SESSIONS = 64
const GROUP = 50
const ACTOR = { name: 'bench' }
const SUITES = ['S1', 'S2', 'S3'] as const
const HAND_OUT_PATH = '/api/auth/get-session-key'
const BASELINE_SCHEMA = new URL('baseline/schema.sql', import.meta.url)

const machines = Array.from({ length: MACHINES }, (_, i) => ({
  hwid: String(1_000_000_000 + i),
  customer: `Customer ${i}`,
}))

/** Does all, some of them at once. @returns what came of each, in their order. */
export async function inGroups<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const done: R[] = []
  for (let i = 0; i < all.length; i += GROUP)
    done.push(...(await Promise.all(all.slice(i, i + GROUP).map(work))))
  return done
}

/** What clients of the sealed suites are given. */
export type Handed = {
  /** The current key of each suite that is served. */
  readonly pins: readonly StaticKey[]
  /** One for each machine. */
  readonly licenceKeys: readonly string[]
}

/** Makes Kunci's tables, a product, and a licence for every machine, as an operator would. */
export async function prepareKunci(config: Config): Promise<Handed> {
  await migrateDatabase(config)
  const app = await createApp(config, { logger: createLogger('silent') })
  try {
    await app.products.create(ACTOR, 'demo', 'Demo', { sk: 'sk', sck: 'sck' })
    const licenceKeys = await inGroups(machines, async ({ hwid, customer }) => {
      const wish = { productCode: 'demo', customer, expiresAtMs: null, hwid }
      return (await app.licences.create(ACTOR, wish)).key
    })
    return { pins: SUITES.flatMap((suite) => app.keyPairs.kex(suite).slice(0, 1)), licenceKeys }
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
/** What every good answer of the legacy contract holds, and that of the bare route. */
export const SUCCESS = '"status":"success"'

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
 * A check for every machine, each of which was granted once, under 64 living sessions that take turns.
 * @throws {Error} when one is not granted to whom it should be.
 */
export async function checks(baseUrl: string): Promise<Shot[]> {
  const tokens = await Promise.all(Array.from({ length: SESSIONS }, () => sessionToken(baseUrl)))
  const shots = machines.map(({ hwid, customer }, i) => {
    const token = tokens[i % SESSIONS] ?? ''
    const body = JSON.stringify({ hwid: encrypt(claimsOf(token), hwid) })
    const shot: Shot = { method: 'POST', path: '/api/licence/check', authorization: `Bearer ${token}`, body }
    return { shot, customer }
  })
  await inGroups(shots, ({ shot, customer }) => requireGranted(baseUrl, shot, customer))
  return shots.map(({ shot }) => shot)
}
