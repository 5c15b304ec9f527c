import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { createApp } from '../../src/app.ts'
import { initTls } from '../../src/cli/commands/tls.ts'
import { CHECKS } from '../../src/doctor/checks.ts'
import { roomFinding } from '../../src/doctor/disk.ts'
import { createLogger } from '../../src/log.ts'
import { shellWord, sqlName, sqlText } from '../../src/remedy.ts'
import { kunci } from '../support/cli.ts'
import { freshConfig, type TestEnv } from '../support/databases.ts'
import { doctor, heals, PASSWORD, unwell } from '../support/doctor.ts'

const DAY_MS = 86_400_000
const noSql = () => undefined

/** An SQLite installation that has been started once. */
async function installation(t: Test, extraEnv: TestEnv = {}) {
  const config = freshConfig(t, extraEnv)
  const app = await createApp(config, { logger: createLogger('silent') })
  await app.close()
  const env: TestEnv = { DATA_DIR: config.dataDir, ...extraEnv }
  const query = (sql: string) => {
    const db = new DatabaseSync(join(config.dataDir, 'kunci.db'))
    db.exec(sql)
    db.close()
  }
  return { config, env, query }
}

/** Every file below a directory with its size and time. */
function contents(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(directory, name))
      return `${name} ${size} ${mtimeMs}`
    })
}

t.test(
  'an SQLite installation that was started is well, while it runs too, and stays as it is',
  async (t) => {
    const { config, env } = await installation(t)
    const before = contents(config.dataDir)
    const report = await doctor(env)
    t.same(unwell(report), [])
    t.equal(report.code, 0)
    t.same(contents(config.dataDir), before)
    const app = await createApp(config, { logger: createLogger('silent') })
    await app.products.create({ name: 'test' }, 'demo', 'Demo')
    t.match(
      (await doctor(env)).of('settings.legacy_product').what,
      'those of demo',
      'what was just written is seen',
    )
    await app.close()
  },
)

t.test(
  'a log without its index, as a backup brings it, is left without, and read once there was a start',
  async (t) => {
    const { config, env } = await installation(t)
    const path = join(config.dataDir, 'kunci.db')
    const writer = new DatabaseSync(path)
    writer.exec('UPDATE kunci_migrations SET name = name; PRAGMA user_version = 0')
    const log = readFileSync(`${path}-wal`)
    t.ok(log.length > 0)
    const file = readFileSync(path)
    writer.close()
    writeFileSync(path, file)
    writeFileSync(`${path}-wal`, log)
    rmSync(`${path}-shm`, { force: true })
    const before = contents(config.dataDir)
    const report = await doctor(env)
    t.same(contents(config.dataDir), before)
    t.equal(report.code, 0)
    t.match(report.of('database.reachable'), {
      state: 'not_checked',
      what: /kunci\.db-wal has no index yet; the next start makes it/,
    })
    t.match(report.of('migrations'), { state: 'not_checked', what: /has no index yet/ })
    t.match(report.of('keys.files'), { state: 'ok' }, 'what needs no database is looked at')
    writeFileSync(`${path}-wal`, '')
    const withEmptyLog = contents(config.dataDir)
    t.match((await doctor(env)).of('database.reachable'), { state: 'ok' }, 'an empty log holds nothing')
    t.same(contents(config.dataDir), withEmptyLog)
    writeFileSync(`${path}-wal`, log)
    await kunci(env, 'migrate')
    t.same(unwell(await doctor(env)), [])
  },
)

t.test('on an empty machine it makes nothing, warns and does not fail', async (t) => {
  const directory = t.testdir()
  const env = { DATA_DIR: join(directory, 'data'), KEYS_DIR: join(directory, 'keys') }
  const report = await doctor(env)
  t.equal(report.code, 0)
  t.same(readdirSync(directory), [])
  t.match(report.of('database.reachable'), { state: 'warning', what: /There is no .*kunci\.db yet/ })
  t.match(report.of('migrations'), { state: 'not_checked' })
  await heals(t, env, 'database.reachable', 'warning', /There is no/, noSql)
  t.same(unwell(await doctor(env)), [])
})

t.test(
  '--json is one object of findings and counts; people get a line a check and a block a trouble',
  async (t) => {
    const { env } = await installation(t, { LOG_LEVEL: 'silent' })
    const { code, stdout } = await kunci(env, 'doctor', '--json')
    t.equal(code, 0)
    const { findings, counts, ...rest } = JSON.parse(stdout)
    t.same(rest, {})
    t.same(counts, { ok: findings.length - 1, warning: 1, failed: 0, not_checked: 0 })
    for (const finding of findings) t.same(Object.keys(finding), ['id', 'state', 'what', 'why', 'mend'])
    t.match(
      findings.find(({ id }: { id: string }) => id === 'log.kunci'),
      {
        state: 'warning',
        mend: [{ kind: 'setting', text: 'LOG_LEVEL=info' }],
      },
    )
    const text = (await kunci(env, 'doctor')).stdout
    t.match(text, /^warning +log\.kunci +LOG_LEVEL is silent/m)
    t.match(
      text,
      /\n\nwarning: log\.kunci\n(?: {2}.*\n)+ {2}In \.env:\n {4}LOG_LEVEL=info\n\n\d+ ok, 1 warning, 0 failed/,
    )
    t.match((await doctor({ ...env, LOG_LEVEL: 'info' })).of('log.kunci'), {
      state: 'ok',
      what: /journalctl -u kunci/,
    })
  },
)

t.test('a wrong setting hides nothing else', async (t) => {
  const { env } = await installation(t)
  const wrong = { ...env, PORT: 'high', LOG_LEVEL: 'loud', LEGACY_TIME_ZONE: 'Mars', TLS_CERT: 'x' }
  const report = await doctor(wrong)
  t.equal(report.code, 5)
  t.match(report.of('settings'), {
    state: 'failed',
    what: /^PORT must be .* LEGACY_TIME_ZONE must be .* LOG_LEVEL must be .* TLS_CERT and TLS_KEY must be set together\.$/,
  })
  t.same(unwell(report), ['settings', 'clock.legacy_zone', 'log.kunci', 'tls.certificate'])
  const noUrl = await doctor({ ...env, DATABASE_URL: `postgres://kunci:${PASSWORD}@db/x` })
  t.match(noUrl.of('database.privilege.event'), {
    state: 'not_checked',
    what: /DATABASE_URL cannot be understood/,
  })
  t.match(noUrl.of('keys.files'), { state: 'ok' })
  t.match(noUrl.of('disk.data_dir'), { state: 'ok' })
})

t.test('several products want LEGACY_PRODUCT, and one of them named', async (t) => {
  const { env } = await installation(t)
  t.match((await doctor(env)).of('settings.legacy_product'), { state: 'ok', what: /no product yet/ })
  const id = 'settings.legacy_product'
  const state = async (legacyProduct?: string) =>
    (await doctor(legacyProduct === undefined ? env : { ...env, LEGACY_PRODUCT: legacyProduct })).of(id)
  await kunci(env, 'products', 'create', '--code', 'one', '--name', 'One')
  t.match(await state(), { state: 'ok' })
  t.match(await state('none'), {
    state: 'failed',
    what: /LEGACY_PRODUCT names none/,
    mend: [{ text: 'LEGACY_PRODUCT=one' }],
  })
  await kunci(env, 'products', 'create', '--code', 'two', '--name', 'Two')
  const unset = await state()
  t.match(unset, { state: 'failed', what: /LEGACY_PRODUCT is not set/, why: /503/ })
  for (const { kind, text } of unset.mend)
    if (kind === 'setting') t.match(await state(text.split('=')[1]), { state: 'ok' }, text)
  await kunci(env, 'products', 'update', 'two', '--legacy', 'off')
  await heals(t, { ...env, LEGACY_PRODUCT: 'two' }, id, 'warning', /switched off for two/, noSql)
})

t.test('SQLite: an index, a table and rows of the past are mended by what is printed', async (t) => {
  const { env, query, config } = await installation(t)
  query('DROP INDEX idx_expires')
  await heals(t, env, 'table.session_keys', 'warning', /lost its index idx_expires/, query)
  query('DROP INDEX kunci_events_type; CREATE INDEX kunci_events_type ON kunci_events (at_ms)')
  await heals(t, env, 'table.kunci_events', 'warning', /kunci_events_type \(type, id\)/, query)
  query('DROP TABLE kunci_blocks')
  await heals(t, env, 'table.kunci_blocks', 'failed', /table kunci_blocks is missing/, query)
  query("INSERT INTO session_keys VALUES (1, 'a', '', '', '', '2020-01-01 00:00:00', '2020-01-01 00:05:00')")
  await heals(t, env, 'cleanup.backlog', 'warning', /^1 session keys/, query)
  query('ALTER TABLE kunci_events DROP COLUMN actor')
  t.match((await doctor(env)).of('table.kunci_events'), {
    state: 'failed',
    what: /actor is missing/,
    mend: [{ text: /backup/ }],
  })
  writeFileSync(join(config.dataDir, 'kunci.db'), 'this is no database'.repeat(100))
  const report = await doctor(env)
  t.match(report.of('database.reachable'), {
    state: 'failed',
    what: /kunci\.db cannot be read: .*not a database/,
  })
  t.match(report.of('migrations'), { state: 'not_checked' })
  const descriptors = '/proc/self/fd'
  if (!existsSync(descriptors)) return
  const open = readdirSync(descriptors).map((fd) => {
    const link = join(descriptors, fd)
    return lstatSync(link, { throwIfNoEntry: false }) && existsSync(link) ? readlinkSync(link) : ''
  })
  t.notOk(open.includes(join(config.dataDir, 'kunci.db')), 'it is closed')
})

t.test('keys that others can read, broken, missing or strange are found', async (t) => {
  const { config, env } = await installation(t)
  const { keysDir } = config
  const file = join(keysDir, 'kek.json')
  chmodSync(file, 0o644)
  await heals(t, env, 'keys.files', 'failed', /kek\.json can be read by others/, noSql)
  chmodSync(keysDir, 0o755)
  await heals(t, env, 'keys.directory', 'failed', /is open to others/, noSql)
  const key = readFileSync(file)
  writeFileSync(file, '{}')
  t.match((await doctor(env)).of('keys.files'), { state: 'failed', what: /kek\.json: / })
  writeFileSync(file, key)
  t.match((await doctor(env)).of('keys.files'), { state: 'ok' }, 'put back')
  renameSync(keysDir, `${keysDir}.bak`)
  const lost = await doctor(env)
  t.match(lost.of('keys.match'), {
    state: 'failed',
    what: /kek\.json is missing/,
    mend: [{ text: /Put KEYS_DIR back from a backup/ }],
  })
  t.match(lost.of('keys.directory'), { state: 'warning' })
  t.notOk(existsSync(keysDir), 'none are made')
  const stranger = await installation(t)
  t.match((await doctor({ ...env, KEYS_DIR: stranger.config.keysDir })).of('keys.match'), {
    state: 'failed',
    what: /not the one this database was written with/,
  })
  renameSync(`${keysDir}.bak`, keysDir)
  t.same(unwell(await doctor(env)), [])
  rmSync(join(keysDir, 'legacy-jwt.json'))
  t.equal((await doctor(env)).of('keys.match').state, 'failed')
  t.equal((await doctor({ ...env, JWT_SECRET: PASSWORD })).of('keys.match').state, 'ok')
})

t.test('a key that has been current for too long is found, and rotating it mends that', async (t) => {
  const { config, env } = await installation(t, { SEALED_S3: 'true' })
  const daysOf = { kek: 30, jwt: 90, lease: 365, 'kex-s1': 365, 'kex-s2': 365, 'kex-s3': 365 }
  const made = (ring: string, days: number | null) => {
    const file = join(config.keysDir, `${ring}.json`)
    const { made: _, ...content } = JSON.parse(readFileSync(file, 'utf8'))
    const times = days === null ? {} : { made: { k1: new Date(Date.now() - days * DAY_MS).toISOString() } }
    writeFileSync(file, JSON.stringify({ ...content, ...times }))
  }
  for (const [ring, days] of Object.entries(daysOf)) {
    made(ring, days)
    t.equal((await doctor(env)).of('keys.age').state, 'ok', `${ring} after ${days} days`)
    made(ring, days + 1)
    t.match((await doctor(env)).of('keys.age').what, `${ring}, ${days + 1} days old.`)
    made(ring, null)
    t.equal((await doctor(env)).of('keys.age').state, 'ok', `${ring} does not say`)
  }
  for (const ring of ['hwid-pepper', 'licence-pepper', 'legacy-jwt']) made(ring, 4000)
  t.equal((await doctor(env)).of('keys.age').state, 'ok')
  for (const ring of Object.keys(daysOf)) made(ring, 4000)
  const { mend } = (await doctor(env)).of('keys.age')
  const later = new Date(Date.now() + 90 * DAY_MS).toISOString().slice(0, 10)
  t.same(
    mend.map(({ text }) => text),
    [
      ...['kunci keys rotate kek', 'kunci keys rotate jwt'],
      ...['lease', 'kex-s1', 'kex-s2', 'kex-s3'].map((ring) => `kunci keys rotate ${ring} --at ${later}`),
    ],
    'clients have time to learn of what they pin',
  )
  await heals(t, env, 'keys.age', 'warning', /kek, 4000 days old; jwt, 4000 days old; /, noSql)
})

t.test('a key that only another node holds is found before it takes over there', async (t) => {
  const { config, env } = await installation(t)
  const here = { ...env, KEYS_DIR: join(config.dataDir, 'here') }
  cpSync(config.keysDir, here.KEYS_DIR, { recursive: true })
  for (const ring of ['kek', 'jwt']) t.equal((await kunci(env, 'keys', 'rotate', ring)).code, 0)
  t.equal((await doctor(env)).of('keys.match').state, 'ok', 'where it was made')
  t.match((await doctor(here)).of('keys.match'), {
    ...{ state: 'warning', what: /has met key k2 of kek, key k2 of jwt, which .*here does not hold/ },
    mend: [{ kind: 'advice', text: /Copy KEYS_DIR/ }],
  })
  cpSync(config.keysDir, here.KEYS_DIR, { recursive: true })
  t.equal((await doctor(here)).of('keys.match').state, 'ok')
})

t.test('a DATA_DIR that cannot be written to is found, and little room is weighed', async (t) => {
  const directory = t.testdir({ file: '' })
  const env = { DATA_DIR: join(directory, 'file', 'data') }
  t.match((await doctor(env)).of('disk.data_dir'), {
    state: 'failed',
    what: /file is a file, not a directory/,
  })
  t.match(
    (await doctor({ DATA_DIR: join(directory, 'data') })).of('disk.data_dir').what,
    /[\d,]+ MiB are free for/,
  )
  const MIB = 1024 * 1024
  t.match(roomFinding('disk.data_dir', directory, 1024 * MIB), { state: 'ok' })
  t.match(roomFinding('disk.data_dir', directory, 1023 * MIB), {
    state: 'warning',
    what: 'Only 1,023 MiB are free',
  })
  t.match(roomFinding('disk.data_dir', directory, 100 * MIB), { state: 'warning' })
  t.match(roomFinding('disk.data_dir', directory, 99 * MIB), { state: 'failed' })
})

t.test('a certificate near or past its end is renewed by the command that is printed', async (t) => {
  const { config, env } = await installation(t)
  const directory = join(config.dataDir, 'tls')
  const issued = (agoDays: number) =>
    initTls({
      directory,
      hostNames: ['a.example'],
      ipAddresses: ['192.0.2.7'],
      force: true,
      nowMs: Date.now() - agoDays * DAY_MS,
    })
  const { certPath, keyPath } = await issued(390)
  const withTls = { ...env, TLS_CERT: certPath, TLS_KEY: keyPath }
  await heals(t, withTls, 'tls.certificate', 'warning', /holds for 6 more days/, noSql)
  await issued(400)
  await heals(t, withTls, 'tls.certificate', 'failed', /expired on/, noSql)
  t.match((await doctor({ ...withTls, TLS_KEY: certPath })).of('tls.certificate'), {
    state: 'failed',
    what: /exchanged/,
  })
  t.match((await doctor({ ...env, HOST: '0.0.0.0' })).of('tls.certificate'), {
    state: 'warning',
    what: /without TLS/,
  })
  t.match((await doctor({ ...env, HOST: '0.0.0.0', TRUST_PROXY: '10.0.0.1' })).of('tls.certificate'), {
    state: 'ok',
  })
})

t.test('what is printed to be pasted is quoted', async (t) => {
  t.equal(sqlName('a`b'), '`a``b`')
  t.equal(sqlText("o'\\b"), "'o''\\\\b'")
  t.equal(shellWord('/a/b-c.json'), '/a/b-c.json')
  t.equal(shellWord("/a b'c"), "'/a b'\\''c'")
  const directory = join(t.testdir(), 'my keys')
  mkdirSync(directory, { mode: 0o755 })
  chmodSync(directory, 0o755)
  const env = { DATA_DIR: t.testdirName, KEYS_DIR: directory }
  await heals(t, env, 'keys.directory', 'failed', /my keys is open/, noSql)
})

t.test(
  'docs/doctor.md names every check with its meaning and no other, in the order in which they are made',
  async (t) => {
    const manual = readFileSync(new URL('../../docs/doctor.md', import.meta.url), 'utf8')
    const rows = [...manual.matchAll(/^\| `([a-z_.*]+)` \| (.*) \|$/gm)].map(([, id, doc]) => [id, doc])
    t.same(rows, Object.entries(CHECKS))
    const patterns = Object.keys(CHECKS)
    const patternOf = (id: string) =>
      patterns.find((pattern) => pattern === id) ??
      patterns.find((pattern) => pattern === id.replace(/[^.]*$/, '*'))
    const { env } = await installation(t)
    const onSqlite = (await doctor(env)).findings.map(({ id }) => patternOf(id))
    const onMysql = (await doctor({ ...env, DATABASE_URL: 'mysql://a:b@127.0.0.1:1/c' })).findings.map(
      ({ id }) => patternOf(id),
    )
    t.same([...new Set(onMysql)], patterns, 'on MySQL every one is made')
    t.same(
      [...new Set(onSqlite)],
      patterns.filter((pattern) => onSqlite.includes(pattern)),
    )
  },
)
