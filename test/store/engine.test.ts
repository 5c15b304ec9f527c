import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { createApp, openDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { StoreError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import { Coalescer } from '../../src/store/engine/coalescer.ts'
import {
  type Database,
  DuplicateKeyError,
  insertMany,
  type Session,
  upsert,
} from '../../src/store/engine/database.ts'
import { sessionKeyStore } from '../../src/store/session-keys.ts'
import { spawnGuarded } from '../support/children.ts'
import { DATABASES, freshConfig } from '../support/databases.ts'
import { startMariadb } from '../support/mariadb.ts'

const MANY = 20

const TEXTS = [
  '',
  ' leading and trailing ',
  `it's "quoted" \`twice\``,
  "'; DROP TABLE things; --",
  'C:\\temp\\new\\',
  '\\\' \\" \\0 \\% ?',
  'nul \0 in the middle',
  'line\r\nbreak\ttab\u001a',
  'größe 鍵 🔑 \u{10ffff}',
  '%_',
]

async function open(t: Pick<Test, 'teardown'>, config: Config): Promise<Database> {
  const db = await openDatabase(config)
  t.teardown(() => db.close())
  return db
}

/** A database with a table of its own: `things`, with the rows a = 1 and b = 2. */
async function withThings(t: Pick<Test, 'teardown'>, config: Config): Promise<Database> {
  const db = await open(t, config)
  await db.run(
    `CREATE TABLE things (id VARCHAR(64) NOT NULL, n BIGINT, words VARCHAR(255), PRIMARY KEY (id))
     /*! ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin */`,
  )
  await db.run(
    ...insertMany(
      'things',
      ['id', 'n'],
      [
        ['a', 1],
        ['b', 2],
      ],
    ),
  )
  return db
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

async function thingsIn(db: Database): Promise<Record<string, number>> {
  const rows = await db.all<{ id: string; n: number }>('SELECT id, n FROM things ORDER BY id')
  return Object.fromEntries(rows.map(({ id, n }) => [id, n]))
}

for (const { name, freshConfig } of DATABASES)
  t.test(`the port that every database fills: ${name}`, async (t) => {
    const fresh = async (t: Pick<Test, 'teardown'>) => withThings(t, await freshConfig(t))
    const freshPair = async (t: Pick<Test, 'teardown'>) => {
      const config = await freshConfig(t)
      return [await withThings(t, config), await open(t, config)] as const
    }

    t.test('what was written is read again, to the byte', async (t) => {
      const db = await fresh(t)
      const rows = TEXTS.map((words, i) => [`alone ${i}`, i, words])
      for (const row of rows.slice(0, 3)) await db.run(...insertMany('things', ['id', 'n', 'words'], [row]))
      await db.batch(rows.slice(3, 6).map((row) => insertMany('things', ['id', 'n', 'words'], [row])))
      await db.transaction(async (tx) => {
        await tx.run(...insertMany('things', ['id', 'n', 'words'], rows.slice(6)))
      })
      for (const words of TEXTS) {
        const found = await db.all('SELECT words FROM things WHERE words = ? AND id LIKE ?', [
          words,
          'alone %',
        ])
        t.same(found, [{ words }], JSON.stringify(words))
      }
      await db.run('INSERT INTO things (id, n, words) VALUES (?, ?, ?)', [
        'é🔑',
        Number.MAX_SAFE_INTEGER,
        null,
      ])
      const [row] = await db.all('SELECT id, n, words FROM things WHERE id = ?', ['é🔑'])
      t.same(row, { id: 'é🔑', n: Number.MAX_SAFE_INTEGER, words: null })
    })

    t.test('an update counts the rows it found, changed or not', async (t) => {
      const db = await fresh(t)
      t.equal(await db.run('UPDATE things SET n = ? WHERE id = ?', [1, 'a']), 1)
      t.equal(await db.run('UPDATE things SET n = ?', [1]), 2)
      t.equal(await db.run('UPDATE things SET n = ? WHERE id = ?', [1, 'nobody']), 0)
      t.equal(await db.transaction((tx) => tx.run('UPDATE things SET n = ?', [1])), 2)
    })

    t.test('a key that is there already is a DuplicateKeyError, and nothing is half written', async (t) => {
      const db = await fresh(t)
      const c = insertMany('things', ['id', 'n'], [['c', 3]])
      const duplicate = insertMany('things', ['id', 'n'], [['a', 9]])
      const inTransaction = async (tx: Session) => {
        await tx.run(...c)
        await tx.run(...duplicate)
      }
      t.type(await failureOf(db.run(...duplicate)), DuplicateKeyError)
      t.type(await failureOf(db.batch([c, duplicate])), DuplicateKeyError)
      t.type(await failureOf(db.transaction(inTransaction)), DuplicateKeyError)
      t.same(await thingsIn(db), { a: 1, b: 2 })
      const other = await failureOf(db.run('INSERT INTO things (id) VALUES (?)', [null]))
      t.type(other, StoreError)
      t.notOk(other instanceof DuplicateKeyError, 'and no other mistake is')
    })

    t.test('whatever a transaction throws takes back all it wrote, and reaches the caller', async (t) => {
      const db = await fresh(t)
      const ours = new TypeError('ours')
      const failed = db.transaction(async (tx) => {
        await tx.run('DELETE FROM things')
        throw ours
      })
      await t.rejects(failed, ours)
      t.same(await thingsIn(db), { a: 1, b: 2 })
      await db.transaction((tx) => tx.run('UPDATE things SET n = ? WHERE id = ?', [7, 'a']))
      t.same(await thingsIn(db), { a: 7, b: 2 }, 'and the next one works')
    })

    t.test('nobody outside sees what is not committed', async (t) => {
      const db = await fresh(t)
      await db.transaction(async (tx) => {
        await tx.run('UPDATE things SET n = ? WHERE id = ?', [100, 'a'])
        t.same(await tx.all('SELECT n FROM things WHERE id = ?', ['a']), [{ n: 100 }], 'inside')
        t.same(await thingsIn(db), { a: 1, b: 2 }, 'outside')
      })
      t.same(await thingsIn(db), { a: 100, b: 2 })
    })

    t.test('parallel transactions on one row take turns, whichever process they are of', async (t) => {
      const pair = await freshPair(t)
      const counts = await Promise.all(
        Array.from({ length: MANY }, (_, i) =>
          pair[i % 2 === 0 ? 0 : 1].transaction(async (tx) => {
            await tx.run('UPDATE things SET n = n + 1 WHERE id = ?', ['a'])
            const [row] = await tx.all<{ n: number }>('SELECT n FROM things WHERE id = ?', ['a'])
            return row?.n ?? 0
          }),
        ),
      )
      t.same(
        counts.sort((a, b) => a - b),
        Array.from({ length: MANY }, (_, i) => i + 2),
      )
    })

    t.test('work that must be alone is alone, whichever process it is of', async (t) => {
      const pair = await freshPair(t)
      let inside = 0
      let most = 0
      await Promise.all(
        [...pair, ...pair].map((db) =>
          db.exclusively(async (session) => {
            most = Math.max(most, ++inside)
            await session.run('UPDATE things SET n = n + 1 WHERE id = ?', ['a'])
            await sleep(20)
            inside--
          }),
        ),
      )
      t.equal(most, 1)
      t.same(await thingsIn(pair[0]), { a: 5, b: 2 })
      const ours = new Error('ours')
      await t.rejects(
        pair[0].exclusively(() => Promise.reject(ours)),
        ours,
      )
      await pair[1].exclusively((session) => session.all('SELECT n FROM things'))
    })

    t.test('an upsert adds to the row that is there or makes it, whoever comes first', async (t) => {
      const pair = await freshPair(t)
      const row = { id: 'new', n: 2, words: 'last' }
      await Promise.all(
        Array.from({ length: MANY }, (_, i) =>
          pair[i % 2 === 0 ? 0 : 1].run(
            ...upsert(pair[0].dialect, 'things', row, { key: 'id', add: ['n'], set: ['words'] }),
          ),
        ),
      )
      const found = await pair[0].all('SELECT n, words FROM things WHERE id = ?', ['new'])
      t.same(found, [{ n: 2 * MANY, words: 'last' }])
      await pair[0].run(...upsert(pair[0].dialect, 'things', { id: 'new', n: 99 }, { key: 'id' }))
      t.same((await thingsIn(pair[0])).new, 2 * MANY, 'without a rule the row stays as it is')
    })

    t.test('a statement that cannot be done is a StoreError, and the next one works', async (t) => {
      const db = await fresh(t)
      const wrong: (() => Promise<unknown>)[] = [
        () => db.all('SELECT 1 FROM nothing WHERE id = ?', ['a']),
        () => db.all('SELECT 1 FROM nothing'),
        () => db.run('DELETE FROM nothing'),
        () =>
          db.batch([
            ['UPDATE things SET n = 0', []],
            ['DELETE FROM nothing', []],
          ]),
        () => db.transaction((tx) => tx.all('SELEC')),
      ]
      for (const fail of wrong) {
        const error = await failureOf(fail())
        t.type(error, StoreError)
        t.notOk(error instanceof DuplicateKeyError)
      }
      t.same(await thingsIn(db), { a: 1, b: 2 })
    })

    t.test('what was closed is closed: another close does nothing, and no call opens it again', async (t) => {
      const db = await fresh(t)
      await db.close()
      await db.close()
      t.type(await failureOf(db.all('SELECT n FROM things')), StoreError)
      t.type(await failureOf(db.run('UPDATE things SET n = 0')), StoreError)
      t.type(await failureOf(db.transaction((tx) => tx.run('UPDATE things SET n = 0'))), StoreError)
    })

    t.test('the clock tells the time in UTC', async (t) => {
      const { clock } = await fresh(t)
      t.ok(Math.abs(clock() - Date.now()) < 1000)
    })
  })

t.test('SQLite: a commit is on the disk before it is answered, and readers wait for no writer', async (t) => {
  const db = await withThings(t, freshConfig(t))
  const settings = ['journal_mode', 'synchronous', 'foreign_keys']
  const read = (session: Pick<Database, 'all'>) =>
    Promise.all(
      settings.map(async (name) => Object.values((await session.all(`PRAGMA ${name}`))[0] ?? {})[0]),
    )
  t.same(await db.transaction(read), ['wal', 2, 1], 'the connection that writes')
  t.same(await read(db), ['wal', 2, 1], 'the connection that reads')
  t.type(await failureOf(db.all('DELETE FROM things RETURNING id')), StoreError, 'which cannot write')
})

/** Another process that holds the write lock of a database for a while. */
async function lockedElsewhere(dataDir: string, forMs: number): Promise<void> {
  const program = `
    const db = new (require('node:sqlite').DatabaseSync)(process.argv[1])
    db.exec('BEGIN EXCLUSIVE')
    console.log('locked')
    setTimeout(() => db.exec('COMMIT'), ${forMs})`
  const child = spawnGuarded(process.execPath, ['-e', program, join(dataDir, 'kunci.db')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.stdout !== null) await once(child.stdout, 'data')
}

t.test(
  'SQLite: while another process holds the lock this one goes on, reads, and writes afterwards',
  async (t) => {
    const config = freshConfig(t)
    const db = await withThings(t, config)
    await lockedElsewhere(config.dataDir, 1000)
    const delays = monitorEventLoopDelay({ resolution: 5 })
    delays.enable()
    const startMs = performance.now()
    let isWritten = false
    const written = db.run('UPDATE things SET n = ? WHERE id = ?', [10, 'a']).finally(() => {
      isWritten = true
    })
    let reads = 0
    for (; !isWritten; reads++) await db.all('SELECT n FROM things')
    delays.disable()
    t.equal(await written, 1)
    const waitedMs = performance.now() - startMs
    t.ok(waitedMs > 500, `the write waited ${waitedMs} ms`)
    t.ok(reads > 50, `${reads} reads meanwhile`)
    t.ok(delays.max < 500e6, `the event loop stood still for ${delays.max / 1e6} ms at most`)
    t.same(await thingsIn(db), { a: 10, b: 2 })
  },
)

t.test('SQLite: a lock that is not given back is a StoreError, and does not hold up the end', async (t) => {
  const config = freshConfig(t)
  const db = await withThings(t, config)
  await lockedElsewhere(config.dataDir, 20_000)
  const startMs = performance.now()
  const waiting = [
    failureOf(db.run('UPDATE things SET n = n + 1')),
    failureOf(db.transaction((tx) => tx.run('UPDATE things SET n = n + 1'))),
    failureOf(db.batch([['UPDATE things SET n = n + 1', []]])),
  ]
  const closed = db.close()
  for (const error of await Promise.all(waiting)) t.type(error, StoreError)
  await closed
  const tookMs = performance.now() - startMs
  t.ok(tookMs < 10_000, `it ended after ${tookMs} ms`)
})

t.test('SQLite: a thread that dies is a StoreError to those who wait, and is replaced', async (t) => {
  let worker: Worker | undefined
  const remember = (started: Worker) => {
    worker = started
  }
  process.on('worker', remember)
  t.teardown(() => process.off('worker', remember))
  const db = await withThings(t, freshConfig(t))
  const pending = [db.all('SELECT n FROM things'), db.run('UPDATE things SET n = n + 1')]
  const settled = Promise.allSettled(pending)
  await worker?.terminate()
  const failures = (await settled).filter((result) => result.status === 'rejected')
  for (const { reason } of failures) t.type(reason, StoreError)
  t.same(Object.keys(await thingsIn(db)), ['a', 'b'], 'the next call works')

  const before = await thingsIn(db)
  const cutOff = db.transaction(async (tx) => {
    await tx.run('UPDATE things SET n = ? WHERE id = ?', [100, 'a'])
    await worker?.terminate()
    await tx.run('UPDATE things SET n = ? WHERE id = ?', [200, 'b'])
  })
  t.type(await failureOf(cutOff), StoreError)
  t.same(await thingsIn(db), before, 'the rest of a transaction is not written without its beginning')
})

t.test('SQLite: a file that is no database is a StoreError', async (t) => {
  const config = freshConfig(t)
  writeFileSync(
    join(config.dataDir, 'kunci.db'),
    'this is no database, and must stay what it is. '.repeat(100),
  )
  const db = await openDatabase(config)
  t.type(await failureOf(db.all('SELECT 1')), StoreError)
  t.type(await failureOf(db.run('CREATE TABLE things (id INT)')), StoreError)
})

t.test('MariaDB: a transaction that loses a deadlock is run again', async (t) => {
  const db = await withThings(t, await DATABASES[1]!.freshConfig(t))
  const { promise: bothHaveOne, resolve } = Promise.withResolvers<void>()
  let begun = 0
  const lockBoth = (first: string, second: string) =>
    db.transaction(async (tx) => {
      await tx.run('UPDATE things SET n = n + 10 WHERE id = ?', [first])
      if (++begun === 2) resolve()
      await bothHaveOne
      await tx.run('UPDATE things SET n = n + 10 WHERE id = ?', [second])
    })
  await Promise.all([lockBoth('a', 'b'), lockBoth('b', 'a')])
  t.same(await thingsIn(db), { a: 21, b: 22 })
  t.equal(begun, 3, 'one of the two was run twice')
})

t.test('MariaDB: a statement of its own that loses a deadlock is run again', async (t) => {
  const db = await withThings(t, await DATABASES[1]!.freshConfig(t))
  const isWaiting = async () =>
    (await db.all("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")).length > 0
  const { alone } = await db.transaction(async (tx) => {
    // Of two InnoDB ends the one that has done less.
    for (let i = 0; i < MANY; i++) await tx.run('INSERT INTO things (id) VALUES (?)', [`more ${i}`])
    await tx.run('UPDATE things SET n = n + 10 WHERE id = ?', ['b'])
    const alone = db.run("UPDATE things SET n = n + 100 WHERE id IN ('a', 'b')")
    alone.catch(() => {})
    // Whoever asks within a tenth of a second is shown what was shown before.
    while (!(await isWaiting())) await sleep(150)
    await tx.run('UPDATE things SET n = n + 10 WHERE id = ?', ['a'])
    await tx.run("DELETE FROM things WHERE id LIKE 'more %'")
    return { alone }
  })
  t.equal(await alone, 2)
  t.same(await thingsIn(db), { a: 111, b: 112 })
})

t.test('MariaDB: a server of another time zone that hangs, dies and comes back', async (t) => {
  const server = await startMariadb({ timeZone: '+07:00' })
  t.teardown(() => server.stop())
  const config = freshConfig(t, { DATABASE_URL: await server.createDatabase(), DATABASE_POOL_SIZE: '4' })
  const db = await withThings(t, config)

  t.test('times are UTC, whatever the server thinks', async (t) => {
    t.ok(Math.abs(db.clock() - Date.now()) < 1000)
    await db.run('CREATE TABLE times (at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)')
    await db.run('INSERT INTO times (at) VALUES (?)', ['2025-01-02 03:04:05'])
    const [row] = await db.all('SELECT at, UNIX_TIMESTAMP(at) AS s FROM times')
    t.same(row, { at: '2025-01-02 03:04:05', s: Date.UTC(2025, 0, 2, 3, 4, 5) / 1000 })
  })

  t.test('nobody waits long for a server that hangs, and nothing needs a restart afterwards', async (t) => {
    const { insert } = sessionKeyStore(db)
    const row = { wrappedKey: 'k', ivHex: 'i', clientIp: '::1', createdAtMs: 0, expiresAtMs: 0 }
    server.pause()
    const startMs = performance.now()
    const calls = [
      db.all('SELECT n FROM things WHERE id = ?', ['never prepared before']),
      db.transaction((tx) => tx.all('SELECT n FROM things')),
      ...Array.from({ length: MANY }, () => db.all('SELECT n FROM things')),
      ...Array.from({ length: 1000 }, (_, i) => insert({ ...row, sessionId: `s${i}` })),
    ]
    const results = await Promise.allSettled(calls)
    const tookMs = performance.now() - startMs
    server.resume()
    t.ok(tookMs < 15_000, `the last of ${calls.length} heard of it after ${tookMs} ms`)
    // A call or two may have been answered before the server stood still.
    const failures = results.filter((result) => result.status === 'rejected')
    t.ok(failures.length > 1000)
    t.ok(failures.every(({ reason }) => reason instanceof StoreError))
    t.same(await thingsIn(db), { a: 1, b: 2 })
  })

  t.test('a call in the middle of a server’s end is a StoreError, and its return is enough', async (t) => {
    const slow = Promise.allSettled([
      db.all('SELECT SLEEP(60)'),
      db.transaction((tx) => tx.all('SELECT SLEEP(60)')),
      db.exclusively((session) => session.all('SELECT SLEEP(60)')),
    ])
    await sleep(200)
    await server.kill()
    for (const result of await slow)
      t.type(result.status === 'rejected' ? result.reason : undefined, StoreError)
    t.type(await failureOf(db.all('SELECT n FROM things')), StoreError)
    await server.restart()
    t.same(await thingsIn(db), { a: 1, b: 2 })
    t.equal(await db.run('UPDATE things SET n = n + 1'), 2)
  })

  t.test('a server that hangs does not hold up the end of the process', async (t) => {
    const own = await openDatabase(config)
    server.pause()
    await own.close()
    server.resume()
    t.pass('it ended')
  })
})

/** A coalescer over a work that settles when the test says so. */
function handWorked(limits = { maxItems: 4, lanes: 1 }) {
  const batches: { items: number[]; finish: (error?: unknown) => void }[] = []
  const coalescer = new Coalescer<number, string>((items) => {
    const { promise, resolve, reject } = Promise.withResolvers<string[]>()
    const finish = (error?: unknown) =>
      error === undefined ? resolve(items.map((item) => `done ${item}`)) : reject(error)
    batches.push({ items, finish })
    return promise
  }, limits)
  const submit = (...items: number[]) => Promise.allSettled(items.map((item) => coalescer.submit(item)))
  const begun = async (count: number) => {
    while (batches.length < count) await sleep(1)
    return batches.map(({ items }) => items)
  }
  return { batches, coalescer, submit, begun }
}

const errorsOf = (results: readonly PromiseSettledResult<string>[]) =>
  results.map((result) => (result.status === 'rejected' ? result.reason : null))

t.test('calls of one moment share a batch, and each is given its own result', async (t) => {
  const { batches, submit, begun } = handWorked()
  const results = submit(1, 2, 3)
  t.same(await begun(1), [[1, 2, 3]])
  batches[0]?.finish()
  t.same(
    (await results).map((result) => result.status === 'fulfilled' && result.value),
    ['done 1', 'done 2', 'done 3'],
  )
})

t.test('what arrives during a batch goes with the next, and no batch is larger than it may be', async (t) => {
  const { batches, submit, begun } = handWorked()
  const first = submit(1)
  await begun(1)
  const rest = submit(2, 3, 4, 5, 6)
  await sleep(5)
  t.same(await begun(1), [[1]], 'one lane: the second waits')
  batches[0]?.finish()
  t.same(await begun(2), [[1], [2, 3, 4, 5]])
  batches[1]?.finish()
  t.same(await begun(3), [[1], [2, 3, 4, 5], [6]])
  batches[2]?.finish()
  t.notOk([...errorsOf(await first), ...errorsOf(await rest)].some(Boolean))
})

t.test('so many batches are under way at once as there are lanes, and no more', async (t) => {
  const { batches, submit, begun } = handWorked({ maxItems: 1, lanes: 2 })
  const results = submit(1, 2, 3)
  t.same(await begun(2), [[1], [2]])
  await sleep(5)
  t.equal(batches.length, 2)
  batches[1]?.finish()
  t.same(await begun(3), [[1], [2], [3]])
  batches[0]?.finish()
  batches[2]?.finish()
  t.notOk(errorsOf(await results).some(Boolean))
})

t.test('a duplicate in a batch fails alone', async (t) => {
  const seen = new Set<number>()
  const coalescer = new Coalescer<number, number>(
    async (items) => {
      if (items.some((item, i) => seen.has(item) || items.indexOf(item) !== i))
        throw new DuplicateKeyError('again')
      for (const item of items) seen.add(item)
      return items
    },
    { maxItems: 64, lanes: 1 },
  )
  const results = await Promise.allSettled([1, 2, 2, 3].map((item) => coalescer.submit(item)))
  const failures = results.filter((result) => result.status === 'rejected')
  t.equal(failures.length, 1)
  t.type(failures[0]?.reason, DuplicateKeyError)
  t.same([...seen].sort(), [1, 2, 3])
})

t.test('a database that fails fails the whole batch, which is not tried again one by one', async (t) => {
  const { batches, submit, begun } = handWorked()
  const results = submit(1, 2, 3)
  await begun(1)
  const down = new StoreError('down')
  batches[0]?.finish(down)
  t.same(errorsOf(await results), [down, down, down])
  t.equal(batches.length, 1)
  const next = submit(4)
  await begun(2)
  batches[1]?.finish()
  t.same(errorsOf(await next), [null], 'and the lane is free again')
})

t.test('beyond ten thousand that wait the next is refused at once', async (t) => {
  const { batches, submit, begun } = handWorked({ maxItems: 20_000, lanes: 1 })
  const first = submit(0)
  await begun(1)
  const results = submit(...Array.from({ length: 10_001 }, (_, i) => i))
  batches[0]?.finish()
  await begun(2)
  t.equal(batches[1]?.items.length, 10_000)
  batches[1]?.finish()
  await first
  const errors = errorsOf(await results).filter(Boolean)
  t.equal(errors.length, 1)
  t.type(errors[0], StoreError)
})

t.test('SQLite: an app starts and reads while another process holds the write lock', async (t) => {
  const config = freshConfig(t)
  await (await createApp(config, { logger: createLogger('silent') })).close()
  await lockedElsewhere(config.dataDir, 10_000)
  const startMs = performance.now()
  const app = await createApp(config, { logger: createLogger('silent') })
  t.same(await app.products.list(), [])
  t.ok(performance.now() - startMs < 4000, 'without waiting for it')
  await app.close()
})
