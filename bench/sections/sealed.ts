import { cryptoAlone } from '../crypto-alone.ts'
import type { Ratio } from '../report.ts'
import { kunci, type SealedJob, target } from '../targets.ts'
import { compare, type Section } from './section.ts'

const SUITES = ['S1', 'S2', 'S3'] as const
/** Records of S3 are those of S1: the two differ in their handshake alone. */
const RECORD_SUITES = ['S1', 'S2'] as const
const JOBS: readonly SealedJob[] = [
  ...SUITES.map((suite) => `handshake ${suite}` as const),
  ...RECORD_SUITES.map((suite) => `check ${suite}` as const),
]
const S1_JOBS = ['handshake S1', 'check S1'] as const

function server(name: string, database: 'SQLite' | 'MariaDB', workers: number) {
  const env = { SEALED_S3: 'true', WORKERS: String(workers) }
  return kunci({ name, database, env, isWatched: true })
}

const onMariadb = server('Kunci on MariaDB', 'MariaDB', 1)
const onTwoWorkers = server('Kunci on MariaDB, WORKERS=2', 'MariaDB', 2)
const onSqlite = server('Kunci on SQLite', 'SQLite', 1)

function aloneFor(job: SealedJob) {
  const suite = SUITES.find((suite) => job.endsWith(suite)) ?? 'S1'
  return cryptoAlone(job.startsWith('handshake') ? 'handshake' : 'record', suite)
}

const TARGETS = [
  ...JOBS.map(aloneFor),
  ...JOBS.map((job) => target(onMariadb, job)),
  ...S1_JOBS.map((job) => target(onTwoWorkers, job)),
  ...JOBS.map((job) => target(onSqlite, job)),
]

const of = 'requests/s'
const RATIOS: readonly Ratio[] = [
  ...[onMariadb, onSqlite].flatMap((server) =>
    JOBS.map((job) => {
      const [over, under] = [target(server, job).name, aloneFor(job).name]
      return { label: `${over} / its crypto alone`, of, over, under } as const
    }),
  ),
  {
    label: 'handshake on MariaDB: S3 / S1',
    of,
    over: target(onMariadb, 'handshake S3').name,
    under: target(onMariadb, 'handshake S1').name,
  },
  ...S1_JOBS.map((job) => ({
    ...{ label: `${job} on MariaDB: WORKERS=2 / WORKERS=1`, of: of as Ratio['of'] },
    ...{ over: target(onTwoWorkers, job).name, under: target(onMariadb, job).name },
  })),
]

/** The sealed suites beside what they cannot go beyond: their own cryptography. */
export const sealed: Section = { name: 'sealed', measure: (lab) => compare(lab, TARGETS, RATIOS) }
