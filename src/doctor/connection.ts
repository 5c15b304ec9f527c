import { existsSync } from 'node:fs'
import { sqlitePath } from '../config.ts'
import { isLoopback } from '../loopback.ts'
import { advice, command, type Remedy, sql, sqlName, sqlText } from '../remedy.ts'
import { MysqlDatabase } from '../store/engine/mysql.ts'
import { readServerFacts, type ServerFacts } from '../store/inspection/server.ts'
import { openSqliteFile } from '../store/inspection/sqlite-file.ts'
import { type Finding, failed, notChecked, ok, warning } from './finding.ts'
import type { Connected } from './patient.ts'

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

const REACHABLE = 'database.reachable'
const LOGIN = 'database.login'
const ACCESS = 'database.access'
const POOL_SIZE = 2

const ER_DBACCESS_DENIED = 1044
const ER_BAD_DB = 1049
const ER_HOST_NOT_PRIVILEGED = 1130
/** A wrong password or no such account; no password given; an account that is locked, or whose password has run out. */
const LOGIN_REFUSED = new Set([1045, ER_HOST_NOT_PRIVILEGED, 1698, 1820, 1862, 3118, 4151])

type Target = { host: string; port: string; user: string; database: string }

function targetOf(url: string): Target {
  const { hostname, port, username, pathname } = new URL(url)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port || '3306',
    user: decodeURIComponent(username),
    database: decodeURIComponent(pathname.slice(1)),
  }
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

/** Without the driver's own words, which may hold anything. */
function reasonOf(error: unknown): { errno: number; code: string; message: string } {
  const { errno = 0, code = '', message = '' } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
  return { errno, code, message }
}

/** The account as the server named it in its refusal. */
function accountIn(message: string, { user }: Target): string {
  const [, named, host] = /for user '(.*)'@'(.*?)'/.exec(message) ?? /^()Host '(.*?)'/.exec(message) ?? []
  return `${sqlText(named || user)}@${sqlText(host ?? '%')}`
}

function grantEverything({ database }: Target, account: string): Remedy {
  const pattern = sqlName(database.replace(/[_%\\]/g, '\\$&'))
  return sql(
    `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, EVENT ON ${pattern}.* TO ${account};`,
  )
}

function unreachable(target: Target, { code, message }: ReturnType<typeof reasonOf>): Finding {
  const { host, port } = target
  const why: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there',
    ENOTFOUND: 'there is no host of that name',
    EAI_AGAIN: 'its name cannot be looked up',
    ETIMEDOUT: 'nothing answers',
    EHOSTUNREACH: 'no way leads there',
    HANDSHAKE_NO_SSL_SUPPORT: 'it does not speak TLS, which ?ssl=true asks for',
    HANDSHAKE_SSL_ERROR: 'its certificate is not vouched for by an authority that this machine trusts',
  }
  return failed(
    REACHABLE,
    `The database server on ${host}:${port} does not answer: ${why[code] ?? `${code} ${message}`.trim()}.`,
    'Without its database Kunci answers 503 and lets nobody in.',
    [
      ...(isLoopback(host)
        ? [
            advice('Start the server, by the one of these names that it has:'),
            command('systemctl start mariadb'),
            command('systemctl start mysql'),
          ]
        : [
            advice(
              `See that the server runs on ${host}, listens there (bind-address) and that no firewall is between.`,
            ),
          ]),
      advice('Or correct host and port in DATABASE_URL.'),
    ],
  )
}

function loginRefused(target: Target, { errno, message }: ReturnType<typeof reasonOf>): Finding {
  const account = accountIn(message, target)
  const password = "'the password of DATABASE_URL'"
  const what =
    errno === ER_HOST_NOT_PRIVILEGED
      ? `No account may log in to ${target.host}:${target.port} from this machine (${account}).`
      : `The database server refuses the login ${account}: the password is wrong, or there is no such account, or it is locked.`
  return failed(LOGIN, what, 'Without its database Kunci answers 503 and lets nobody in.', [
    advice(
      'Correct user and password in DATABASE_URL; there @ is written %40, : %3A, / %2F, # %23, ? %3F and % %25. ' +
        "Or give the account that password, as the database's administrator, with the password put in:",
    ),
    sql(`CREATE USER IF NOT EXISTS ${account} IDENTIFIED BY ${password};`),
    sql(`ALTER USER ${account} IDENTIFIED BY ${password};`),
    grantEverything(target, account),
  ])
}

function accessRefused(target: Target, { errno, message }: ReturnType<typeof reasonOf>): Finding {
  const { database } = target
  const account = accountIn(message, target)
  const create = sql(`CREATE DATABASE IF NOT EXISTS ${sqlName(database)} CHARACTER SET utf8mb4;`)
  const migrate = [advice('Then make its tables:'), command('kunci migrate')]
  if (errno === ER_BAD_DB)
    return failed(ACCESS, `There is no database named ${database}.`, 'There is nowhere to keep anything.', [
      advice('Correct the name at the end of DATABASE_URL. Or make the database:'),
      create,
      ...migrate,
    ])
  return failed(
    ACCESS,
    `The login ${account} may not use a database named ${database}; to such a login the server does not say whether there is one.`,
    'There is nowhere to keep anything.',
    [
      advice("Correct the name at the end of DATABASE_URL. Or, as the database's administrator:"),
      create,
      grantEverything(target, account),
      ...migrate,
    ],
  )
}

/** Into the server without its database: what can be seen there is seen. */
async function connectBeside(url: string, refusal: Finding, target: Target): Promise<Connection> {
  const bare = new URL(url)
  bare.pathname = '/'
  const findings = [ok(REACHABLE, reachedText(target)), ok(LOGIN, `It lets ${target.user} in.`), refusal]
  const noDatabase = 'the database cannot be used'
  try {
    const db = await MysqlDatabase.open(bare.href, POOL_SIZE)
    const facts = await readServerFacts(db)
    return { findings, db, facts, noServer: '', hasDatabase: false, noDatabase, close: () => db.close() }
  } catch {
    return nowhere(findings, noDatabase)
  }
}

function reachedText({ host, port }: Target): string {
  return `A database server answers on ${host}:${port}.`
}

async function connectMysql(url: string): Promise<Connection> {
  const target = targetOf(url)
  try {
    const db = await MysqlDatabase.open(url, POOL_SIZE)
    const facts = await readServerFacts(db)
    const { user, host } = facts.account
    const findings = [
      ok(REACHABLE, reachedText(target)),
      ok(LOGIN, `It lets ${target.user} in, as ${user}@${host}.`),
      ok(ACCESS, `${target.database} is there and may be used.`),
    ]
    return { findings, db, facts, noServer: '', hasDatabase: true, noDatabase: '', close: () => db.close() }
  } catch (error) {
    const reason = reasonOf(error)
    if (reason.errno === ER_BAD_DB || reason.errno === ER_DBACCESS_DENIED)
      return connectBeside(url, accessRefused(target, reason), target)
    if (LOGIN_REFUSED.has(reason.errno)) {
      const because = 'the login is refused'
      return nowhere(
        [ok(REACHABLE, reachedText(target)), loginRefused(target, reason), notChecked(ACCESS, because)],
        because,
      )
    }
    const because = 'the database server does not answer'
    return nowhere(
      [unreachable(target, reason), notChecked(LOGIN, because), notChecked(ACCESS, because)],
      because,
    )
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
  try {
    const db = openSqliteFile(path)
    await db.all('SELECT COUNT(*) AS tables FROM sqlite_master')
    const findings = [ok(REACHABLE, `${path} can be read.`)]
    return {
      ...{ findings, db, facts: null, noServer: '', hasDatabase: true, noDatabase: '' },
      close: () => db.close(),
    }
  } catch (error) {
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
