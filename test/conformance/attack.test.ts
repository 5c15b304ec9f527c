import t from 'tap'
import { client, failed, play } from './kit.ts'

t.jobs = 3
const atOnce = { buffered: true }

t.test('a sound client passes every row in every suite', atOnce, async (t) => {
  const rows = await play(client())
  t.strictSame(failed(rows), [])
  t.same([...new Set(rows.map(({ suite }) => suite))], ['S1', 'S2', 'S3'])
  t.ok(rows.length > 80)
})

t.test('a client that never comes to an outcome fails, and does not keep the kit', atOnce, async (t) => {
  const rows = await play(() => new Promise(() => {}), { suites: ['S1'], only: 'recorded_hello' })
  t.match(rows, [{ verdict: 'failed', got: 'no honest run', detail: /: broken \(no outcome after 24 s\)$/ }])
})

t.test('a client that always says the same fails everything', atOnce, async (t) => {
  for (const outcome of ['allowed', 'denied', 'unavailable'] as const) {
    const rows = await play(async () => ({ outcome }), { suites: ['S2'] })
    t.ok(rows.length > 25)
    t.ok(
      rows.every(({ verdict, got }) => verdict === 'failed' && got === 'no honest run'),
      outcome,
    )
  }
})
