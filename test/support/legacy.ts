import { createCipheriv } from 'node:crypto'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { type App, createApp, migrateDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { createServer } from '../../src/http/server.ts'
import { createLogger } from '../../src/log.ts'
import { type ManualClock, manualClock } from './clock.ts'

export const ACTOR = { name: 'test' }

/** A whole server without a socket, on a clock that the test moves. */
export type Bench = { app: App; server: FastifyInstance; clock: ManualClock; config: Config }

export async function openBench(
  t: Pick<Test, 'teardown'>,
  config: Config,
  startMs = Date.now(),
): Promise<Bench> {
  const clock = manualClock(startMs)
  await migrateDatabase(config)
  const app = await createApp(config, { logger: createLogger('silent'), clock })
  const server = await createServer(app)
  t.teardown(async () => {
    await server.close()
    await app.close()
  })
  return { app, server, clock, config }
}

export type Claims = {
  session_id: string
  key: string
  iv: string
  ip: string
  iat: number
  exp: number
  jti: string
}

export function claimsOf(token: string): Claims {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
}

export async function handOut(
  { server }: Bench,
  remoteAddress = '198.51.100.7',
): Promise<{ token: string; claims: Claims }> {
  const reply = await server.inject({ method: 'POST', url: '/api/auth/get-session-key', remoteAddress })
  if (reply.statusCode !== 200) throw new Error(`no session key: ${reply.statusCode} ${reply.body}`)
  const token: string = reply.json().session_token
  return { token, claims: claimsOf(token) }
}

/**
 * AES-256-CBC with PKCS#7, as the old program has it; or 15 characters of text with `padding` as their last byte. (A
 * payload that was altered, or sealed under another key, still has good padding once in 256 times.)
 */
export function encrypt({ key, iv }: Pick<Claims, 'key' | 'iv'>, text: string, padding?: number): string {
  const cipher = createCipheriv('aes-256-cbc', Buffer.from(key, 'hex'), Buffer.from(iv, 'hex'))
  if (padding !== undefined) {
    cipher.setAutoPadding(false)
    return cipher.update(Buffer.from([...Buffer.from(text), padding])).toString('hex')
  }
  return cipher.update(text, 'utf8', 'hex') + cipher.final('hex')
}

export function postCheck(
  { server }: Bench,
  token: string,
  body: unknown,
  remoteAddress = '198.51.100.7',
): Promise<LightMyRequestResponse> {
  return server.inject({
    method: 'POST',
    url: '/api/1.php',
    headers: { authorization: `Bearer ${token}` },
    payload: typeof body === 'string' ? body : JSON.stringify(body),
    remoteAddress,
  })
}

/** Hand-out and check in one go, as one run of the program. */
export async function runProgram(bench: Bench, hwid: string, licence?: string, address?: string) {
  const { token, claims } = await handOut(bench, address)
  return postCheck(bench, token, { hwid: encrypt(claims, hwid), ...(licence ? { licence } : {}) }, address)
}
