/**
 * What a good engineer writes in an afternoon to answer the legacy contract: one INSERT a hand-out, one SELECT each for
 * session and licence a check. It keeps keys in the clear, records nothing, and forgets failed opens; it is here to be
 * measured against, and to be read.
 *
 *   DATABASE_URL=mysql://… JWT_SECRET=… PORT=… node bench/baseline/server.ts --aes node|forge
 */
import { createDecipheriv, createHash, createSecretKey, randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import fastifyJwt from '@fastify/jwt'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import { createPool, type RowDataPacket } from 'mysql2/promise'
import forge from 'node-forge'
import pino, { type Logger } from 'pino'

type Decrypt = (keyHex: string, ivHex: string, payloadHex: string) => string | null

/** AES-256-CBC with PKCS#7 padding; `null` for what does not open. */
export const DECRYPT = {
  forge: (keyHex, ivHex, payloadHex) => {
    const { hexToBytes, createBuffer } = forge.util
    const decipher = forge.cipher.createDecipher('AES-CBC', hexToBytes(keyHex))
    decipher.start({ iv: hexToBytes(ivHex) })
    decipher.update(createBuffer(hexToBytes(payloadHex)))
    return decipher.finish() ? decipher.output.getBytes() : null
  },
  node: (keyHex, ivHex, payloadHex) => {
    // As a KeyObject: for a single block the same key as a Buffer takes three times as long.
    const decipher = createDecipheriv(
      'aes-256-cbc',
      createSecretKey(keyHex, 'hex'),
      Buffer.from(ivHex, 'hex'),
    )
    try {
      return decipher.update(payloadHex, 'hex', 'latin1') + decipher.final('latin1')
    } catch {
      return null
    }
  },
} as const satisfies Record<string, Decrypt>

export type Aes = keyof typeof DECRYPT

export type BaselineOptions = {
  readonly databaseUrl: string
  readonly jwtSecret: string
  readonly ttlS: number
  readonly aes: Aes
  readonly logger: Logger
}

type SessionRow = RowDataPacket & { session_key: string; session_iv: string }

type LicenceRow = RowDataPacket & {
  is_over: number
  days_remaining: number
  expiry_date: string
  user: string
  sk: string
  sck: string
  maintenance: string
  status1_text: string
}

const INSERT_SESSION = `INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, expires_at)
  VALUES (?, ?, ?, ?, UTC_TIMESTAMP() + INTERVAL ? SECOND)`
const FIND_SESSION =
  'SELECT session_key, session_iv FROM session_keys WHERE session_id = ? AND expires_at > UTC_TIMESTAMP()'
const FIND_LICENCE = `SELECT expiry_date <= UTC_TIMESTAMP() AS is_over,
  TIMESTAMPDIFF(DAY, UTC_TIMESTAMP(), expiry_date) AS days_remaining,
  expiry_date, Nama AS user, sk, sck, maintenance, status1_text FROM user_jce WHERE hwid_encrypted = ?`

const text = { type: 'string' } as const
const number = { type: 'integer' } as const
const HAND_OUT_REPLY = {
  type: 'object',
  properties: { status: text, session_token: text, expires_in: number, message: text },
}
const CHECK_REPLY = {
  type: 'object',
  properties: {
    ...{ status: text, message: text, code: text, expiry_date: text, days_remaining: number },
    ...{ user: text, sk: text, sck: text, maintenance: text, status1_text: text },
  },
}

const refusal = (message: string, code?: string) => ({ status: 'error', message, code })

function bearerOf({ headers }: FastifyRequest): string | undefined {
  return /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? headers['x-session-token']?.toString()
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** A server that answers the legacy contract from the tables of `schema.sql`. Nothing listens yet. */
export function createBaseline({
  databaseUrl,
  jwtSecret,
  ttlS,
  aes,
  logger,
}: BaselineOptions): FastifyInstance {
  const decrypt = DECRYPT[aes]
  const pool = createPool({ uri: databaseUrl, connectionLimit: 10, dateStrings: true, timezone: 'Z' })
  pool.pool.on('connection', (connection) => void connection.query("SET time_zone = '+00:00'"))
  // One line a request through a gathered writer, as Kunci has it: logging is to decide nothing here.
  const logController = new LogController({ disableRequestLogging: true })
  const server = fastify({ loggerInstance: logger, logController }) as unknown as FastifyInstance
  server.addHook('onResponse', async ({ method, routeOptions, ip }, { statusCode, elapsedTime, log }) =>
    log.info(
      { method, route: routeOptions.url, address: ip, status: statusCode, ms: elapsedTime },
      'request',
    ),
  )
  server.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'))
  server.addHook('onClose', () => pool.end())
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('*', { parseAs: 'string' }, async (_: unknown, body: string) => parsed(body))
  server.register(fastifyJwt, { secret: jwtSecret, sign: { expiresIn: ttlS } })

  async function handOut({ ip }: FastifyRequest) {
    const sessionId = randomBytes(16).toString('hex')
    const key = randomBytes(32).toString('hex')
    const iv = randomBytes(16).toString('hex')
    await pool.execute(INSERT_SESSION, [sessionId, key, iv, ip, ttlS])
    const jti = randomBytes(16).toString('hex')
    const claims = { session_id: sessionId, key, iv, ip, purpose: 'hwid_encryption', jti }
    return {
      status: 'success',
      session_token: server.jwt.sign(claims),
      expires_in: ttlS,
      message: 'Session key generated successfully',
    }
  }

  async function check(request: FastifyRequest, reply: FastifyReply) {
    const token = bearerOf(request)
    if (token === undefined) return reply.code(401).send(refusal('Authentication required.'))
    const claims = verified(token)
    if (claims === null) return reply.code(401).send(refusal('Invalid or expired session.'))
    const { hwid } = (request.body ?? {}) as { hwid?: unknown }
    if (typeof hwid !== 'string') return reply.code(400).send(refusal('Invalid request format.'))
    const [[session]] = await pool.execute<SessionRow[]>(FIND_SESSION, [claims.session_id])
    if (session === undefined) return refusal('Session expired.')
    const opened = decrypt(session.session_key, session.session_iv, hwid)
    if (opened === null) return refusal('Security verification failed.')
    const hash = createHash('sha256')
      .update(opened.replace(/[^A-Za-z0-9]/g, ''))
      .digest('hex')
    const [[licence]] = await pool.execute<LicenceRow[]>(FIND_LICENCE, [hash])
    if (licence === undefined) return refusal('Access denied (HWID Not Found).', 'NOT_FOUND')
    if (licence.is_over === 1) return refusal('License expired.', 'EXPIRED')
    return { status: 'success', message: 'Access granted', ...licence }
  }

  function verified(token: string): { session_id: string } | null {
    try {
      return server.jwt.verify(token)
    } catch {
      return null
    }
  }

  for (const url of ['/api/auth/get-session-key', '/api/auth/get-session-key.php'])
    server.route({
      method: ['GET', 'POST'],
      url,
      schema: { response: { 200: HAND_OUT_REPLY } },
      handler: handOut,
    })
  for (const url of ['/api/licence/check', '/api/1.php'])
    server.post(url, { schema: { response: { '2xx': CHECK_REPLY, '4xx': CHECK_REPLY } } }, check)
  return server
}

async function main(): Promise<void> {
  const { aes = 'forge' } = parseArgs({ options: { aes: { type: 'string' } } }).values
  if (aes !== 'node' && aes !== 'forge') throw new Error('--aes must be node or forge')
  const { DATABASE_URL, JWT_SECRET, PORT, SESSION_KEY_TTL_S = '300' } = process.env
  if (!DATABASE_URL || !JWT_SECRET || !PORT) throw new Error('DATABASE_URL, JWT_SECRET and PORT must be set')
  const server = createBaseline({
    ...{ databaseUrl: DATABASE_URL, jwtSecret: JWT_SECRET, ttlS: Number(SESSION_KEY_TTL_S), aes },
    logger: pino(
      { base: null },
      pino.destination({ dest: 1, sync: false, minLength: 4096, periodicFlush: 200 }),
    ),
  })
  process.once('SIGTERM', () => void server.close())
  await server.listen({ host: '127.0.0.1', port: Number(PORT) })
}

if (import.meta.main) await main()
