import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { openDatabase } from '../../src/app.ts'
import { SessionCache } from '../../src/domain/session-cache.ts'
import { sessionStore } from '../../src/store/sessions.ts'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { ACTOR } from '../support/legacy.ts'
import { addUser, at, openHouse, signIn } from '../support/users.ts'

const EMAIL = 'ani@example.com'

/** Lets so much else happen first. */
async function wait(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await turn()
}

/** A cache over the rows of a server, whose reads are as slow as they are told to be. */
async function openCache(t: Test, database: TestDatabase) {
  const bench = await openHouse(t, database)
  const user = await addUser(bench.app, EMAIL)
  const db = await openDatabase(bench.config)
  t.teardown(() => db.close())
  const store = sessionStore(db)
  let reads = 0
  /** How long the next reads take, before and after they look. */
  const slowness: (readonly [number, number])[] = []
  const cache = new SessionCache({
    find: async (sessionId) => {
      reads++
      const [before, after] = slowness.shift() ?? [0, 0]
      await wait(before)
      const found = await store.find(sessionId)
      await wait(after)
      return found
    },
  })
  const enter = async () => {
    const { sessionId } = await signIn(at(bench), EMAIL)
    const named = { userId: user.id, sessionId }
    const end = () => store.end([bench.app.sessions.endOf({ userId: user.id, sessionId }, 'forced', ACTOR)])
    return { sessionId, named, end, find: () => cache.find(named) }
  }
  return { cache, user, enter, slowness, reads: () => reads }
}

function cacheTests(t: Test, database: TestDatabase): void {
  t.test('a session is read once for all who ask meanwhile, and then is known at once', async (t) => {
    const { cache, enter, reads } = await openCache(t, database)
    const { find, named } = await enter()
    t.equal(cache.known(named), undefined)
    const all = await Promise.all(Array.from({ length: 20 }, find))
    t.ok(all.every((session) => session?.isActive))
    t.equal(reads(), 1)
    t.equal(cache.known(named), all[0])
  })

  t.test('what names another user or no session is nobody’s, and leaves nothing behind', async (t) => {
    const { cache, enter, reads, user } = await openCache(t, database)
    const { named, find, sessionId } = await enter()
    t.ok(await find())
    const others = { userId: user.id + 1, sessionId }
    const nobodys = { ...named, sessionId: sessionId.replace(/./g, '0') }
    for (const wrong of [others, nobodys]) {
      t.equal(await cache.find(wrong), null)
      t.equal(cache.known(wrong), undefined)
    }
    t.equal(cache.known(named)?.sessionId, sessionId, 'his own is remembered as before')
    t.equal(reads(), 3)
  })

  t.test(
    'from its end on a session lets nobody through, however reads and end overtake each other',
    async (t) => {
      const { cache, user, enter, slowness } = await openCache(t, database)
      const turns = fc.nat(6)
      const request = fc.record({ starts: fc.nat(30), before: turns, after: turns })
      const plan = fc.record({
        requests: fc.array(request, { minLength: 6, maxLength: 20 }),
        ...{ endStarts: fc.nat(8), endTakes: fc.nat(20), isWarm: fc.boolean() },
      })
      const isSure = fc.asyncProperty(plan, async ({ requests, endStarts, endTakes, isWarm }) => {
        const { find, end } = await enter()
        if (isWarm) await find()
        slowness.splice(0, slowness.length, ...requests.map(({ before, after }) => [before, after] as const))
        let [isCommitted, isEnded] = [false, false]
        const ending = wait(endStarts).then(async () => {
          await cache.changing([user.id], async () => {
            await end()
            isCommitted = true
            await wait(endTakes)
          })
          isEnded = true
        })
        const passed = requests.map(async ({ starts }) => {
          await wait(starts)
          const isLate = isCommitted
          const session = await find()
          return session?.isActive === false || !(isLate || isEnded)
        })
        const outcomes = await Promise.all(passed)
        await ending
        return outcomes.every(Boolean) && (await find())?.isActive === false
      })
      const { counterexample } = await fc.check(isSure, { numRuns: 100 })
      t.equal(counterexample, null)
    },
  )

  t.test('what changes without end is no answer: neither in nor out', async (t) => {
    const { cache, user, enter, slowness } = await openCache(t, database)
    const { find } = await enter()
    slowness.push(...Array.from({ length: 30 }, () => [3, 3] as const))
    let isOver = false
    const changing = (async () => {
      while (!isOver) await cache.changing([user.id], turn)
    })()
    await t.rejects(find(), { name: 'StoreError' })
    isOver = true
    await changing
    t.equal((await find())?.isActive, true)
  })
}

for (const database of DATABASES) t.test(`on ${database.name}`, async (t) => cacheTests(t, database))
