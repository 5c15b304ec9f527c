import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { SetupError } from './errors.ts'

type Env = Readonly<Record<string, string | undefined>>

type Setting<T> = {
  readonly env: string
  /** What an unset variable stands for, as it would be written in `.env`; it may follow from another one. */
  readonly fallback?: string | ((env: Env) => string)
  readonly doc: string
  readonly secret?: true
  /** @throws {Error} with a message that ends the sentence "`<ENV>` …". */
  readonly parse: (text: string) => T
}

function setting<T>(row: Setting<T> & { fallback: NonNullable<Setting<T>['fallback']> }): Setting<T> {
  return row
}

/** A setting without a default: `undefined` where it is not set. */
function optional<T>(row: Setting<T> & { fallback?: never }): Setting<T | undefined> {
  return row
}

const asText = (text: string): string => text
const asPath = (text: string): string => resolve(text)

function asInteger(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new Error(`must be a whole number from ${min} to ${max}`)
  }
}

function asWorkers(text: string): number {
  if (text === 'auto') return availableParallelism()
  try {
    return asInteger(1, 256)(text)
  } catch {
    throw new Error('must be auto or a whole number from 1 to 256')
  }
}

function asBoolean(text: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  throw new Error('must be true or false')
}

function asOneOf<T extends string>(...values: readonly T[]): (text: string) => T {
  return (text) => {
    const found = values.find((value) => value === text)
    if (found !== undefined) return found
    throw new Error(`must be one of ${values.join(', ')}`)
  }
}

const MYSQL_URL = /^(?:mysql|mariadb):\/\//

/** Options in the query could undo what the connection relies on; the one that is understood is `ssl=true`. */
export function asMysqlUrl(text: string): string {
  const url = MYSQL_URL.test(text) ? URL.parse(text.replace(/^mariadb/, 'mysql')) : null
  if (url === null) throw new Error('must look like mysql://user:password@host:3306/database')
  if (url.hostname === '' || url.pathname.length < 2) throw new Error('must name a host and a database')
  if (/%(?![0-9a-f]{2})/i.test(text)) throw new Error('has a % in it that must be written %25')
  if (!['', '?ssl=true'].includes(url.search)) throw new Error('takes no option but ?ssl=true')
  return url.href
}

export function asTimeZone(text: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone
  } catch {
    throw new Error('must be a time zone such as UTC or Asia/Jakarta')
  }
}

function asIssuer(text: string): string {
  if (/^[\x21-\x7e]{1,200}$/.test(text)) return text
  throw new Error('must be a name without spaces, such as https://licences.example')
}

function isCidr(text: string): boolean {
  const [, address = '', prefix = '0'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  return isIP(address) !== 0 && Number(prefix) <= (isIP(address) === 4 ? 32 : 128)
}

function asCidrs(text: string): readonly string[] {
  const cidrs = text.split(',').map((part) => part.trim())
  if (cidrs.every(isCidr)) return cidrs
  throw new Error('must be a list of addresses or networks, such as 127.0.0.1,10.0.0.0/8 (never "true")')
}

/** The one table of settings: it feeds the parser, `kunci config`, `.env.example` and docs/settings.md. */
export const SETTINGS = {
  host: setting({
    env: 'HOST',
    fallback: '127.0.0.1',
    parse: asText,
    doc: 'Address to listen on. 0.0.0.0 or :: for every interface, behind TLS or a proxy.',
  }),
  port: setting({ env: 'PORT', fallback: '3000', parse: asInteger(0, 65535), doc: 'Port to listen on.' }),
  workers: setting({
    env: 'WORKERS',
    fallback: '1',
    parse: asWorkers,
    doc: 'Processes that share the port, or auto for one a core. Each has its own DATABASE_POOL_SIZE and its part of the limits.',
  }),
  databaseUrl: optional({
    env: 'DATABASE_URL',
    parse: asMysqlUrl,
    secret: true,
    doc: 'mysql://user:password@host:3306/database, with ?ssl=true over TLS. Without it an SQLite file in DATA_DIR is used.',
  }),
  databasePoolSize: setting({
    env: 'DATABASE_POOL_SIZE',
    fallback: '10',
    parse: asInteger(2, 500),
    doc: 'Connections to MySQL or MariaDB at most.',
  }),
  dataDir: setting({
    env: 'DATA_DIR',
    fallback: './data',
    parse: asPath,
    doc: 'Where kunci.db, keys and certificates are kept.',
  }),
  keysDir: setting({
    env: 'KEYS_DIR',
    fallback: ({ DATA_DIR }) => join(DATA_DIR || './data', 'keys'),
    parse: asPath,
    doc: 'Where the secret keys are kept, readable by their owner alone. Default: DATA_DIR/keys.',
  }),
  sessionKeyTtlS: setting({
    env: 'SESSION_KEY_TTL_S',
    fallback: '300',
    parse: asInteger(1, 86_400),
    doc: 'Seconds a session key lives.',
  }),
  issuer: optional({
    env: 'ISSUER',
    parse: asIssuer,
    doc: 'Who signs tokens and leases, as they name it. Default: urn:kunci: and a random id that is kept in the database.',
  }),
  sealedS3: setting({
    env: 'SEALED_S3',
    fallback: 'false',
    parse: asBoolean,
    doc: 'Whether suite S3, which resists quantum computers too, is served beside S1 and S2.',
  }),
  checkAgainAfterS: setting({
    env: 'CHECK_AGAIN_AFTER_S',
    fallback: '120',
    parse: asInteger(10, 86_400),
    doc: 'Seconds after which a sealed check tells its client to ask again; each is told up to a tenth more or less.',
  }),
  leaseTtlS: setting({
    env: 'LEASE_TTL_S',
    fallback: '604800',
    parse: asInteger(60, 31_622_400),
    doc: 'Seconds a lease is good. It never outlives its licence.',
  }),
  leaseGraceS: setting({
    env: 'LEASE_GRACE_S',
    fallback: '259200',
    parse: asInteger(0, 31_622_400),
    doc: 'Seconds a tool goes on running, with a warning, after its lease has ended.',
  }),
  leaseRunS: setting({
    env: 'LEASE_RUN_S',
    fallback: '360000',
    parse: asInteger(60, 31_622_400),
    doc: 'Seconds a tool may run under one lease, whatever its clock says.',
  }),
  passwordMinLength: setting({
    env: 'PASSWORD_MIN_LENGTH',
    fallback: '15',
    parse: asInteger(8, 64),
    doc: 'Characters a password has at least. NIST asks for 15 where no one-time code is asked for too, and never less than 8.',
  }),
  argon2MemoryKib: setting({
    env: 'ARGON2_MEMORY_KIB',
    fallback: '19456',
    parse: asInteger(8192, 4_194_304),
    doc: 'KiB of memory that hashing a password takes. When it rises, each user is hashed anew as he signs in.',
  }),
  argon2Passes: setting({
    env: 'ARGON2_PASSES',
    fallback: '2',
    parse: asInteger(1, 100),
    doc: 'Passes over that memory.',
  }),
  argon2Lanes: setting({
    env: 'ARGON2_LANES',
    fallback: '1',
    parse: asInteger(1, 64),
    doc: 'Lanes of that memory.',
  }),
  sessionIdleS: setting({
    env: 'SESSION_IDLE_S',
    fallback: '86400',
    parse: asInteger(300, 31_622_400),
    doc: 'Seconds a user may be signed in without a request.',
  }),
  sessionMaxS: setting({
    env: 'SESSION_MAX_S',
    fallback: '2592000',
    parse: asInteger(300, 31_622_400),
    doc: 'Seconds a user may be signed in at all.',
  }),
  operatorSessionIdleS: setting({
    env: 'OPERATOR_SESSION_IDLE_S',
    fallback: '3600',
    parse: asInteger(300, 31_622_400),
    doc: 'Seconds an admin or superadmin may be signed in without a request.',
  }),
  operatorSessionMaxS: setting({
    env: 'OPERATOR_SESSION_MAX_S',
    fallback: '86400',
    parse: asInteger(300, 31_622_400),
    doc: 'Seconds an admin or superadmin may be signed in at all.',
  }),
  sessionHistoryDays: setting({
    env: 'SESSION_HISTORY_DAYS',
    fallback: '365',
    parse: asInteger(1, 36_500),
    doc: 'Days that ended sessions of users are kept.',
  }),
  countryDatabase: optional({
    env: 'COUNTRY_DATABASE',
    parse: asPath,
    doc: 'A file in MMDB format that knows the countries of addresses. Default: the one that comes with Kunci.',
  }),
  jwtSecret: optional({
    env: 'JWT_SECRET',
    parse: asText,
    secret: true,
    doc: 'The HS256 secret of an older server, so that its tokens go on working. Without it one is made in KEYS_DIR.',
  }),
  legacyProduct: optional({
    env: 'LEGACY_PRODUCT',
    parse: asText,
    doc: 'Code of the product whose customers the old programs are. Default: the only product.',
  }),
  legacySingleUse: setting({
    env: 'LEGACY_SINGLE_USE',
    fallback: 'false',
    parse: asBoolean,
    doc: 'true: a session key is good for one granted check. The old programs check again, hence false.',
  }),
  legacyTimeZone: setting({
    env: 'LEGACY_TIME_ZONE',
    fallback: 'UTC',
    parse: asTimeZone,
    doc: 'Time zone of the expiry_date that the old programs are told.',
  }),
  rateLimitPerMinute: optional({
    env: 'RATE_LIMIT_PER_MINUTE',
    parse: asInteger(0, 1_000_000),
    doc: 'Replaces every per-minute limit (20 hand-outs, 10 checks, 30 refused tokens). 0: no limits and no blocks.',
  }),
  trustProxy: optional({
    env: 'TRUST_PROXY',
    parse: asCidrs,
    doc: 'Proxies whose X-Forwarded-For is believed, as addresses or networks separated by commas.',
  }),
  tlsCert: optional({
    env: 'TLS_CERT',
    parse: asPath,
    doc: 'Certificate chain in PEM. With TLS_KEY: serve HTTPS.',
  }),
  tlsKey: optional({ env: 'TLS_KEY', parse: asPath, doc: 'Private key of TLS_CERT in PEM.' }),
  logLevel: setting({
    env: 'LOG_LEVEL',
    fallback: 'info',
    parse: asOneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    doc: 'Least severe log line that is written.',
  }),
  requestTimeoutMs: setting({
    env: 'REQUEST_TIMEOUT_MS',
    fallback: '10000',
    parse: asInteger(100, 600_000),
    doc: 'Milliseconds a client may take to send a whole request.',
  }),
  keepAliveTimeoutMs: setting({
    env: 'KEEP_ALIVE_TIMEOUT_MS',
    fallback: '72000',
    parse: asInteger(0, 600_000),
    doc: 'Milliseconds an idle connection is kept open. Longer than that of the proxy in front.',
  }),
  shutdownTimeoutMs: setting({
    env: 'SHUTDOWN_TIMEOUT_MS',
    fallback: '10000',
    parse: asInteger(100, 600_000),
    doc: 'Milliseconds that requests in flight may take to finish when the server is stopped.',
  }),
} as const

/** Every setting, parsed. */
export type Config = { readonly [K in keyof typeof SETTINGS]: ReturnType<(typeof SETTINGS)[K]['parse']> }

const NAMES = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[]

/** A variable that is set to nothing counts as not set, as `.env` files and container managers leave such lines. */
function textOf(env: Env, { env: name, fallback }: Setting<unknown>): string | undefined {
  return env[name] || (typeof fallback === 'function' ? fallback(env) : fallback)
}

/** A setting that cannot be used: `problem` ends the sentence "`<env>` …" and repeats no value, as it may be a secret. */
export type SettingMistake = { readonly env: string; readonly problem: string }

/** Reads what can be read, and says of the rest why not. A setting with a mistake has no value. */
export function readSettings(env: Env): { values: Partial<Config>; mistakes: readonly SettingMistake[] } {
  const mistakes: SettingMistake[] = []
  const values: Record<string, unknown> = {}
  for (const name of NAMES) {
    const row: Setting<unknown> = SETTINGS[name]
    const text = textOf(env, row)
    try {
      values[name] = text === undefined ? undefined : row.parse(text)
    } catch (error) {
      mistakes.push({ env: row.env, problem: error instanceof Error ? error.message : 'is not valid' })
    }
  }
  if ((values.tlsCert === undefined) !== (values.tlsKey === undefined))
    mistakes.push({ env: 'TLS_CERT and TLS_KEY', problem: 'must be set together' })
  return { values, mistakes }
}

/**
 * Reads every setting.
 * @throws {SetupError} that lists all mistakes at once, each with the name of its variable.
 */
export function loadConfig(env: Env): Config {
  const { values, mistakes } = readSettings(env)
  if (mistakes.length > 0)
    throw new SetupError(
      `These settings cannot be used:\n${mistakes.map(({ env, problem }) => `  ${env} ${problem}`).join('\n')}\nRun "kunci config --help" for all of them.`,
    )
  return values as Config
}

/** The file of the embedded database. */
export function sqlitePath({ dataDir }: Pick<Config, 'dataDir'>): string {
  return join(dataDir, 'kunci.db')
}

export type SettingInForce = {
  env: string
  value: string | null
  source: 'set' | 'default' | 'unset'
  doc: string
}

/** A secret as it may be shown: of a database address all but the password, of anything else nothing. */
export function masked(text: string): string {
  const shown = /^((?:mysql|mariadb):\/\/[^:@/?#]*)(?::.*)?(@[^@?]*)$/.exec(text)
  return shown === null ? '***' : `${shown[1]}:***${shown[2]}`
}

/** What `kunci config` prints: each setting as it would be written in `.env`, with secrets masked. */
export function settingsInForce(env: Env): SettingInForce[] {
  return NAMES.map((name) => {
    const row: Setting<unknown> = SETTINGS[name]
    const text = textOf(env, row)
    const source = env[row.env] ? 'set' : text === undefined ? 'unset' : 'default'
    return {
      env: row.env,
      value: text !== undefined && row.secret ? masked(text) : (text ?? null),
      source,
      doc: row.doc,
    }
  })
}
