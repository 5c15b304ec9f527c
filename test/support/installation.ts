import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import type { Test } from 'tap'
import { type App, createApp, migrateDatabase } from '../../src/app.ts'
import type { Clock } from '../../src/clock.ts'
import type { Config } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import type { TestDatabase, TestEnv } from './databases.ts'
import { freePort, type KunciProcess, spawnKunci } from './server.ts'

type Teardown = Pick<Test, 'teardown'>

/** A database and a DATA_DIR that a real process can be started on, once or several times. */
export type Installation = {
  readonly config: Config
  /** What the process is told, without PORT. */
  readonly env: TestEnv
}

export type RunningKunci = { readonly kunci: KunciProcess; readonly url: string; readonly port: number }

/** A new installation, its tables made where the server does not make them itself. No limits, unless `extraEnv` has any. */
export async function install(
  t: Teardown,
  database: TestDatabase,
  extraEnv: TestEnv = {},
): Promise<Installation> {
  const wishes = { RATE_LIMIT_PER_MINUTE: '0', ...extraEnv }
  const config = await database.freshConfig(t, wishes)
  if (config.databaseUrl !== undefined) await migrateDatabase(config)
  const where: TestEnv = config.databaseUrl === undefined ? {} : { DATABASE_URL: config.databaseUrl }
  return { config, env: { ...wishes, ...where, DATA_DIR: config.dataDir } }
}

/** Runs `kunci serve`, away from any `.env`, and waits until it is ready. */
export async function serve(
  t: Teardown,
  { config, env }: Installation,
  { baseUrl }: { baseUrl?: (port: number) => string } = {},
): Promise<RunningKunci> {
  const port = await freePort()
  const options = { cwd: config.dataDir, ...(baseUrl === undefined ? {} : { baseUrl: baseUrl(port) }) }
  const kunci = spawnKunci(['serve'], { ...env, PORT: String(port) }, options)
  t.teardown(async () => {
    await kunci.kill('SIGKILL')
  })
  return { kunci, port, url: await kunci.waitReady() }
}

/** What an operator does on the command line, done in this process. */
export async function asOperator<T>(
  { config }: Installation,
  work: (app: App) => Promise<T>,
  ports: { clock?: Clock } = {},
): Promise<T> {
  const app = await createApp(config, { logger: createLogger('silent'), ...ports })
  try {
    return await work(app)
  } finally {
    await app.close()
  }
}

/** Runs a statement past the server, as phpMyAdmin would. */
export async function sql({ config }: Installation, statement: string): Promise<Record<string, unknown>[]> {
  if (config.databaseUrl === undefined) {
    const db = new DatabaseSync(`${config.dataDir}/kunci.db`, { timeout: 5000 })
    try {
      return db.prepare(statement).all()
    } finally {
      db.close()
    }
  }
  const connection = await createConnection(config.databaseUrl)
  try {
    const [rows] = await connection.query<RowDataPacket[]>(statement)
    return rows
  } finally {
    connection.destroy()
  }
}

/** How many rows of a table the condition holds for. */
export async function count(installation: Installation, table: string, where = '1 = 1'): Promise<number> {
  const [row] = await sql(installation, `SELECT COUNT(*) AS n FROM ${table} WHERE ${where}`)
  return Number(row?.n)
}

/** Whatever a thief of the database would have: every file of SQLite, every row of MariaDB. */
export async function everythingStored(installation: Installation): Promise<string> {
  const { databaseUrl, dataDir } = installation.config
  if (databaseUrl === undefined) {
    const files = readdirSync(dataDir).map((name) => join(dataDir, name))
    return files
      .filter((path) => statSync(path).isFile())
      .map((path) => readFileSync(path, 'latin1'))
      .join('\n')
  }
  const tables = await sql(
    installation,
    'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()',
  )
  const rows = await Promise.all(tables.map(({ name }) => sql(installation, `SELECT * FROM ${name}`)))
  return JSON.stringify(rows)
}

/** Holds up every hand-out until the returned function is called. */
export async function holdUp(t: Teardown, { config }: Installation): Promise<() => Promise<void>> {
  if (config.databaseUrl === undefined) {
    // The server may be writing at this very moment.
    const db = new DatabaseSync(`${config.dataDir}/kunci.db`, { timeout: 5000 })
    t.teardown(() => db.close())
    db.exec('BEGIN IMMEDIATE')
    return async () => db.exec('ROLLBACK')
  }
  const connection = await createConnection(config.databaseUrl)
  t.teardown(() => connection.destroy())
  await connection.query('LOCK TABLES session_keys WRITE')
  return async () => {
    await connection.query('UNLOCK TABLES')
  }
}

/** Waits until the condition holds. @throws {Error} that says what did not come true. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  for (const deadlineMs = Date.now() + timeoutMs; !(await condition()); await sleep(10))
    if (Date.now() > deadlineMs) throw new Error(`Not within ${timeoutMs} ms: ${what}`)
}
