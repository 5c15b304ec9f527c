import t from 'tap'
import { loadConfig, SETTINGS, settingsInForce } from '../src/config.ts'
import { SetupError } from '../src/errors.ts'

t.test('without any variable every setting has its documented default', async (t) => {
  const config = loadConfig({})
  t.match(config, {
    host: '127.0.0.1',
    port: 3000,
    sessionKeyTtlS: 300,
    logLevel: 'info',
    legacyTimeZone: 'UTC',
  })
  t.match(config.keysDir, /data.keys$/)
  t.equal(config.databaseUrl, undefined)
  t.equal(loadConfig({ PORT: '' }).port, 3000, 'set to nothing is not set')
})

t.test('all mistakes are listed at once, by variable, and no value is repeated', async (t) => {
  const wrong: Record<string, string> = {
    PORT: 'eighty!',
    SESSION_KEY_TTL_S: '0',
    DATABASE_URL: 'postgres://u:hunter2@h/d',
    LEGACY_SINGLE_USE: 'yes!',
    LEGACY_TIME_ZONE: 'Mars/Base',
    RATE_LIMIT_PER_MINUTE: '-1',
    TRUST_PROXY: 'true',
    TLS_CERT: '/secret-path.pem',
    LOG_LEVEL: 'loud',
    DATABASE_POOL_SIZE: '1',
    REQUEST_TIMEOUT_MS: '1e9',
  }
  try {
    loadConfig(wrong)
    t.fail('it was accepted')
  } catch (error) {
    t.ok(error instanceof SetupError)
    const { message } = error as Error
    for (const [name, value] of Object.entries(wrong)) {
      t.match(message, name)
      if (value.length > 4) t.notMatch(message, value)
    }
  }
})

t.test('proxies are trusted as a list of networks only', async (t) => {
  t.same(loadConfig({ TRUST_PROXY: '127.0.0.1, 10.0.0.0/8,fd00::/8' }).trustProxy, [
    '127.0.0.1',
    '10.0.0.0/8',
    'fd00::/8',
  ])
  for (const bad of [
    'true',
    '1',
    '*',
    'proxy.example',
    '10.0.0.0/8;',
    '999.1.1.1',
    '10.0.0.0/33',
    'fd00::/129',
  ])
    t.throws(() => loadConfig({ TRUST_PROXY: bad }), SetupError, bad)
})

t.test('a MariaDB address is a MySQL address', async (t) => {
  t.equal(loadConfig({ DATABASE_URL: 'mariadb://u:p@h:3307/d' }).databaseUrl, 'mysql://u:p@h:3307/d')
  for (const bad of [
    'mysql://h',
    'mysql:///d',
    'nonsense',
    'sqlite:x',
    ' mysql://u:p@h/d',
    'mysql:u:p@h/d',
    'mysql://u:p@h/d?multipleStatements=true',
    'mysql://u:p@h/d?ssl-mode=REQUIRED',
    'mysql://u:p%@h/d',
  ])
    t.throws(() => loadConfig({ DATABASE_URL: bad }), SetupError, bad)
})

t.test('what is printed of the settings has no secret in it', async (t) => {
  const env = { DATABASE_URL: 'mysql://user:p@ss:w@rd@host:1/db', JWT_SECRET: 'hunter2-hunter2' }
  const rows = settingsInForce(env)
  t.equal(rows.length, Object.keys(SETTINGS).length)
  const text = JSON.stringify(rows)
  t.notMatch(text, /hunter2|p@ss|w@rd/)
  t.match(text, 'mysql://user:***@host:1/db')
  t.match(
    rows.find(({ env }) => env === 'PORT'),
    { value: '3000', source: 'default' },
  )
})
