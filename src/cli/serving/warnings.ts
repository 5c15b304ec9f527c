import type { App } from '../../app.ts'
import { isLoopback } from '../../loopback.ts'

const SECRET_MIN_BYTES = 32

/** What an operator should know, and what the server can do without. */
export async function warn({ config, createdKeys, logger, cleanup }: App): Promise<void> {
  const { host, tlsCert, trustProxy, jwtSecret, databaseUrl, keysDir } = config
  if (createdKeys.length > 0)
    logger.warn(
      { event: 'keys.created', files: createdKeys },
      `wrote new secret keys to ${keysDir}; back it up: without them this database cannot be read`,
    )
  if (tlsCert === undefined && trustProxy === undefined && !isLoopback(host))
    logger.warn(
      { event: 'server.plain_http', host },
      'anybody on the way can read and change what is sent: set TLS_CERT and TLS_KEY, or TRUST_PROXY behind a proxy with TLS',
    )
  if (jwtSecret !== undefined && Buffer.byteLength(jwtSecret) < SECRET_MIN_BYTES)
    logger.warn(
      { event: 'settings.short_jwt_secret' },
      `JWT_SECRET is shorter than ${SECRET_MIN_BYTES} bytes: it can be guessed from any token`,
    )
  if (databaseUrl !== undefined && !(await cleanup.hasLivingEvent()))
    logger.warn(
      { event: 'cleanup.no_database_event' },
      'the EVENT cleanup_expired_sessions does not run, so this server removes expired session keys itself; "kunci doctor" says why',
    )
}
