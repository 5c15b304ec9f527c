import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { createApp, migrateDatabase } from '../../src/app.ts'
import type { Clock } from '../../src/clock.ts'
import { type Config, loadConfig } from '../../src/config.ts'
import { secretKey32 } from '../../src/crypto/expand.ts'
import { SetupError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import { pooledRandom } from '../../src/random.ts'
import { type KeyChecks, keyChecksOf, openKeyring } from '../../src/store/keyring.ts'
import { idsOf, keysOf, newSecret, parseRing, type Ring, ringText } from '../../src/store/ring.ts'
import { scratchDirectory, spawnGuarded } from '../support/children.ts'
import { manualClock } from '../support/clock.ts'
import { DATABASES } from '../support/databases.ts'

const FILES = [
  'hwid-pepper.json',
  'jwt.json',
  'kek.json',
  'kex-s1.json',
  'kex-s2.json',
  'lease.json',
  'legacy-jwt.json',
  'licence-pepper.json',
]
const NO_CHECKS: KeyChecks = new Map()
const P256_ORDER = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
const THIRD_KEY = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZ012345').toString('base64url')
const FROM = '2025-01-01T00:01:00.000Z'
const OTHER_KEY = Buffer.from('ABCDEF0123456789abcdef0123456789').toString('base64url')
const GOOD_KEY = Buffer.from('0123456789abcdef0123456789ABCDEF').toString('base64url')

function freshDirectory(t: Pick<Test, 'teardown'>): string {
  const parent = mkdtempSync(join(scratchDirectory(), 'keys-'))
  t.teardown(() => rmSync(parent, { recursive: true, force: true }))
  return join(parent, 'keys')
}

function open(
  directory: string,
  checks = NO_CHECKS,
  { clock = manualClock(), ...settings }: { jwtSecret?: string; sealedS3?: boolean; clock?: Clock } = {},
) {
  return openKeyring({ keysDir: directory, ...settings }, checks, { random: pooledRandom(), clock })
}

function key(text: string) {
  return secretKey32(Buffer.from(text, 'base64url'))
}

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof SetupError) return error.message
    throw error
  }
  return 'it was not refused'
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

function contentsOf(directory: string): Record<string, string> {
  const files = existsSync(directory) ? readdirSync(directory).sort() : []
  return Object.fromEntries(files.map((file) => [file, readFileSync(join(directory, file), 'utf8')]))
}

t.test('keys are made once, for their owner alone, each 32 bytes of its own', async (t) => {
  const directory = freshDirectory(t)
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const { keyring, created } = open(directory)
  t.same(created.toSorted(), FILES.map((file) => join(directory, file)).toSorted())
  t.same(Object.keys(contentsOf(directory)), FILES, 'and no draft is left')
  t.equal(modeOf(directory), '700')
  for (const file of FILES) t.equal(modeOf(join(directory, file)), '600', file)
  const keys = Object.values(keyring).flatMap((ring) => [...ring.keys.values()])
  t.equal(new Set(keys.map((key) => key.export().toString('hex'))).size, FILES.length)
  t.ok(keys.every((key) => key.symmetricKeySize === 32))
  const again = open(directory)
  t.same(again.created, [])
  t.same(keyChecksOf(again.keyring), keyChecksOf(keyring))
  t.notSame(keyChecksOf(open(freshDirectory(t)).keyring), keyChecksOf(keyring))
})

t.test('processes that start at once agree on the keys', async (t) => {
  const directory = freshDirectory(t)
  const source = (file: string) => JSON.stringify(new URL(`../../src/${file}`, import.meta.url).href)
  const program = `
    import { keyChecksOf, openKeyring } from ${source('store/keyring.ts')}
    import { pooledRandom } from ${source('random.ts')}
    const [, directory, startMs] = process.argv
    while (Date.now() < Number(startMs));
    const ports = { random: pooledRandom(), clock: Date.now }
    const { keyring } = openKeyring({ keysDir: directory }, new Map(), ports)
    console.log(JSON.stringify([...keyChecksOf(keyring)]))`
  const startMs = String(Date.now() + 1000)
  const answers = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const child = spawnGuarded(
        process.execPath,
        ['--input-type=module', '-e', program, directory, startMs],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
          env: {},
        },
      )
      child.ref()
      const [answer] = await Promise.all([
        child.stdout === null ? '' : text(child.stdout),
        once(child, 'exit'),
      ])
      return answer.trim()
    }),
  )
  t.equal(new Set(answers).size, 1)
  t.equal(answers[0], JSON.stringify([...keyChecksOf(open(directory).keyring)]))
  t.same(Object.keys(contentsOf(directory)), FILES)
})

t.test('a file that the database knows is never made anew', async (t) => {
  for (const file of FILES) {
    const directory = freshDirectory(t)
    const checks = keyChecksOf(open(directory).keyring)
    rmSync(join(directory, file))
    const before = contentsOf(directory)
    const message = refusal(() => open(directory, checks))
    t.match(message, `${join(directory, file)} is missing`)
    t.match(message, 'Copy KEYS_DIR')
    t.same(contentsOf(directory), before, 'nothing was made')
  }
  const nowhere = freshDirectory(t)
  refusal(() => open(nowhere, keyChecksOf(open(freshDirectory(t)).keyring)))
  t.notOk(existsSync(nowhere), 'not even the directory')
})

t.test('a key that is not the one the database knows is refused by file and id', async (t) => {
  for (const file of FILES) {
    const directory = freshDirectory(t)
    const checks = keyChecksOf(open(directory).keyring)
    const other = freshDirectory(t)
    open(other)
    copyFileSync(join(other, file), join(directory, file))
    const message = refusal(() => open(directory, checks))
    t.match(message, `${join(directory, file)}: key "k1" is not the one`)
    t.match(message, 'Nothing was changed')
  }
})

t.test('a new key may join its ring; an old one must stay until the database knows the new', async (t) => {
  const directory = freshDirectory(t)
  const file = join(directory, 'kek.json')
  const checks = keyChecksOf(open(directory).keyring)
  const { keys } = JSON.parse(readFileSync(file, 'utf8'))
  writeFileSync(file, JSON.stringify({ current: 'k2', keys: { ...keys, k2: GOOD_KEY } }))
  const { keyring } = open(directory, checks)
  t.equal(keyring.kek.current, 'k2')
  t.same([...keyring.kek.keys.keys()], ['k1', 'k2'])
  writeFileSync(file, JSON.stringify({ current: 'k2', keys: { k2: GOOD_KEY } }))
  t.match(
    refusal(() => open(directory, checks)),
    `${file}: key "k1" is missing`,
  )
  t.same([...open(directory, keyChecksOf(keyring)).keyring.kek.keys.keys()], ['k2'])
})

t.test('a next key is current from its time on, and the file is not written for it', async (t) => {
  const directory = freshDirectory(t)
  const clock = manualClock(Date.parse(FROM) - 60_000)
  open(directory)
  const file = join(directory, 'kek.json')
  const text = JSON.stringify({
    ...{ current: 'k1', keys: { k0: THIRD_KEY, k1: GOOD_KEY, k2: OTHER_KEY } },
    ...{ next: { id: 'k2', from: FROM }, made: { k1: FROM }, retired: { k0: FROM } },
  })
  writeFileSync(file, text)
  const { keyring } = open(directory, NO_CHECKS, { clock })
  const before = keyring.kek
  t.same([before.current, idsOf(before)], ['k1', ['k1', 'k2', 'k0']], 'it waits, and opens already')
  t.equal(keysOf(before)[1]?.export().toString('base64url'), OTHER_KEY)
  clock.advance(59_999)
  t.equal(keyring.kek, before, 'one object while nothing changes')
  clock.advance(1)
  const after = keyring.kek
  t.same([after.current, idsOf(after)], ['k2', ['k2', 'k0', 'k1']])
  t.equal(after.retiredMs.get('k1'), Date.parse(FROM))
  t.equal(after.next, null)
  t.equal(keyring.kek, after)
  t.equal(readFileSync(file, 'utf8'), text)
  t.equal(open(directory, NO_CHECKS, { clock }).keyring.kek.current, 'k2', 'also where it starts later')
})

t.test('a file says when its key was made, and is read back as it was written', async (t) => {
  const directory = freshDirectory(t)
  const clock = manualClock()
  const { keyring } = open(directory, NO_CHECKS, { clock })
  t.same([...keyring.jwt.madeMs], [['k1', clock()]])
  const next = { id: 'k2', fromMs: clock() + 5 }
  const whole: Ring = {
    ...{
      current: 'k1',
      keys: new Map([
        ['k1', key(GOOD_KEY)],
        ['k2', key(OTHER_KEY)],
      ]),
      next,
    },
    ...{ madeMs: new Map([['k2', 7]]), retiredMs: new Map([['k2', 0]]) },
  }
  t.equal(ringText(parseRing('jwt', ringText(whole))), ringText(whole))
  t.same(parseRing('jwt', ringText(whole)).next, next)
})

t.test('a private key of P-256 is a number below its order, drawn anew until it is', async (t) => {
  const ring = (hex: string) =>
    JSON.stringify({ current: 'k1', keys: { k1: Buffer.from(hex, 'hex').toString('base64url') } })
  const lessOne = `${P256_ORDER.slice(0, -1)}0`
  for (const name of ['lease', 'kex-s2'] as const) {
    t.equal(parseRing(name, ring(lessOne)).current, 'k1', 'n - 1')
    for (const hex of [P256_ORDER, `${'f'.repeat(63)}0`])
      t.throws(() => parseRing(name, ring(hex)), /^key "k1": .* from 1 to n - 1$/)
    const draws = [P256_ORDER, 'ff'.repeat(32), '00'.repeat(32), lessOne].map((hex) =>
      Buffer.from(hex, 'hex'),
    )
    const drawn = newSecret(name, () => draws.shift() ?? Buffer.alloc(0))
    t.equal(drawn.export().toString('hex'), lessOne)
  }
  t.equal(parseRing('kex-s1', ring(P256_ORDER)).current, 'k1', 'any 32 bytes are a key of X25519')
})

t.test('a database of an earlier version gets the rings it lacks, and keeps those it has', async (t) => {
  const directory = freshDirectory(t)
  const checks = [...keyChecksOf(open(directory).keyring)]
  const before = contentsOf(directory)
  const earlier = ['hwid-pepper', 'kek', 'legacy-jwt', 'licence-pepper']
  const later = FILES.filter((file) => !earlier.includes(file.replace('.json', '')))
  for (const file of later) rmSync(join(directory, file))
  const known: KeyChecks = new Map(checks.filter(([name]) => earlier.includes(name.replace('.k1', ''))))
  const { created } = open(directory, known)
  t.same(
    created.toSorted(),
    later.map((file) => join(directory, file)),
  )
  for (const name of earlier) t.equal(contentsOf(directory)[`${name}.json`], before[`${name}.json`])
})

t.test('the keys of suite S3 are made where it is on, and not looked at where it is off', async (t) => {
  const directory = freshDirectory(t)
  t.notOk('kex-s3' in open(directory).keyring)
  const { keyring, created } = open(directory, NO_CHECKS, { sealedS3: true })
  t.same(created, [join(directory, 'kex-s3.json')])
  t.equal(keyring['kex-s3']?.current, 'k1')
  rmSync(join(directory, 'kex-s3.json'))
  open(directory, keyChecksOf(keyring))
  t.match(
    refusal(() => open(directory, keyChecksOf(keyring), { sealedS3: true })),
    'kex-s3.json is missing',
  )
})

t.test('a file that others can read is refused, with the line that mends it', async (t) => {
  const directory = freshDirectory(t)
  open(directory)
  const file = join(directory, 'licence-pepper.json')
  for (const mode of [0o640, 0o604, 0o644, 0o660]) {
    chmodSync(file, mode)
    t.match(
      refusal(() => open(directory)),
      `Run: chmod 600 ${file}`,
      mode.toString(8),
    )
  }
  chmodSync(file, 0o400)
  open(directory)
})

t.test('a file that is not whole is refused by its name, and left as it is', async (t) => {
  const directory = freshDirectory(t)
  open(directory)
  const file = join(directory, 'kek.json')
  const ring = (keys: unknown, current: unknown = 'k1') => JSON.stringify({ current, keys })
  const ringWith = (more: object) =>
    JSON.stringify({ current: 'k1', keys: { k1: GOOD_KEY, k2: OTHER_KEY }, ...more })
  const broken: Record<string, string> = {
    'cut off': ring({ k1: GOOD_KEY }).slice(0, -2),
    empty: '',
    'not an object': '5',
    null: 'null',
    'no keys': '{}',
    'keys that are none': ring('abc'),
    'a key that is no text': ring({ k1: 5 }),
    'a short key': ring({ k1: GOOD_KEY.slice(0, 40) }),
    'a long key': ring({ k1: `${GOOD_KEY}AAAA` }),
    'another alphabet': ring({ k1: `${GOOD_KEY.slice(0, -1)}+` }),
    padding: ring({ k1: `${GOOD_KEY}=` }),
    'one byte repeated': ring({ k1: Buffer.alloc(32, 7).toString('base64url') }),
    zeroes: ring({ k1: Buffer.alloc(32).toString('base64url') }),
    'an id that is none': ring({ 'K-1': GOOD_KEY }, 'K-1'),
    'no current key': ring({ k1: GOOD_KEY }, 'k2'),
    ...Object.fromEntries(
      [
        null,
        'k2',
        {},
        { id: 'k2' },
        { id: 'k1', from: FROM },
        { id: 'k3', from: FROM },
        { id: 'k2', from: 5 },
      ].map((next) => [`next ${JSON.stringify(next)}`, ringWith({ next })]),
    ),
    'a time in words': ringWith({ made: { k1: 'today' } }),
    'a time without zone': ringWith({ retired: { k2: '2025-01-01T00:00:00' } }),
  }
  for (const [what, content] of Object.entries(broken)) {
    writeFileSync(file, content)
    const message = refusal(() => open(directory))
    t.match(message, `${file}: `, what)
    t.notMatch(message, GOOD_KEY.slice(0, 20), 'no key is told')
    t.equal(readFileSync(file, 'utf8'), content)
  }
})

t.test('JWT_SECRET takes the place of its ring, which is neither made nor looked at', async (t) => {
  const directory = freshDirectory(t)
  const secret = 'the secret of the old server'
  const { keyring, created } = open(directory, NO_CHECKS, { jwtSecret: secret })
  t.equal(keyring['legacy-jwt'].keys.get(keyring['legacy-jwt'].current)?.export().toString(), secret)
  t.equal(created.length, FILES.length - 1)
  t.notOk(existsSync(join(directory, 'legacy-jwt.json')))
  const checks = keyChecksOf(open(directory).keyring)
  rmSync(join(directory, 'legacy-jwt.json'))
  open(directory, checks, { jwtSecret: secret })
})

t.test('a directory that cannot be made is refused', async (t) => {
  const directory = freshDirectory(t)
  writeFileSync(directory, 'a file is in the way')
  t.match(
    refusal(() => open(join(directory, 'deeper'))),
    join(directory, 'deeper'),
  )
})

async function start(config: Config): Promise<readonly string[]> {
  const app = await createApp(config, { logger: createLogger('silent') })
  await app.close()
  return app.createdKeys
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (error instanceof SetupError) return error.message
  throw error ?? new Error('it was not refused')
}

for (const { name, freshConfig } of DATABASES)
  t.test(`over a database in use, on ${name}`, async (t) => {
    const inUse = async (t: Pick<Test, 'teardown'>, extraEnv = {}) => {
      const config = await freshConfig(t, extraEnv)
      if (config.databaseUrl !== undefined) await migrateDatabase(config)
      await start(config)
      return config
    }

    t.test('an emptied KEYS_DIR stops start and migrate, and stays empty', async (t) => {
      const config = await inUse(t)
      const keys = contentsOf(config.keysDir)
      t.equal(Object.keys(keys).length, FILES.length)
      rmSync(config.keysDir, { recursive: true })
      mkdirSync(config.keysDir, { mode: 0o700 })
      t.match(await refusalOf(start(config)), `${join(config.keysDir, 'kek.json')} is missing`)
      t.match(await refusalOf(migrateDatabase(config)), `${join(config.keysDir, 'kek.json')} is missing`)
      t.same(contentsOf(config.keysDir), {})
      for (const [file, content] of Object.entries(keys))
        writeFileSync(join(config.keysDir, file), content, { mode: 0o600 })
      t.same(await start(config), [], 'the keys put back, it starts again')
    })

    t.test('a node with keys of its own does not start', async (t) => {
      const config = await inUse(t)
      const stranger = { ...config, keysDir: freshDirectory(t) }
      open(stranger.keysDir)
      t.match(await refusalOf(start(stranger)), 'key "k1" is not the one this database was written with')
      t.same(await start(config), [])
    })

    t.test('nodes that start at once with keys of their own: one starts', async (t) => {
      const config = await freshConfig(t)
      const nodes = [1, 2, 3].map(() => ({ ...config, keysDir: freshDirectory(t) }))
      const results = await Promise.allSettled(nodes.map((node) => migrateDatabase(node)))
      const refusals = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
      t.equal(refusals.length, 2)
      for (const reason of refusals) {
        t.type(reason, SetupError)
        t.match(reason.message, 'KEYS_DIR')
      }
      const [winner] = nodes.filter((_, i) => results[i]?.status === 'fulfilled')
      t.same(await start(winner ?? config), [])
    })

    t.test('JWT_SECRET may come and go', async (t) => {
      const config = await inUse(t, { JWT_SECRET: 'the secret of the old server' })
      t.equal(Object.keys(contentsOf(config.keysDir)).length, FILES.length - 1)
      const without = loadConfig({
        DATA_DIR: config.dataDir,
        DATABASE_URL: config.databaseUrl,
        KEYS_DIR: config.keysDir,
      })
      t.same(await start(without), [join(config.keysDir, 'legacy-jwt.json')])
      t.same(await start(config), [])
    })
  })
