import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Pace } from '../src/pace.ts'

const PIECES = 20

/** As long as a piece of work that fills a turn of the event loop. */
function fillTurn(): void {
  for (const endMs = performance.now() + 2; performance.now() < endMs; );
}

t.test('of many long pieces one is done in each turn of the event loop, in their order', async (t) => {
  const pace = new Pace()
  const seen: (number | 'else')[] = []
  const works = Array.from({ length: PIECES }, (_, i) => {
    return pace.run(() => {
      fillTurn()
      seen.push(i)
      return i
    })
  })
  for (let i = 0; i < PIECES; i++) {
    await turn()
    seen.push('else')
  }
  t.same(await Promise.all(works), [...Array(PIECES).keys()])
  t.same(
    seen.filter((one) => one !== 'else'),
    [...Array(PIECES).keys()],
  )
  for (let i = 1; i < PIECES; i++)
    t.ok(seen.indexOf('else') < seen.indexOf(i), `something else before piece ${i}`)
  const longest = seen.join(' ').match(/\d+( \d+)+/)
  t.equal(longest, null, 'no two of them without something else between')
})

t.test('short pieces share a turn, and a lone one waits for no other', async (t) => {
  const pace = new Pace()
  const works = [1, 2, 3].map((i) => pace.run(() => i))
  const inOneTurn = await Promise.race([Promise.all(works), turn().then(turn)])
  t.same(inOneTurn, [1, 2, 3])
  t.equal(await Promise.race([pace.run(() => 'alone'), turn().then(turn)]), 'alone')
})

t.test('a piece that throws is its own, and what is asked for meanwhile is done too', async (t) => {
  const pace = new Pace()
  const failing = pace.run(() => {
    throw new Error('no such point')
  })
  const nested = pace.run(() => pace.run(() => 'later'))
  await t.rejects(failing, { message: 'no such point' })
  t.equal(await nested, 'later')
})
