import t from 'tap'
import { Refusals } from '../../src/domain/refusals.ts'
import type { EventRow } from '../../src/store/events.ts'

const MINUTE_MS = 60_000

function refusal(address: string, atMs: number): EventRow {
  return {
    ...{ id: 'x', atMs, type: 'authn_token_refused', actor: 'client', address, count: 1, detail: {} },
    ...{ productId: null, licenceId: null, deviceId: null, supportCode: null },
  }
}

function opened(t: Tap, write: (rows: readonly EventRow[]) => Promise<void>) {
  const refusals = new Refusals(write, () => undefined)
  t.teardown(() => refusals.close())
  return refusals
}

type Tap = Pick<typeof t, 'teardown'>

t.test('a cause, an address and a minute share one row, whichever process counts', async (t) => {
  const rows: EventRow[] = []
  const keep = async (more: readonly EventRow[]) => void rows.push(...more)
  const [one, two] = [opened(t, keep), opened(t, keep)]
  for (let i = 0; i < 3; i++) one.add(refusal('192.0.2.1', MINUTE_MS + i))
  two.add(refusal('192.0.2.1', MINUTE_MS + 59_999))
  one.add(refusal('192.0.2.1', 2 * MINUTE_MS))
  one.add(refusal('192.0.2.2', MINUTE_MS + 5))
  await Promise.all([one.flush(), two.flush()])
  t.same(rows.map(({ count }) => count).sort(), [1, 1, 1, 3])
  t.equal(new Set(rows.map(({ id }) => id)).size, 3)
})

t.test(
  'a flood of addresses fills neither memory nor disk, while the database is away or there',
  async (t) => {
    let isAway = true
    const rows: EventRow[] = []
    const refusals = opened(t, async (more) => {
      if (isAway) throw new Error('away')
      rows.push(...more)
    })
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 15_000; i++) refusals.add(refusal(`address ${round} ${i}`, MINUTE_MS))
      await refusals.flush()
    }
    isAway = false
    await refusals.flush()
    t.ok(rows.length <= 10_001, `${rows.length} rows`)
    t.equal(
      rows.reduce((sum, { count }) => sum + count, 0),
      75_000,
      'and none of them is forgotten',
    )
  },
)

t.test('what is being written while the server closes is written once', async (t) => {
  const rows: EventRow[] = []
  const slow = Promise.withResolvers<void>()
  const refusals = new Refusals(async (more) => {
    await slow.promise
    rows.push(...more)
  }, t.error)
  refusals.add(refusal('192.0.2.1', 0))
  void refusals.flush()
  refusals.add(refusal('192.0.2.2', 0))
  const closed = refusals.close()
  slow.resolve()
  await closed
  t.same(
    rows.map(({ address }) => address),
    ['192.0.2.1', '192.0.2.2'],
  )
})
