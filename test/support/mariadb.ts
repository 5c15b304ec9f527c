import { type ChildProcess, execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { scratchDirectory, spawnGuarded } from './children.ts'
import { asThisUser, freshDataArchive, requireServerBinary } from './mariadb-install.ts'
import { freePort } from './server.ts'

const run = promisify(execFile)

const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 30_000
const START_TRIES = 5

// "loose" makes an option that only the other product knows a warning. Sizes are small for a quick start;
// what makes a commit durable is left as production has it.
const SMALL_AND_DURABLE = [
  '--innodb-flush-log-at-trx-commit=1',
  '--innodb-buffer-pool-size=32M',
  '--innodb-buffer-pool-load-at-startup=OFF',
  '--innodb-buffer-pool-dump-at-shutdown=OFF',
  // Kernels ration asynchronous I/O over all servers of a machine, and the tests start many.
  '--innodb-use-native-aio=OFF',
  '--loose-innodb-log-file-size=16M',
  '--loose-aria-pagecache-buffer-size=8M',
  '--key-buffer-size=1M',
  '--performance-schema=OFF',
  '--loose-mysqlx=OFF',
  '--skip-log-bin',
  '--max-connections=300',
  // As MySQL has it by default; MariaDB's own is a thousand times that.
  '--group-concat-max-len=1024',
]

export type MariadbOptions = {
  readonly eventScheduler?: boolean
  /** Such as `+07:00`. Names are unknown to a fresh server. */
  readonly timeZone?: string
  /** Further arguments of the server. */
  readonly args?: readonly string[]
  /** What its environment has that this process's has not, or otherwise. */
  readonly env?: Readonly<Record<string, string>>
}

export type TestDatabases = {
  readonly version: string
  /** URL of the administrator, who needs no password on a private server. */
  rootUrl(database?: string): string
  /** Makes a database that nobody else uses, with `name` in its name, and returns its URL. */
  createDatabase(name?: string): Promise<string>
}

export type MariadbServer = TestDatabases & {
  readonly port: number
  readonly socket: string
  /** Shuts it down in order. Its data stay for `restart` until this process ends. */
  stop(): Promise<void>
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>
  /** Freezes it: connections stay open and nothing is answered. */
  pause(): void
  resume(): void
  /** Starts it again, on the same port and data. */
  restart(): Promise<void>
}

type Home = { readonly binary: string; readonly directory: string; readonly socket: string }

async function prepareHome(): Promise<Home> {
  const binary = requireServerBinary()
  const archive = await freshDataArchive(binary)
  const directory = mkdtempSync(join(scratchDirectory(), 'db-'))
  mkdirSync(join(directory, 'data'), { mode: 0o700 })
  await run('tar', ['-C', join(directory, 'data'), '-xf', archive])
  return { binary, directory, socket: join(directory, 'sock') }
}

function spawnServer(
  { binary, directory, socket }: Home,
  port: number,
  options: MariadbOptions,
): ChildProcess {
  const args = [
    '--no-defaults',
    `--datadir=${join(directory, 'data')}`,
    `--pid-file=${join(directory, 'pid')}`,
    // In a shared one, each server that starts deletes the temporary tables of the others.
    `--tmpdir=${directory}`,
    `--socket=${socket}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--default-time-zone=${options.timeZone ?? '+00:00'}`,
    `--event-scheduler=${options.eventScheduler === false ? 'OFF' : 'ON'}`,
    ...SMALL_AND_DURABLE,
    ...asThisUser(),
    ...(options.args ?? []),
  ]
  const log = openSync(join(directory, 'log'), 'w')
  // Detached: the Ctrl-C that ends a run must not reach the server before the tests that use it.
  const child = spawnGuarded(binary, args, {
    stdio: ['ignore', log, log],
    cwd: directory,
    env: { ...process.env, ...options.env },
    detached: true,
  })
  child.on('error', () => {})
  closeSync(log)
  return child
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

/** The server's version as soon as it answers; `undefined` when it ended instead. */
async function versionWhenReady(child: ChildProcess, socket: string): Promise<string | undefined> {
  const deadlineMs = Date.now() + READY_TIMEOUT_MS
  while (!hasEnded(child)) {
    try {
      // By the socket: on the port another server might answer, which had taken it first.
      return await askVersion({ socketPath: socket, user: 'root' })
    } catch (error) {
      if (Date.now() > deadlineMs) throw new Error('The database server does not answer', { cause: error })
    }
    await sleep(50)
  }
  return undefined
}

async function askVersion(where: string | { socketPath: string; user: string }): Promise<string> {
  const connection = await createConnection(where as string)
  try {
    const [rows] = await connection.query<RowDataPacket[]>('SELECT VERSION() AS version')
    return String(rows[0]?.version)
  } finally {
    connection.destroy()
  }
}

type Running = { readonly child: ChildProcess; readonly port: number; readonly version: string }

/** Another process may take a port between our look and the server's: then the next of `ports` is tried. */
async function launch(home: Home, ports: () => Promise<number>, options: MariadbOptions): Promise<Running> {
  for (let tries = 1; ; tries++) {
    const port = await ports()
    const child = spawnServer(home, port, options)
    const version = await versionWhenReady(child, home.socket)
    if (version !== undefined) return { child, port, version }
    const log = readFileSync(join(home.directory, 'log'), 'utf8')
    if (tries === START_TRIES || !/address already in use|bind on tcp/i.test(log))
      throw new Error(`${home.binary} did not start:\n${log.split('\n').slice(-25).join('\n')}`)
    await sleep(200 * tries)
  }
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (hasEnded(child)) return
  child.ref()
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  child.once('exit', () => resolve())
  child.kill(signal)
  // A paused server would hear of SIGTERM only when it goes on.
  child.kill('SIGCONT')
  const lastResort = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await ended
  clearTimeout(lastResort)
}

function withDatabase(url: string, database = ''): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

async function createDatabaseOn(url: string, name = 'test'): Promise<string> {
  const database = `kunci_${name}_${randomBytes(6).toString('hex')}`
  const connection = await createConnection(withDatabase(url))
  try {
    await connection.query('CREATE DATABASE ??', [database])
  } finally {
    connection.destroy()
  }
  return withDatabase(url, database)
}

/** A server of this process alone, on an empty data directory. It ends with this process, in whatever way. */
export async function startMariadb(options: MariadbOptions = {}): Promise<MariadbServer> {
  const home = await prepareHome()
  let { child, port, version } = await launch(home, freePort, options)
  const rootUrl = (database?: string) => withDatabase(`mysql://root@127.0.0.1:${port}`, database)
  return {
    port,
    socket: home.socket,
    version,
    rootUrl,
    createDatabase: (name) => createDatabaseOn(rootUrl(), name),
    stop: () => end(child, 'SIGTERM'),
    kill: () => end(child, 'SIGKILL'),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    restart: async () => {
      if (!hasEnded(child)) throw new Error('The database server is still running')
      const again = await launch(home, async () => port, options)
      child = again.child
    },
  }
}

/**
 * A server for what is large: the one that test files share has little memory. It need not outlive a crash of its own,
 * and spares the disk.
 */
export function startLargeMariadb(): Promise<MariadbServer> {
  return startMariadb({
    args: [
      '--innodb-buffer-pool-size=192M',
      '--innodb-flush-log-at-trx-commit=0',
      '--innodb-doublewrite=OFF',
      '--loose-innodb-log-file-size=96M',
    ],
  })
}

let shared: Promise<TestDatabases> | undefined

async function openShared(): Promise<TestDatabases> {
  const url = process.env.KUNCI_TEST_MYSQL_URL
  if (!url) return startMariadb()
  return {
    version: await askVersion(withDatabase(url)),
    rootUrl: (database) => withDatabase(url, database),
    createDatabase: (name) => createDatabaseOn(url, name),
  }
}

/**
 * The server that `npm test` started for the whole run, or the MariaDB or MySQL that KUNCI_TEST_MYSQL_URL
 * names; without either, one of this process. For tests that leave the server itself alone.
 */
export function sharedMariadb(): Promise<TestDatabases> {
  shared ??= openShared()
  return shared
}
