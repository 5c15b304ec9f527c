import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Config, loadConfig } from '../../src/config.ts'
import { scratchDirectory } from './children.ts'
import { sharedMariadb } from './mariadb.ts'

export type TestEnv = Readonly<Record<string, string>>

export type TestDatabase = {
  readonly name: 'SQLite' | 'MariaDB'
  /** The settings of a new installation: an empty database and a DATA_DIR, both shared with nobody. */
  freshConfig(t: Pick<Test, 'teardown'>, extraEnv?: TestEnv): Promise<Config>
}

/** The settings of a new installation on SQLite, or on the database that `extraEnv.DATABASE_URL` names. */
export function freshConfig(t: Pick<Test, 'teardown'>, extraEnv: TestEnv = {}): Config {
  const dataDir = mkdtempSync(join(scratchDirectory(), 'data-'))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  return loadConfig({ DATA_DIR: dataDir, ...extraEnv })
}

/** Every data test runs on each of these. */
export const DATABASES: readonly TestDatabase[] = [
  { name: 'SQLite', freshConfig: async (t, extraEnv) => freshConfig(t, extraEnv) },
  {
    name: 'MariaDB',
    freshConfig: async (t, extraEnv) => {
      const { createDatabase } = await sharedMariadb()
      return freshConfig(t, { DATABASE_URL: await createDatabase(), ...extraEnv })
    },
  },
]
