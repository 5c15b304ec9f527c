import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { type App, createApp, migrateDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { unwrapSessionKey } from '../../src/crypto/row-wrap.ts'
import { SetupError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import { pooledRandom } from '../../src/random.ts'
import { openKeyring } from '../../src/store/keyring.ts'
import { freshConfig } from '../support/databases.ts'
import { ACTOR, encrypt } from '../support/legacy.ts'
import { type MariadbServer, sharedMariadb, startMariadb, type TestDatabases } from '../support/mariadb.ts'

// The operator's own clients, and this process, live far from UTC.
process.env.TZ = 'Asia/Jakarta'

const HWID = '1234567890'
const KEY = '00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef'
const IV = 'a0b1c2d3e4f5061728394a5b6c7d8e9f'

/** As the old server's manual had it, to be pasted into phpMyAdmin. */
const OLD_TABLE = `CREATE TABLE IF NOT EXISTS \`session_keys\` (
  \`id\` int(11) NOT NULL AUTO_INCREMENT,
  \`session_id\` varchar(64) NOT NULL,
  \`session_key\` varchar(128) NOT NULL,
  \`session_iv\` varchar(64) NOT NULL,
  \`client_ip\` varchar(45) NOT NULL,
  \`created_at\` timestamp NOT NULL DEFAULT current_timestamp(),
  \`expires_at\` timestamp NOT NULL,
  PRIMARY KEY (\`id\`),
  UNIQUE KEY \`session_id\` (\`session_id\`),
  KEY \`idx_session_id\` (\`session_id\`),
  KEY \`idx_expires\` (\`expires_at\`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;`

const OLD_EVENT = `CREATE EVENT IF NOT EXISTS \`cleanup_expired_sessions\`
ON SCHEDULE EVERY 1 HOUR
DO
  DELETE FROM session_keys WHERE expires_at < NOW();`

const UNREAL_ROWS: readonly (readonly [sessionId: string, key: string, iv: string])[] = [
  ['no-key', 'this is not a key', IV],
  ['short-key', KEY.slice(2), IV],
  ['odd-key', `${KEY.slice(1)}z`, IV],
  ['no-iv', KEY, ''],
  ['short-iv', KEY, IV.slice(2)],
  ['empty', '', ''],
]

type Operator = { readonly config: Config; readonly mysql: Connection }

/** An operator's client: in the time zone of Jakarta, and as loose as his hosting left it. */
async function operator(t: Pick<Test, 'teardown'>, { createDatabase }: TestDatabases): Promise<Operator> {
  const url = await createDatabase('operator')
  const mysql = await createConnection({ uri: url, timezone: 'local', dateStrings: true })
  t.teardown(() => mysql.destroy())
  await mysql.query("SET SESSION time_zone = '+07:00', sql_mode = ''")
  return { config: freshConfig(t, { DATABASE_URL: url }), mysql }
}

async function rowsOf<T = Record<string, unknown>>({ mysql }: Operator, query: string): Promise<T[]> {
  const [rows] = await mysql.query<RowDataPacket[]>(query)
  return rows.map((row) => ({ ...row })) as T[]
}

async function insert(
  { mysql }: Operator,
  sessionId: string,
  { key = KEY, iv = IV, ip = '203.0.113.9', livesFor = '5 MINUTE' } = {},
): Promise<void> {
  await mysql.query(
    `INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, expires_at)
     VALUES (?, ?, ?, ?, NOW() + INTERVAL ${livesFor})`,
    [sessionId, key, iv, ip],
  )
}

async function insertOldRows(operator: Operator): Promise<void> {
  await insert(operator, 'lower-case')
  await insert(operator, 'UPPER-CASE', { key: KEY.toUpperCase(), iv: IV.toUpperCase() })
  await operator.mysql.query(
    'INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, expires_at) VALUES (?)',
    [['by-date', KEY, IV, '2001:db8::1', new Date(Date.now() + 200_000)]],
  )
  for (const [sessionId, key, iv] of UNREAL_ROWS) await insert(operator, sessionId, { key, iv })
  await insert(operator, 'dead', { livesFor: '-1 SECOND' })
  await insert(operator, 'mort-né', { key: 'é', livesFor: '-30 SECOND' })
  await insert(operator, 'long-dead', { livesFor: '-3 HOUR' })
  await operator.mysql.query(
    "INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, expires_at) VALUES ('never', '', '', '', 0)",
  )
  // What a busy server had handed out and removed.
  await operator.mysql.query('ALTER TABLE session_keys AUTO_INCREMENT = 5000')
}

type OldRow = Record<'session_id' | 'session_key' | 'session_iv' | 'expires_at' | 'created_at', string> & {
  id: number
  expires_s: number
  created_s: number
}

const oldRows = (operator: Operator, where = '1') =>
  rowsOf<OldRow>(
    operator,
    `SELECT *, UNIX_TIMESTAMP(expires_at) AS expires_s, UNIX_TIMESTAMP(created_at) AS created_s
     FROM session_keys WHERE ${where} ORDER BY id`,
  )

const tableOf = async (operator: Operator) =>
  String((await rowsOf(operator, 'SHOW CREATE TABLE session_keys'))[0]?.['Create Table'])

const eventOf = (operator: Operator) =>
  rowsOf(
    operator,
    `SELECT interval_value AS every, interval_field AS unit, status AS status, event_definition AS body
     FROM information_schema.events WHERE event_schema = DATABASE() AND event_name = 'cleanup_expired_sessions'`,
  )

async function start(t: Pick<Test, 'teardown'>, config: Config): Promise<App> {
  const app = await createApp(config, { logger: createLogger('silent') })
  t.teardown(() => app.close())
  return app
}

/** What a program is told that has the session's plain key. */
async function check(app: App, sessionId: string, key = KEY, iv = IV): Promise<string> {
  const payload = encrypt({ key, iv }, HWID)
  const facts = { licenceKey: undefined, address: '198.51.100.7', supportCode: 'AAAAA-BBBBB' }
  const session = { sessionId, keyHex: key, ivHex: iv, rowMark: 'of the old server' }
  return (await app.checks.legacy({ session, payload, ...facts })).kind
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (error instanceof SetupError) return error.message
  throw error ?? new Error('it was not refused')
}

async function isOurTable(t: Test, operator: Operator): Promise<void> {
  const columns = await rowsOf(
    operator,
    `SELECT column_name AS name, column_type AS type, collation_name AS collation, is_nullable AS nullable,
       LOWER(column_default) AS fallback, LOWER(extra) AS extra
     FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'session_keys'`,
  )
  const text = (name: string, length: number) => ({
    ...{
      name,
      type: `varchar(${length})`,
      collation: 'ascii_bin',
      nullable: 'NO',
      fallback: null,
      extra: '',
    },
  })
  t.match(columns.find(({ name }) => name === 'id')?.type, /^bigint.* unsigned$/)
  t.match(columns.find(({ name }) => name === 'id')?.extra, 'auto_increment')
  t.same(columns.filter(({ type }) => String(type).startsWith('varchar')).sort(byName), [
    text('client_ip', 45),
    text('session_id', 64),
    text('session_iv', 64),
    text('session_key', 128),
  ])
  const times = columns.filter(({ type }) => type === 'timestamp').sort(byName)
  t.match(times, [{ name: 'created_at' }, { name: 'expires_at' }])
  for (const { nullable, fallback, extra } of times) {
    t.equal(nullable, 'NO')
    t.match(fallback, 'current_timestamp')
    t.notMatch(extra, 'on update')
  }
  t.equal(columns.length, 7)
  const indexes = await rowsOf(
    operator,
    `SELECT column_name AS name, non_unique AS non_unique FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = 'session_keys' ORDER BY column_name`,
  )
  t.same(
    indexes.map(({ name, non_unique }) => [name, Number(non_unique)]),
    [
      ['expires_at', 1],
      ['id', 0],
      ['session_id', 0],
    ],
  )
}

function byName(a: Record<string, unknown>, b: Record<string, unknown>): number {
  return String(a.name) < String(b.name) ? -1 : 1
}

const SERVERS: readonly { name: string; open: () => Promise<TestDatabases> }[] = [
  { name: 'a server of today', open: sharedMariadb },
  { name: 'a server with the old rules for timestamps, in Jakarta', open: () => oldServer() },
]

let startedOldServer: Promise<MariadbServer> | undefined

function oldServer(): Promise<MariadbServer> {
  startedOldServer ??= startMariadb({
    timeZone: '+07:00',
    args: ['--explicit-defaults-for-timestamp=OFF', '--sql-mode='],
  })
  return startedOldServer
}

t.teardown(async () => {
  await (await startedOldServer)?.stop()
})

for (const { name, open } of SERVERS)
  t.test(`the old table on ${name}`, async (t) => {
    const old = await operator(t, await open())
    await old.mysql.query(OLD_TABLE)
    await old.mysql.query(OLD_EVENT)
    await insertOldRows(old)
    const living = await oldRows(old, 'expires_at > NOW()')
    t.equal(living.length, 3 + UNREAL_ROWS.length)
    const { applied, warnings } = await migrateDatabase(old.config)
    t.match(applied, ['0000_migrations', '0001_session_keys'])
    t.same(warnings, [])
    const app = await start(t, old.config)
    await app.products.create(ACTOR, 'demo', 'Demo')
    const wish = { productCode: 'demo', customer: 'Sari', expiresAtMs: null, hwid: HWID }
    await app.licences.create(ACTOR, wish)

    t.test('becomes ours', (t) => isOurTable(t, old))

    t.test(
      'keeps every living row, with its number and its times, to the second and in any time zone',
      async (t) => {
        const facts = ({ id, session_id, expires_at, expires_s, created_at, created_s }: OldRow) => ({
          ...{ id, session_id, expires_at, expires_s, created_at, created_s },
        })
        t.same((await oldRows(old)).map(facts), living.map(facts))
        for (const { session_id, expires_s } of living.slice(0, 3))
          t.equal((await app.sessionKeys.findLiving(session_id))?.expiresAtMs, expires_s * 1000)
      },
    )

    t.test('has its plain keys wrapped, each for its own row', async (t) => {
      const rows = await oldRows(old)
      const ports = { random: pooledRandom(), clock: Date.now }
      const { keys } = openKeyring(old.config, new Map(), ports).keyring.kek
      for (const row of rows.slice(0, 3)) {
        t.match(row.session_key, /^w1\.L0\.k1\.[\w-]{80}$/)
        t.equal(row.session_iv, IV)
        const context = { suite: 'L0', sessionId: row.session_id, iv: Buffer.from(IV, 'hex') } as const
        t.equal(unwrapSessionKey(keys, context, row.session_key)?.toString('hex'), KEY)
        t.equal(await check(app, row.session_id), 'granted', row.session_id)
      }
    })

    t.test('keeps rows that hold no key, which open nothing', async (t) => {
      const rows = await oldRows(old)
      t.same(
        rows.slice(3).map(({ session_id, session_key, session_iv }) => [session_id, session_key, session_iv]),
        UNREAL_ROWS,
      )
      for (const [sessionId] of UNREAL_ROWS) t.equal(await check(app, sessionId), 'unreadable', sessionId)
    })

    t.test('never opens a plain key from then on', async (t) => {
      await insert(old, 'by-the-old-server')
      t.equal(await check(app, 'by-the-old-server'), 'unreadable')
      await old.mysql.query(`UPDATE session_keys SET session_key = ? WHERE session_id = 'lower-case'`, [KEY])
      t.equal(await check(app, 'lower-case'), 'unreadable')
      await old.mysql.query(
        `UPDATE session_keys a, session_keys b SET a.session_key = b.session_key
         WHERE a.session_id = 'lower-case' AND b.session_id = 'UPPER-CASE'`,
      )
      t.equal(await check(app, 'lower-case'), 'unreadable', 'nor one from another row')
      t.equal(await check(app, 'upper-case'), 'session_expired', 'and case matters')
    })

    t.test('goes on counting where it was', async (t) => {
      const { sessionId } = await app.sessionKeys.handOut('203.0.113.9')
      const [row] = await oldRows(old, `session_id = '${sessionId}'`)
      t.ok(Number(row?.id) >= 5000)
    })

    t.test('has its hourly EVENT replaced by ours', async (t) => {
      const [event] = await eventOf(old)
      t.match(event, { every: '1', unit: 'MINUTE', status: 'ENABLED', body: 'LIMIT 5000' })
    })

    t.test('is not touched by a second migrate', async (t) => {
      const before = [await tableOf(old), await oldRows(old), await eventOf(old)]
      t.same((await migrateDatabase(old.config)).applied, [])
      t.same([await tableOf(old), await oldRows(old), await eventOf(old)], before)
    })
  })

t.test('times that the old rules made update themselves stand still from then on', async (t) => {
  const old = await operator(t, await oldServer())
  await old.mysql.query(`CREATE TABLE session_keys (
    expires_at timestamp NOT NULL,
    created_at timestamp NOT NULL,
    id int(11) NOT NULL AUTO_INCREMENT PRIMARY KEY,
    session_id varchar(64) NOT NULL UNIQUE,
    session_key varchar(128) NOT NULL,
    session_iv varchar(64) NOT NULL,
    client_ip varchar(45) NOT NULL
  ) ENGINE=InnoDB`)
  t.match(await tableOf(old), /expires_at.*ON UPDATE/, 'as the server made it')
  await insert(old, 'living')
  t.match(await oldRows(old), [{ created_at: '0000-00-00 00:00:00' }], 'no date at all')
  const [before] = await oldRows(old)
  await migrateDatabase(old.config)
  await isOurTable(t, old)
  const [after] = await oldRows(old)
  t.equal(after?.expires_s, before?.expires_s)
  t.match(after?.session_key, /^w1\./)
  const app = await start(t, old.config)
  t.equal(await check(app, 'living'), 'not_found', 'it opens')
})

t.test(
  'a table of an engine that neither commits nor rolls back becomes InnoDB, with its living rows',
  async (t) => {
    const old = await operator(t, await sharedMariadb())
    await old.mysql.query(OLD_TABLE.replace('ENGINE=InnoDB', 'ENGINE=MyISAM'))
    await insert(old, 'living')
    await migrateDatabase(old.config)
    t.match(await tableOf(old), /ENGINE=InnoDB/)
    t.equal((await oldRows(old)).length, 1)
  },
)

t.test('a unique key of any name is enough, and one is made where there is none', async (t) => {
  const server = await sharedMariadb()
  const columns = OLD_TABLE.slice(0, OLD_TABLE.indexOf('  UNIQUE KEY'))
  for (const keys of [
    'UNIQUE KEY idx_session_id (session_id)',
    'UNIQUE KEY mine (session_id)',
    'KEY (client_ip)',
  ]) {
    const old = await operator(t, server)
    await old.mysql.query(`${columns} ${keys})`)
    await insert(old, 'living')
    await migrateDatabase(old.config)
    const unique = await rowsOf(
      old,
      `SELECT index_name AS name FROM information_schema.statistics WHERE table_schema = DATABASE()
       AND table_name = 'session_keys' AND column_name = 'session_id' AND non_unique = 0`,
    )
    t.equal(unique.length, 1, keys)
    t.not(unique[0]?.name, 'idx_session_id')
    t.equal((await oldRows(old)).length, 1)
  }
})

t.test('a living row that the columns cannot take stops it before anything changes', async (t) => {
  const server = await sharedMariadb()
  const latin = '`session_iv` varchar(64) CHARACTER SET latin1 NOT NULL'
  const tables = [OLD_TABLE, OLD_TABLE.replace('`session_iv` varchar(64) NOT NULL', latin)]
  for (const table of tables) {
    const old = await operator(t, server)
    await old.mysql.query(table)
    await insert(old, 'fine')
    await insert(old, 'sesión')
    // The sign of the kelvin: to a comparison that ignores case it is the letter k.
    await insert(old, 'kelvin', { key: '\u212a' })
    await insert(old, 'umlaut', { iv: 'ü' })
    await insert(old, 'dead', { livesFor: '-1 HOUR' })
    const before = [await tableOf(old), await oldRows(old)]
    const refusal = await refusalOf(migrateDatabase(old.config))
    t.match(refusal, 'living rows')
    t.match(refusal, 'DELETE FROM session_keys WHERE id IN (2, 3, 4);')
    t.same([await tableOf(old), await oldRows(old)], before)
    await old.mysql.query(/DELETE FROM .*;/.exec(refusal)?.[0] ?? '')
    t.same((await migrateDatabase(old.config)).applied[0], '0001_session_keys')
    t.match(await oldRows(old), [{ session_id: 'fine', session_key: /^w1\./ }])
    await isOurTable(t, old)
  }
})

t.test('thousands of rows are all wrapped', async (t) => {
  const old = await operator(t, await sharedMariadb())
  await old.mysql.query(OLD_TABLE)
  await insert(old, '0')
  for (let rows = 1; rows < 2048; rows *= 2)
    await old.mysql.query(
      `INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, expires_at)
       SELECT CONCAT(session_id, '-', ${rows}), session_key, session_iv, client_ip, expires_at FROM session_keys`,
    )
  await migrateDatabase(old.config)
  const rows = await oldRows(old)
  t.equal(rows.length, 2048)
  t.ok(rows.every(({ session_key }) => session_key.startsWith('w1.')))
})
