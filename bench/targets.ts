import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Config, loadConfig } from '../src/config.ts'
import { scratchDirectory } from '../test/support/children.ts'
import { freePort } from '../test/support/server.ts'
import type { Aes } from './baseline/server.ts'
import { type Lab, pidOf } from './lab.ts'
import type { Shot } from './load/load.ts'
import { checks, HAND_OUT, prepareBaseline, prepareKunci } from './prepare.ts'
import { startServer } from './processes.ts'

const KUNCI = fileURLToPath(new URL('../src/bin.ts', import.meta.url))
const BASELINE = fileURLToPath(new URL('baseline/server.ts', import.meta.url))
const BARE_ROUTE = fileURLToPath(new URL('bare-route.ts', import.meta.url))

/** Longer than any run: a session that ends in the middle would be an error. */
const SESSION_KEY_TTL_S = '86400'

/** A server that runs. */
export type Running = { readonly baseUrl: string; readonly pid: number; readonly databasePid?: number }

/** A kind of server that can be started. Its name is what tables call it. */
export type Server = { readonly name: string; start(lab: Lab): Promise<Running> }

/** What is asked of a server. */
export type Job = 'hand-out' | 'check' | 'GET /'

/** One line of a table. */
export type Target = { readonly name: string; readonly server: Server; readonly job: Job }

export function target(server: Server, job: Job): Target {
  return { name: job === 'GET /' ? server.name : `${server.name}: ${job}`, server, job }
}

export async function shotsFor(job: Job, { baseUrl }: Running): Promise<readonly Shot[]> {
  if (job === 'check') return checks(baseUrl)
  return job === 'hand-out' ? HAND_OUT : [{ method: 'GET', path: '/' }]
}

async function launch(
  lab: Lab,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  readyPath: string,
): Promise<Omit<Running, 'databasePid'>> {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const server = await startServer(args, { ...env, PORT: String(port) }, baseUrl + readyPath)
  lab.cleanup.defer(() => server.stop())
  return { baseUrl, pid: server.pid }
}

export const bareRoute: Server = {
  name: 'bare Fastify route',
  start: (lab) => launch(lab, [BARE_ROUTE], {}, '/'),
}

export type KunciWish = {
  readonly name: string
  readonly database: 'SQLite' | 'MariaDB'
  readonly env?: Readonly<Record<string, string>>
  /** What is done to its database before it starts. */
  readonly fill?: (config: Config, lab: Lab) => Promise<void>
}

/** Kunci as it is started in production, without limits on how often one address may ask. */
export function kunci({ name, database, env: wishes = {}, fill }: KunciWish): Server {
  async function start(lab: Lab): Promise<Running> {
    const mariadb = database === 'MariaDB' ? await lab.mariadb() : undefined
    const env = {
      DATA_DIR: mkdtempSync(join(scratchDirectory(), 'data-')),
      ...(mariadb === undefined ? {} : { DATABASE_URL: await mariadb.createDatabase() }),
      ...{ RATE_LIMIT_PER_MINUTE: '0', SESSION_KEY_TTL_S, ...wishes },
    }
    const config = loadConfig(env)
    await prepareKunci(config)
    await fill?.(config, lab)
    const running = await launch(lab, [KUNCI, 'serve'], env, '/health/ready')
    return { ...running, ...(mariadb === undefined ? {} : { databasePid: pidOf(mariadb) }) }
  }
  return { name, start }
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
