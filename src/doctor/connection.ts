import { existsSync } from 'node:fs'
import { sqlitePath } from '../config.ts'
import { advice, command } from '../remedy.ts'
import { MysqlDatabase } from '../store/engine/mysql.ts'
import { readServerFacts, type ServerFacts } from '../store/inspection/server.ts'
import { lacksLogIndex, openSqliteFile, type SqliteFile } from '../store/inspection/sqlite-file.ts'
import { type Finding, failed, notChecked, ok, warning } from './finding.ts'
import type { Connected } from './patient.ts'
import {
  ACCESS,
  accessRefused,
  brokenOff,
  isAboutDatabase,
  isAboutLogin,
  LOGIN,
  loginRefused,
  REACHABLE,
  reasonOf,
  type Target,
  targetOf,
  unreachable,
} from './refusals.ts'

const POOL_SIZE = 2

/** How far one gets into the database. Where a member is `null`, the reason beside it ends "not checked, because …". */
export type Connection = {
  readonly findings: readonly Finding[]
  readonly db: Connected | null
  readonly facts: ServerFacts | null
  readonly noServer: string
  /** Whether the database itself can be read, and not only its server. */
  readonly hasDatabase: boolean
  readonly noDatabase: string
  close(): Promise<void>
}

/** The name of the database that an address names. */
export function databaseNameIn(url: string): string {
  return targetOf(url).database
}

function nowhere(findings: readonly Finding[], because: string): Connection {
  const close = async () => undefined
  return {
    findings,
    db: null,
    facts: null,
    noServer: because,
    hasDatabase: false,
    noDatabase: because,
    close,
  }
}

/** What the server says of itself. The connection is closed before an error is thrown: an open one keeps the process. */
async function factsOf(db: MysqlDatabase): Promise<ServerFacts> {
  try {
    return await readServerFacts(db)
  } catch (error) {
    await db.close()
    throw error
  }
}

/** Into the server without its database: what can be seen there is seen. */
async function connectBeside(url: string, refusal: Finding, target: Target): Promise<Connection> {
  const bare = new URL(url)
  bare.pathname = '/'
  const findings = [ok(REACHABLE, reachedText(target)), letIn(target), refusal]
  const noDatabase = 'the database cannot be used'
  try {
    const db = await MysqlDatabase.open(bare.href, POOL_SIZE)
    const facts = await factsOf(db)
    return { findings, db, facts, noServer: '', hasDatabase: false, noDatabase, close: () => db.close() }
  } catch {
    return nowhere(findings, noDatabase)
  }
}

function reachedText({ host, port }: Target): string {
  return `A database server answers on ${host}:${port}.`
}

function letIn({ user }: Target): Finding {
  return ok(LOGIN, `It lets ${user} in.`)
}

/** Where the server, or its database, cannot be entered. */
function notOpened(url: string, target: Target, error: unknown): Connection | Promise<Connection> {
  const reason = reasonOf(error)
  if (isAboutDatabase(reason)) return connectBeside(url, accessRefused(target, reason), target)
  if (isAboutLogin(reason)) {
    const because = 'the login is refused'
    return nowhere(
      [ok(REACHABLE, reachedText(target)), loginRefused(target, reason), notChecked(ACCESS, because)],
      because,
    )
  }
  const because = reason.errno > 0 ? 'the database server errs' : 'the database server does not answer'
  return nowhere(
    [unreachable(target, reason), notChecked(LOGIN, because), notChecked(ACCESS, because)],
    because,
  )
}

async function connectMysql(url: string): Promise<Connection> {
  const target = targetOf(url)
  const access = ok(ACCESS, `${target.database} is there and may be used.`)
  let db: MysqlDatabase
  try {
    db = await MysqlDatabase.open(url, POOL_SIZE)
  } catch (error) {
    return notOpened(url, target, error)
  }
  try {
    const facts = await factsOf(db)
    const { user, host } = facts.account
    const login = ok(LOGIN, `It lets ${target.user} in, as ${user}@${host}.`)
    const findings = [ok(REACHABLE, reachedText(target)), login, access]
    return { findings, db, facts, noServer: '', hasDatabase: true, noDatabase: '', close: () => db.close() }
  } catch (error) {
    const findings = [brokenOff(target, reasonOf(error)), letIn(target), access]
    return nowhere(findings, 'the database server does not say what it is')
  }
}

async function connectSqlite(dataDir: string): Promise<Connection> {
  const path = sqlitePath({ dataDir })
  if (!existsSync(path))
    return nowhere(
      [
        warning(
          REACHABLE,
          `There is no ${path} yet.`,
          'That is as it should be before the first start. A server that has run before keeps its data elsewhere: then DATA_DIR is wrong.',
          [advice('The first start makes it, and so does:'), command('kunci migrate')],
        ),
      ],
      'there is no kunci.db yet',
    )
  if (lacksLogIndex(path)) {
    const because = `the log ${path}-wal has no index yet; the next start makes it, and so does "kunci migrate"`
    return nowhere([notChecked(REACHABLE, because)], 'the log of kunci.db has no index yet')
  }
  let db: SqliteFile | undefined
  try {
    db = openSqliteFile(path)
    await db.all('SELECT COUNT(*) AS tables FROM sqlite_master')
    const { close } = db
    const findings = [ok(REACHABLE, `${path} can be read.`)]
    return {
      ...{ findings, db, facts: null, noServer: '', hasDatabase: true, noDatabase: '' },
      close,
    }
  } catch (error) {
    await db?.close()
    const finding = failed(
      REACHABLE,
      `${path} cannot be read: ${(error as Error).message}.`,
      'Without its database Kunci does not start.',
      [advice('Let the account that runs Kunci read it. If it is damaged, put it back from a backup.')],
    )
    return nowhere([finding], 'kunci.db cannot be read')
  }
}

/** Connects as the server would, and says how far that goes. Nothing is made or changed. */
export function connect(databaseUrl: string | undefined, dataDir: string | undefined): Promise<Connection> {
  if (databaseUrl !== undefined) return connectMysql(databaseUrl)
  if (dataDir !== undefined) return connectSqlite(dataDir)
  return Promise.resolve(nowhere([], 'DATA_DIR cannot be understood'))
}

/** What stands in the place of a connection where DATABASE_URL names none. */
export function notConnected(because: string): Connection {
  return nowhere(
    [REACHABLE, LOGIN, ACCESS].map((id) => notChecked(id, because)),
    because,
  )
}
