import { isLoopback } from '../loopback.ts'
import { advice, command, type Remedy, sql, sqlName, sqlText } from '../remedy.ts'
import { type Finding, failed } from './finding.ts'

export const REACHABLE = 'database.reachable'
export const LOGIN = 'database.login'
export const ACCESS = 'database.access'

const ER_DBACCESS_DENIED = 1044
const ER_BAD_DB = 1049
const ER_HOST_NOT_PRIVILEGED = 1130
/** A wrong password or no such account; no password given; an account that is locked, or whose password has run out. */
const LOGIN_REFUSED = new Set([1045, ER_HOST_NOT_PRIVILEGED, 1698, 1820, 1862, 3118, 4151])

/** What DATABASE_URL names, decoded; the password is left out. */
export type Target = { host: string; port: string; user: string; database: string }

export function targetOf(url: string): Target {
  const { hostname, port, username, pathname } = new URL(url)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port || '3306',
    user: decodeURIComponent(username),
    database: decodeURIComponent(pathname.slice(1)),
  }
}

/** What the driver said, whose errors never hold the password. */
export function reasonOf(error: unknown): { errno: number; code: string; message: string } {
  const { errno = 0, code = '', message = '' } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
  return { errno, code, message }
}

/** Those that the server and its packages live by, often without a password: nobody else should change their login. */
const SERVERS_OWN = /^(?:root|mysql|mariadb\.sys|mysql\.\w+)$/i

type Account = { readonly user: string; readonly host: string }

/** The account as the server named it in its refusal. */
function accountIn(message: string, target: Target): Account {
  const [, user, host = '%'] =
    /for user '(.*)'@'(.*?)'/.exec(message) ?? /^()Host '(.*?)'/.exec(message) ?? []
  return { user: user || target.user, host }
}

const sqlAccount = ({ user, host }: Account) => `${sqlText(user)}@${sqlText(host)}`

function grantEverything({ database }: Target, account: string): Remedy {
  const pattern = sqlName(database.replace(/[_%\\]/g, '\\$&'))
  return sql(
    `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, EVENT ON ${pattern}.* TO ${account};`,
  )
}

/** It was reached and let this login in, and then said no more. */
export function brokenOff({ host, port }: Target, { code, message }: ReturnType<typeof reasonOf>): Finding {
  return failed(
    REACHABLE,
    `The database server on ${host}:${port} answers and lets this login in, but does not say what it is: ${`${code} ${message}`.trim()}.`,
    'Kunci is not sure to get an answer either, and without its database it answers 503 and lets nobody in.',
    [
      advice(
        'Try again. If it stays so, see the error log of the server, and that of the proxy where one is between.',
      ),
    ],
  )
}

/** It answers, but neither to let this login in nor to refuse it: with too many connections, for one. */
function erring({ host, port }: Target, { code, message }: ReturnType<typeof reasonOf>): Finding {
  return failed(
    REACHABLE,
    `The database server on ${host}:${port} answers with an error: ${`${code} ${message}`.trim()}.`,
    'Without its database Kunci answers 503 and lets nobody in.',
    [advice('See the error log of the server, and that of the proxy where one is between.')],
  )
}

export function unreachable(target: Target, reason: ReturnType<typeof reasonOf>): Finding {
  // Those of the server have numbers above zero, those of the network below or none.
  if (reason.errno > 0) return erring(target, reason)
  const { code, message } = reason
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

/** What lets a login in. The words in angle brackets are no SQL, so that nobody gets them for a password. */
function loginRemedies(target: Target, { user, host }: Account): Remedy[] {
  const correct =
    'Correct user and password in DATABASE_URL; there @ is written %40, : %3A, / %2F, # %23, ? %3F and % %25.'
  if (SERVERS_OWN.test(user)) {
    const own = sqlAccount({ user: 'kunci', host })
    return [
      advice(correct),
      advice(
        `${user} belongs to the database server itself, and its login is best left as it is. Make a login of Kunci's own ` +
          "instead, as the database's administrator, with a new password between quotes in the place of the words in " +
          '<>, and name that login in DATABASE_URL:',
      ),
      sql(`CREATE USER IF NOT EXISTS ${own} IDENTIFIED BY <a new password>;`),
      grantEverything(target, own),
    ]
  }
  const account = sqlAccount({ user, host })
  return [
    advice(
      `${correct} Or give the account that password, as the database's administrator, with the password between quotes ` +
        'in the place of the words in <>:',
    ),
    sql(`CREATE USER IF NOT EXISTS ${account} IDENTIFIED BY <the password of DATABASE_URL>;`),
    sql(`ALTER USER ${account} IDENTIFIED BY <the password of DATABASE_URL>;`),
    grantEverything(target, account),
  ]
}

export function loginRefused(target: Target, { errno, message }: ReturnType<typeof reasonOf>): Finding {
  const refused = accountIn(message, target)
  const account = sqlAccount(refused)
  const what =
    errno === ER_HOST_NOT_PRIVILEGED
      ? `No account may log in to ${target.host}:${target.port} from this machine (${account}).`
      : `The database server refuses the login ${account}: the password is wrong, or there is no such account, or it is locked.`
  const why = 'Without its database Kunci answers 503 and lets nobody in.'
  return failed(LOGIN, what, why, loginRemedies(target, refused))
}

export function accessRefused(target: Target, { errno, message }: ReturnType<typeof reasonOf>): Finding {
  const { database } = target
  const account = sqlAccount(accountIn(message, target))
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

/** Whether the login was good, and only the database is missing or closed to it. */
export function isAboutDatabase({ errno }: ReturnType<typeof reasonOf>): boolean {
  return errno === ER_BAD_DB || errno === ER_DBACCESS_DENIED
}

export function isAboutLogin({ errno }: ReturnType<typeof reasonOf>): boolean {
  return LOGIN_REFUSED.has(errno)
}
