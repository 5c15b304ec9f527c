import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createConnection } from 'mysql2/promise'
import type { Config } from '../../src/config.ts'
import type { Lab } from '../lab.ts'
import type { Ratio } from '../report.ts'
import { kunci, target } from '../targets.ts'
import { compare, type Section } from './section.ts'

const ROWS = 1_000_000
const BATCH = 1000
const COLUMNS = ['session_id', 'session_key', 'session_iv', 'client_ip', 'created_at', 'expires_at']
const SESSION_ID_BYTES = 16
const WRAPPED_BYTES = 60
const IV_BYTES = 16
const LIFE_MS = 24 * 3600 * 1000

type Row = readonly string[]

const utcText = (ms: number) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ')

/** Rows as hand-outs leave them. Nobody holds their tokens, so what is in their keys is all the same. */
function livingRows(count: number): Row[] {
  const nowMs = Date.now()
  const [created, expires] = [utcText(nowMs), utcText(nowMs + LIFE_MS)]
  return Array.from({ length: count }, () => {
    const bytes = randomBytes(SESSION_ID_BYTES + WRAPPED_BYTES + IV_BYTES)
    const id = bytes.toString('hex', 0, SESSION_ID_BYTES)
    const wrapped = bytes.toString('base64url', SESSION_ID_BYTES, SESSION_ID_BYTES + WRAPPED_BYTES)
    return [
      id,
      `w1.L0.bench.${wrapped}`,
      bytes.toString('hex', SESSION_ID_BYTES + WRAPPED_BYTES),
      '192.0.2.1',
      created,
      expires,
    ]
  })
}

function fillSqlite({ dataDir }: Config): number {
  const db = new DatabaseSync(join(dataDir, 'kunci.db'))
  try {
    const insert = db.prepare(`INSERT INTO session_keys (${COLUMNS.join(', ')}) VALUES (?, ?, ?, ?, ?, ?)`)
    db.exec('BEGIN')
    for (let i = 0; i < ROWS; i += BATCH) for (const row of livingRows(BATCH)) insert.run(...row)
    db.exec('COMMIT')
    return Number(db.prepare('SELECT COUNT(*) AS n FROM session_keys').get()?.n)
  } finally {
    db.close()
  }
}

async function fillMariadb(databaseUrl: string): Promise<number> {
  const db = await createConnection({ uri: databaseUrl, timezone: 'Z' })
  try {
    await db.query("SET time_zone = '+00:00', autocommit = 0")
    for (let i = 0; i < ROWS; i += BATCH)
      await db.query(`INSERT INTO session_keys (${COLUMNS.join(', ')}) VALUES ?`, [livingRows(BATCH)])
    await db.query('COMMIT')
    const [rows] = await db.query('SELECT COUNT(*) AS n FROM session_keys')
    return Number((rows as { n: number }[])[0]?.n)
  } finally {
    db.destroy()
  }
}

async function fill(config: Config, { progress }: Lab): Promise<void> {
  progress.note(`writing ${ROWS.toLocaleString('en')} living session keys`)
  const rows = config.databaseUrl === undefined ? fillSqlite(config) : await fillMariadb(config.databaseUrl)
  if (rows !== ROWS) throw new Error(`session_keys has ${rows} rows after ${ROWS} were written`)
}

const PAIRS = (['SQLite', 'MariaDB'] as const).map((database) => ({
  full: kunci({ name: `Kunci on ${database}, a million keys`, database, fill }),
  empty: kunci({ name: `Kunci on ${database}`, database }),
}))
const JOBS = ['hand-out', 'check'] as const

const TARGETS = PAIRS.flatMap(({ full, empty }) =>
  [full, empty].flatMap((server) => JOBS.map((job) => target(server, job))),
)
const RATIOS: readonly Ratio[] = (['requests/s', 'p99'] as const).flatMap((of) =>
  PAIRS.flatMap(({ full, empty }) =>
    JOBS.map((job) => ({
      ...{ label: `${job}: ${full.name} / nearly none`, of },
      ...{ over: target(full, job).name, under: target(empty, job).name },
    })),
  ),
)

/** Whether a table of a million living session keys is slower than one that is nearly empty. */
export const million: Section = { name: 'million', measure: (lab) => compare(lab, TARGETS, RATIOS) }
