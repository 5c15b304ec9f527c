import { setTimeout as sleep } from 'node:timers/promises'
import { createPool, type Pool, type PoolConnection } from 'mysql2/promise'
import type { Clock } from '../../clock.ts'
import { StoreError } from '../../errors.ts'
import {
  type Database,
  DuplicateKeyError,
  type Row,
  type Session,
  STORE_TIMEOUT_MS,
  type Statement,
  type Value,
} from './database.ts'

/** One lock for each database: several Kuncis may share a server. */
const MIGRATION_LOCK = "CONCAT('kunci.', LEFT(SHA1(DATABASE()), 40))"
const NO_LIMIT = 0
const CLOCK_READINGS = 3
const CLOCK_INTERVAL_MS = 60_000
/** Each further try waits up to this much longer, at random: of two that met the second time they meet apart. */
const DEADLOCK_PAUSE_MS = 10
const ER_DUP_ENTRY = 1062
const ER_LOCK_DEADLOCK = 1213

/** What every connection is told first: UTC, so that TIMESTAMPs compare as text; and a mode in which escapes are sure. */
const CONNECTION_SETUP = [
  "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
  'SET SESSION innodb_lock_wait_timeout = 5',
  // MySQL has 1,024 bytes by default, and cuts what is longer.
  'SET SESSION group_concat_max_len = 65536',
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
]

type MysqlError = Error & { errno?: number; code?: string; fatal?: boolean }

function asStoreError(error: unknown): StoreError {
  const { errno, code, message } = error as MysqlError
  const Kind = errno === ER_DUP_ENTRY ? DuplicateKeyError : StoreError
  return new Kind(`MySQL: ${code === undefined ? '' : `${code} `}${message}`, { cause: error })
}

function isDeadlock(error: unknown): boolean {
  return error instanceof StoreError && (error.cause as MysqlError | undefined)?.errno === ER_LOCK_DEADLOCK
}

/**
 * What `work` settles to, or an error once it has taken as long as a statement may. mysql2's own time-out starts when a
 * statement is prepared and its turn has come: a server that hangs before that would be waited for for ever.
 */
function inTime<T>(work: Promise<T>, limitMs = STORE_TIMEOUT_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${STORE_TIMEOUT_MS} ms`)), limitMs)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

async function execute(
  connection: PoolConnection,
  sql: string,
  params: readonly Value[],
  limitMs: number,
): Promise<unknown> {
  try {
    // Without parameters the text protocol: DDL and compound statements cannot be prepared.
    const answer = params.length === 0 ? connection.query(sql) : connection.execute(sql, [...params])
    const [result] = await (limitMs === NO_LIMIT ? answer : inTime<[unknown, unknown]>(answer, limitMs))
    return result
  } catch (error) {
    // After a time-out or a protocol error nobody knows what the connection will answer next.
    if ((error as MysqlError).errno === undefined || (error as MysqlError).fatal) connection.destroy()
    throw asStoreError(error)
  }
}

/** @param limitMs how long each statement may take. */
function session(connection: PoolConnection, limitMs: number): Session {
  return {
    all: async <T extends Row>(sql: string, params: readonly Value[] = []) =>
      (await execute(connection, sql, params, limitMs)) as T[],
    run: async (sql, params = []) =>
      ((await execute(connection, sql, params, limitMs)) as { affectedRows: number }).affectedRows,
  }
}

/** Read here and not by the driver, which would take any of its options from the query. */
export function addressIn(url: string) {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 3306),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    // Against the system's authorities: a certificate that nobody vouches for is refused.
    ...(searchParams.has('ssl') ? { ssl: { rejectUnauthorized: true } } : {}),
  }
}

/** MySQL 8.4 or MariaDB through a pool of mysql2. */
export class MysqlDatabase implements Database {
  readonly dialect = 'mysql'
  readonly #pool: Pool
  readonly #clockTimer: NodeJS.Timeout
  /** What to add to this process's monotonic clock to get the database's time. */
  #offsetMs = Number.NaN
  #isGaleraNode = false

  private constructor(pool: Pool) {
    this.#pool = pool
    this.#clockTimer = setInterval(() => this.#readClock().catch(() => undefined), CLOCK_INTERVAL_MS).unref()
  }

  /** @throws {StoreError} when the server cannot be reached or refuses the login. */
  static async open(url: string, poolSize: number): Promise<MysqlDatabase> {
    const pool = createPool({
      ...addressIn(url),
      connectionLimit: poolSize,
      maxIdle: poolSize,
      connectTimeout: STORE_TIMEOUT_MS,
      charset: 'utf8mb4',
      timezone: 'Z',
      dateStrings: true,
      supportBigNumbers: true,
      stringifyObjects: true,
      multipleStatements: false,
      // Its stacks of who asked cost a check more than its statements do; a StoreError has one of its own.
      trace: false,
    })
    pool.pool.on('connection', (connection) => {
      for (const sql of CONNECTION_SETUP) connection.query(sql)
    })
    const database = new MysqlDatabase(pool)
    try {
      await database.#readClock()
      const [wsrep] = await database.all("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
      database.#isGaleraNode = wsrep?.Value === 'ON'
      return database
    } catch (error) {
      await database.close()
      throw error
    }
  }

  readonly clock: Clock = () => Math.round(performance.now() + this.#offsetMs)

  all<T extends Row>(sql: string, params: readonly Value[] = []): Promise<T[]> {
    return this.#with((connection, leftMs) => session(connection, leftMs).all<T>(sql, params))
  }

  get allCaughtUp(): Session['all'] | undefined {
    return this.#isGaleraNode ? this.#allCaughtUp : undefined
  }

  readonly #allCaughtUp: Session['all'] = (sql, params) =>
    this.#with(async (connection, leftMs) => {
      const own = session(connection, leftMs)
      await own.run('SET SESSION wsrep_sync_wait = 1')
      try {
        return await own.all(sql, params)
      } finally {
        // One that keeps it would make every later read wait.
        await own.run('SET SESSION wsrep_sync_wait = 0').catch(() => connection.destroy())
      }
    })

  run(sql: string, params: readonly Value[] = []): Promise<number> {
    return this.#undisturbed((own) => own.run(sql, params))
  }

  async batch(statements: readonly Statement[]): Promise<void> {
    const [only] = statements
    if (only !== undefined && statements.length === 1) await this.run(...only)
    else
      await this.transaction(async (tx) => {
        for (const [sql, params] of statements) await tx.run(sql, params)
      })
  }

  transaction<T>(work: (tx: Session) => Promise<T>): Promise<T> {
    return this.#undisturbed((own, connection) => this.#transactionOn(own, connection, work))
  }

  /** Runs anew what a deadlock has undone, as long as a caller waits. On Galera every conflict with another node is one, and shows only at COMMIT. */
  async #undisturbed<T>(work: (own: Session, connection: PoolConnection) => Promise<T>): Promise<T> {
    const startMs = performance.now()
    for (let tries = 1; ; tries++) {
      try {
        return await this.#with((connection, leftMs) => work(session(connection, leftMs), connection))
      } catch (error) {
        if (!isDeadlock(error) || performance.now() - startMs > STORE_TIMEOUT_MS) throw error
        // What it is in conflict with may not have arrived here yet, and would be so again.
        await this.allCaughtUp?.('SELECT 1')
        await sleep(Math.random() * tries * DEADLOCK_PAUSE_MS)
      }
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#clockTimer)
    // A server that is gone or hangs takes no leave, and holds up nobody's.
    await inTime(this.#pool.end()).catch(() => undefined)
  }

  /** Under a named lock that the server gives back by itself when this connection dies. */
  exclusively<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#with(async (connection) => {
      const own = session(connection, NO_LIMIT)
      const [row] = await own.all<{ got: number | null }>(`SELECT GET_LOCK(${MIGRATION_LOCK}, 600) AS got`)
      if (row?.got !== 1)
        throw new StoreError('MySQL: another process has been changing the tables for ten minutes')
      try {
        return await work(own)
      } finally {
        // Where the connection is lost the server has given the lock back, and what went wrong is known already.
        await own.all(`SELECT RELEASE_LOCK(${MIGRATION_LOCK})`).catch(() => undefined)
      }
    })
  }

  /** @param work gets a connection, and what is left of the caller's time once it has been waited for. */
  async #with<T>(work: (connection: PoolConnection, leftMs: number) => Promise<T>): Promise<T> {
    const startMs = performance.now()
    const connection = await this.#borrow()
    try {
      return await work(connection, Math.max(1, STORE_TIMEOUT_MS - (performance.now() - startMs)))
    } finally {
      connection.release()
    }
  }

  async #borrow(): Promise<PoolConnection> {
    const connection = this.#pool.getConnection()
    try {
      return await inTime(connection)
    } catch (error) {
      connection.then((late) => late.release()).catch(() => undefined)
      throw asStoreError(error)
    }
  }

  async #transactionOn<T>(
    tx: Session,
    connection: PoolConnection,
    work: (tx: Session) => Promise<T>,
  ): Promise<T> {
    await tx.run('START TRANSACTION')
    try {
      const result = await work(tx)
      await tx.run('COMMIT')
      return result
    } catch (error) {
      await tx.run('ROLLBACK').catch(() => connection.destroy())
      throw error
    }
  }

  /** Of several readings the quickest errs least: by half its round trip, where a first one includes the login. */
  async #readClock(): Promise<void> {
    let quickestMs = Number.POSITIVE_INFINITY
    for (let i = 0; i < CLOCK_READINGS; i++) {
      const before = performance.now()
      const [row] = await this.all<{ now: string }>('SELECT UTC_TIMESTAMP(6) AS now')
      const roundTripMs = performance.now() - before
      if (roundTripMs >= quickestMs) continue
      quickestMs = roundTripMs
      this.#offsetMs = utcMs(row?.now ?? '') - (before + roundTripMs / 2)
    }
  }
}

/** Of `YYYY-MM-DD HH:MM:SS.ffffff` in UTC; JavaScript's own parser stops at milliseconds. */
function utcMs(text: string): number {
  return Date.parse(`${text.slice(0, 19).replace(' ', 'T')}Z`) + Number(`0${text.slice(19)}`) * 1000
}
