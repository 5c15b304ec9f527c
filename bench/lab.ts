import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type MariadbServer, startMariadb } from '../test/support/mariadb.ts'
import type { Driver } from './load/load.ts'
import type { Progress } from './progress.ts'

/** What MariaDB itself has by default; the tests' servers are smaller, for a quick start. */
const DEFAULT_SIZES = ['--innodb-buffer-pool-size=128M', '--loose-innodb-log-file-size=96M']

export type Settings = {
  readonly driver: Driver
  /** How long each target runs in each round. */
  readonly seconds: number
  readonly rounds: number
  readonly connections: number
  /** Only the targets whose name matches. */
  readonly only: RegExp | undefined
}

/** Where the measuring is done: its settings, and the one database server that all targets share. */
export type Lab = Settings & {
  readonly progress: Progress
  /** Private, and started when it is asked for first. */
  mariadb(): Promise<MariadbServer>
  /** The version of MariaDB, where one was started. */
  mariadbVersion(): string | undefined
  /** What is to be stopped at the end. */
  readonly cleanup: AsyncDisposableStack
}

export function openLab(settings: Settings, progress: Progress, cleanup: AsyncDisposableStack): Lab {
  let starting: Promise<MariadbServer> | undefined
  let version: string | undefined
  async function start(): Promise<MariadbServer> {
    progress.note('starting MariaDB')
    const server = await startMariadb({ args: DEFAULT_SIZES })
    cleanup.defer(() => server.stop())
    version = server.version
    return server
  }
  return {
    ...settings,
    ...{ progress, cleanup },
    mariadb: () => (starting ??= start()),
    mariadbVersion: () => version,
  }
}

export function pidOf({ socket }: MariadbServer): number {
  return Number(readFileSync(join(dirname(socket), 'pid'), 'utf8'))
}
