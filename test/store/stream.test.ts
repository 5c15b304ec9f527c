import t, { type Test } from 'tap'
import { migrateDatabase, openDatabase } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { newEventId } from '../../src/domain/ids.ts'
import { createTail } from '../../src/domain/streams/tail.ts'
import { pooledRandom } from '../../src/random.ts'
import type { Database } from '../../src/store/engine/database.ts'
import { insertStreamed, type StreamedEvent, type StreamStore, streamStore } from '../../src/store/stream.ts'
import { streamTicketStore } from '../../src/store/stream-tickets.ts'
import { DATABASES } from '../support/databases.ts'
import { until } from '../support/installation.ts'

const NOW_MS = Date.UTC(2031, 0, 1)
const DAY_MS = 24 * 60 * 60_000
const USER = 7
const random = pooledRandom()

async function opened(t: Pick<Test, 'teardown'>, config: Config): Promise<Database> {
  const db = await openDatabase(config)
  t.teardown(() => db.close())
  return db
}

async function migrated(t: Pick<Test, 'teardown'>, config: Config): Promise<Database> {
  await migrateDatabase(config)
  return opened(t, config)
}

/** @param label is found again in what is read. */
function told(label: string | number, atMs = NOW_MS, userId = USER): StreamedEvent {
  const event = {
    ...{ id: newEventId(atMs, random), atMs, type: 'session_created', actor: 'test', address: null },
    ...{ productId: null, licenceId: null, deviceId: null, supportCode: null, count: 1, detail: { label } },
  }
  return { event, userId, sessionId: null }
}

const write = (db: Database, ...events: StreamedEvent[]) => db.batch(insertStreamed(events))

/** Begins to write in a transaction. @returns what commits it. */
async function writeSlowly(db: Database, event: StreamedEvent): Promise<() => Promise<void>> {
  const written = Promise.withResolvers<void>()
  const mayCommit = Promise.withResolvers<void>()
  const committed = db.transaction(async (tx) => {
    for (const statement of insertStreamed([event])) await tx.run(...statement)
    written.resolve()
    await mayCommit.promise
  })
  await written.promise
  return () => {
    mayCommit.resolve()
    return committed
  }
}

async function labelsAfter(store: StreamStore, after: number, userId: number | null = null) {
  const events = await store.read({ after, upTo: Number.MAX_SAFE_INTEGER, userId, limit: 1000 })
  return events.map(({ position, detail }) => [position, detail.label])
}

for (const { name, freshConfig } of DATABASES)
  t.test(`on ${name}`, async (t) => {
    t.test('whoever follows the stream misses nothing that was made early and committed late', async (t) => {
      const db = await migrated(t, await freshConfig(t))
      const heard: unknown[] = []
      const tail = createTail({ store: streamStore(db), clock: () => NOW_MS, onError: t.error })
      tail.follow((events) => heard.push(...events.map(({ position, detail }) => [position, detail.label])))
      t.teardown(tail.leave)
      await tail.look()
      const early = told('early', NOW_MS - 1000)
      // SQLite has one writer at a time, so that there the early one has only its id by now.
      const commit = db.dialect === 'mysql' ? await writeSlowly(db, early) : () => write(db, early)
      await write(db, told('late'))
      await tail.look()
      t.same(heard, [[1, 'late']], 'and nobody waits for it')
      await commit()
      await tail.look()
      t.same(heard, [
        [1, 'late'],
        [2, 'early'],
      ])
      t.equal(tail.position(), 2)
    })

    t.test('who follows hears by himself what others write, and at once when he is poked', async (t) => {
      const config = await freshConfig(t)
      const [db, other] = [await migrated(t, config), await opened(t, config)]
      const heard: unknown[] = []
      const tail = createTail({ store: streamStore(db), clock: () => NOW_MS, onError: t.error })
      tail.follow((events) => heard.push(...events.map(({ detail }) => detail.label)))
      await tail.look()
      await write(other, told('by another process'))
      await until('it was heard', () => heard.length === 1)
      await write(db, told('here'))
      const startMs = performance.now()
      tail.poke()
      await tail.look()
      t.same(heard, ['by another process', 'here'])
      t.ok(performance.now() - startMs < 200)
      tail.leave()
      await write(db, told('afterwards'))
      tail.poke()
      await tail.look()
      t.equal(heard.length, 2, 'nobody listens')
      t.match(await streamStore(db).state(), { head: 2, hasUnplaced: true }, 'and nothing is done')
    })

    t.test('two that give positions at once leave no gap, and a third never sees one', async (t) => {
      const config = await freshConfig(t)
      const first = await migrated(t, config)
      const nodes = [first, await opened(t, config), await opened(t, config)] as const
      const [a, b, reader] = nodes.map(streamStore) as [StreamStore, StreamStore, StreamStore]
      const many = Array.from({ length: 120 }, (_, i) => told(i))
      let isOver = false
      const placing = [a, b].map(async (store) => {
        for (let more = 1; !isOver || more > 0; ) more = await store.place(NOW_MS, 5)
      })
      const seen: number[] = []
      const gaps: number[] = []
      const reading = (async () => {
        while (seen.length < many.length) {
          const { head } = await reader.state()
          const range = { after: seen.length, upTo: head, userId: null, limit: 1000 }
          seen.push(...(await reader.read(range)).map(({ position }) => position))
          if (seen.length < head) gaps.push(head)
        }
      })()
      await Promise.all(many.map((event, i) => write(nodes[i % 2] ?? first, event)))
      isOver = true
      await Promise.all([...placing, reading])
      t.same(gaps, [], 'all up to the head was there each time')
      t.same(
        seen,
        many.map((_, i) => i + 1),
      )
    })

    t.test('a user reads what is about him, operators read all', async (t) => {
      const db = await migrated(t, await freshConfig(t))
      const store = streamStore(db)
      t.same(await store.state(), { head: 0, hasUnplaced: false })
      for (const [label, user] of [
        ['his', USER],
        ["somebody else's", 8],
        ['his too', USER],
      ] as const) {
        await write(db, told(label, NOW_MS, user))
        t.equal(await store.place(NOW_MS, 10), 1)
      }
      t.same(await labelsAfter(store, 0, USER), [
        [1, 'his'],
        [3, 'his too'],
      ])
      t.equal((await labelsAfter(store, 0)).length, 3)
      t.same(await labelsAfter(store, 2), [[3, 'his too']])
      const [event] = await store.read({ after: 0, upTo: 1, userId: null, limit: 10 })
      t.match(event, { position: 1, userId: USER, sessionId: null, type: 'session_created', atMs: NOW_MS })
    })

    t.test(
      'what is removed is the oldest by position, so that the first one kept tells of a gap',
      async (t) => {
        const db = await migrated(t, await freshConfig(t))
        const store = streamStore(db)
        t.equal(await store.oldest(), null)
        // The second was made before the first, and committed after it.
        for (const [label, atMs] of [
          ['a', NOW_MS],
          ['b', NOW_MS - DAY_MS],
          ['c', NOW_MS + 1],
        ] as const) {
          await write(db, told(label, atMs))
          await store.place(NOW_MS, 10)
        }
        await write(db, told('not placed', NOW_MS - DAY_MS))
        t.equal(await store.removeOld(NOW_MS - 2 * DAY_MS), 0)
        t.equal(await store.removeOld(NOW_MS), 2)
        t.equal(await store.oldest(), 3)
        t.same(await store.state(), { head: 3, hasUnplaced: true }, 'what nobody could have seen yet stays')
      },
    )

    t.test('a ticket is good once, in time; and again for who comes back', async (t) => {
      const db = await migrated(t, await freshConfig(t))
      const store = streamTicketStore(db)
      const ticket = { hash: 'a'.repeat(64), userId: USER, sessionId: 's1', createdAtMs: NOW_MS }
      const first = { sinceMs: NOW_MS, again: false }
      await store.create(ticket)
      t.equal(await store.use('b'.repeat(64), first), null, 'unknown')
      t.equal(await store.use(ticket.hash, { sinceMs: NOW_MS + 1, again: true }), null, 'late')
      const races = await Promise.all(Array.from({ length: 8 }, () => store.use(ticket.hash, first)))
      t.same(
        races.filter((use) => use !== null),
        [{ hash: ticket.hash, sessionId: 's1', uses: 1 }],
      )
      t.match(await store.use(ticket.hash, { sinceMs: NOW_MS + DAY_MS, again: true }), { uses: 2 })
      t.same(await Promise.all([store.usesOf(ticket.hash), store.usesOf('b'.repeat(64))]), [2, 0])
    })
  })
