import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Config, loadConfig } from '../src/config.ts'
import type { SealedSuite } from '../src/crypto/suites.ts'
import { scratchDirectory } from '../test/support/children.ts'
import { freePort } from '../test/support/server.ts'
import { addUsers } from './accounts.ts'
import type { Aes } from './baseline/server.ts'
import { type Lab, pidOf } from './lab.ts'
import type { Figures } from './load/load.ts'
import { createLoopWatch, type LoopWatch } from './loop-watch.ts'
import { type Handed, prepareBaseline, prepareKunci } from './prepare.ts'
import { startServer } from './processes.ts'

const KUNCI = fileURLToPath(new URL('../src/bin.ts', import.meta.url))
const BASELINE = fileURLToPath(new URL('baseline/server.ts', import.meta.url))
const GUARDED_ROUTE = fileURLToPath(new URL('guarded-route.ts', import.meta.url))
const BARE_ROUTE = fileURLToPath(new URL('bare-route.ts', import.meta.url))

/** Longer than any run: a session that ends in the middle would be an error. */
const SESSION_KEY_TTL_S = '86400'

export type SealedJob = `${'handshake' | 'check'} ${SealedSuite}`

/** What is asked of a server. */
export type Job = 'hand-out' | 'check' | 'GET /' | 'open' | 'guarded' | SealedJob

/** A server that runs. */
export type Running = {
  readonly baseUrl: string
  readonly pid: number
  readonly databasePid?: number
  /** Where somebody looks at its event loop. */
  readonly loop?: LoopWatch
  /** Of Kunci: what it was started with, and what its sealed clients hold. */
  readonly kunci?: {
    readonly config: Config
    readonly handed: Handed
    /** Starts another node on the same database. */
    startAnother(): Promise<Running>
  }
}

/** A kind of server that can be started. Its name is what tables call it. */
export type Server = { readonly name: string; start(lab: Lab): Promise<Running> }

/** Work that needs no server, and has a process of its own each time. */
export type Alone = { readonly name: string; readonly run: (seconds: number) => Promise<Figures> }

/** One line of a table. */
export type Target = { readonly name: string; readonly server: Server; readonly job: Job } | Alone

export function target(server: Server, job: Job) {
  return { name: job === 'GET /' ? server.name : `${server.name}: ${job}`, server, job } as const
}

async function launch(
  lab: Lab,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  readyPath: string,
  loop?: LoopWatch,
): Promise<Running> {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const settings = { ...env, ...loop?.env, PORT: String(port) }
  const server = await startServer([...(loop?.args ?? []), ...args], settings, baseUrl + readyPath)
  lab.cleanup.defer(() => server.stop())
  return { baseUrl, pid: server.pid, ...(loop === undefined ? {} : { loop }) }
}

export const bareRoute: Server = {
  name: 'bare Fastify route',
  start: (lab) => launch(lab, [BARE_ROUTE], {}, '/'),
}

/** A server that nobody asks anything: what its event loop is late, the machine's scheduler is to blame for. */
export const idle: Server = {
  name: 'idle process',
  start: (lab) => launch(lab, [BARE_ROUTE], {}, '/', createLoopWatch()),
}

export type KunciWish = {
  readonly name: string
  readonly database: 'SQLite' | 'MariaDB'
  readonly env?: Readonly<Record<string, string>>
  /** What is done to its database before it starts. */
  readonly fill?: (config: Config, lab: Lab) => Promise<void>
  /** Whether its event loop is looked at. */
  readonly isWatched?: boolean
  /** What is started instead of the server alone. */
  readonly program?: readonly string[]
}

/** Kunci as it is started in production, without limits on how often one address may ask. */
export function kunci(wish: KunciWish): Server {
  const { name, database, env: wishes = {}, fill, isWatched = false, program = [KUNCI, 'serve'] } = wish
  async function start(lab: Lab): Promise<Running> {
    const mariadb = database === 'MariaDB' ? await lab.mariadb() : undefined
    const env = {
      DATA_DIR: mkdtempSync(join(scratchDirectory(), 'data-')),
      ...(mariadb === undefined ? {} : { DATABASE_URL: await mariadb.createDatabase() }),
      ...{ RATE_LIMIT_PER_MINUTE: '0', SESSION_KEY_TTL_S, ...wishes },
    }
    const config = loadConfig(env)
    const handed = await prepareKunci(config)
    await fill?.(config, lab)
    const watch = isWatched ? createLoopWatch() : undefined
    const launchNode = (loop?: LoopWatch) => launch(lab, program, env, '/health/ready', loop)
    const running = await launchNode(watch)
    return {
      ...running,
      ...(mariadb === undefined ? {} : { databasePid: pidOf(mariadb) }),
      kunci: { config, handed, startAnother: () => launchNode() },
    }
  }
  return { name, start }
}

/** A route that answers those who are signed in, and the same one for anybody. */
export function guardedRoute(database: 'SQLite' | 'MariaDB'): Server {
  return kunci({
    name: `a route, sessions on ${database}`,
    database,
    fill: addUsers,
    program: [GUARDED_ROUTE],
  })
}

export function baseline(aes: Aes): Server {
  async function start(lab: Lab): Promise<Running> {
    const mariadb = await lab.mariadb()
    const env = {
      DATABASE_URL: await mariadb.createDatabase('baseline'),
      JWT_SECRET: randomBytes(32).toString('hex'),
      SESSION_KEY_TTL_S,
    }
    await prepareBaseline(env.DATABASE_URL)
    const running = await launch(lab, [BASELINE, '--aes', aes], env, '/api/auth/get-session-key')
    return { ...running, databasePid: pidOf(mariadb) }
  }
  return { name: `baseline (${aes === 'forge' ? 'node-forge' : 'node:crypto'})`, start }
}
