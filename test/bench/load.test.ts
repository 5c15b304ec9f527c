import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { openLab } from '../../bench/lab.ts'
import { autocannonDriver } from '../../bench/load/autocannon.ts'
import type { Driver, Shot } from '../../bench/load/load.ts'
import { findWrk, readWrk, wrkDriver } from '../../bench/load/wrk.ts'
import { usageOf } from '../../bench/measure.ts'
import { createProgress } from '../../bench/progress.ts'
import { type Server, target } from '../../bench/targets.ts'
import { NoResult, takeTurns } from '../../bench/turns.ts'

const wrk = findWrk()

type Answer = { status: number; body: string }
const GOOD: Answer = { status: 200, body: '{"status":"success"}' }
const SUCCESS = '"success"'

/** A server that notes what it is asked, and answers with `answer(n)` the nth time. */
async function listen(t: Pick<Test, 'teardown'>, answer: (n: number) => Answer | 'hang up') {
  const asked = new Set<string>()
  let n = 0
  const server = createServer(async (request, reply) => {
    const { method, url, headers } = request
    asked.add([method, url, headers.authorization, await text(request)].join(' '))
    const one = answer(++n)
    if (one === 'hang up') request.socket.destroy()
    else reply.writeHead(one.status, { 'content-type': 'application/json' }).end(one.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { asked, baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const SHOTS: readonly Shot[] = [
  { method: 'GET', path: '/a' },
  ...[1, 2, 3, 4, 5, 6].map((i) => ({
    ...{ method: 'POST' as const, path: '/b', authorization: `Bearer ${i}`, body: `{"hwid":"${i}"}` },
  })),
]

const DRIVERS: readonly [string, () => Promise<Driver>, string | false][] = [
  ['wrk', () => wrkDriver(wrk ?? ''), wrk === undefined && 'wrk is not installed'],
  ['autocannon', async () => autocannonDriver(), false],
]

for (const [name, open, skip] of DRIVERS) {
  t.test(
    `${name} sends every request as it is, and tells the same figures as others`,
    { skip },
    async (t) => {
      const driver = await open()
      t.match(driver, { name, version: /^\d+\.\d+\.\d+$/ })
      const { asked, baseUrl } = await listen(t, () => GOOD)
      const figures = await driver.run({
        baseUrl,
        shots: SHOTS,
        success: SUCCESS,
        connections: 3,
        seconds: 1,
      })
      t.same(
        [...asked].sort(),
        SHOTS.map(({ method, path, authorization, body = '' }) =>
          [method, path, authorization, body].join(' '),
        ).sort(),
      )
      t.same(Object.keys(figures), ['requests', 'seconds', 'p50Ms', 'p99Ms', 'errors'])
      t.same(figures.errors, {})
      t.ok(figures.requests > 100 && figures.seconds >= 0.9 && figures.seconds < 3)
      t.ok(figures.p50Ms > 0 && figures.p50Ms <= figures.p99Ms && figures.p99Ms < 1000)
    },
  )

  t.test(`${name} counts what is no success, of every kind, once in a while`, { skip }, async (t) => {
    const faults: Record<number, Answer | 'hang up'> = {
      50: { status: 200, body: '{"status":"error"}' },
      100: { ...GOOD, status: 500 },
      150: 'hang up',
    }
    const { baseUrl } = await listen(t, (n) => faults[n] ?? GOOD)
    const driver = await open()
    const shots = SHOTS.slice(0, 1)
    const figures = await driver.run({ baseUrl, shots, success: SUCCESS, connections: 3, seconds: 1 })
    t.match(figures, { errors: { 'no success': 2 }, firstBad: '200 {"status":"error"}' })
    t.equal(
      Object.values(figures.errors).reduce((sum, n) => sum + n, 0),
      3,
    )
  })
}

t.test('a target that answers one error makes the whole run no result, and is named', async (t) => {
  const { baseUrl } = await listen(t, (n) =>
    n % 500 === 499 ? { status: 200, body: '{"status":"error"}' } : GOOD,
  )
  const good = await listen(t, () => GOOD)
  const server = (name: string, baseUrl: string): Server => ({
    name,
    start: async () => ({ baseUrl, pid: process.pid }),
  })
  await using cleanup = new AsyncDisposableStack()
  const lines: string[] = []
  const progress = createProgress((line) => lines.push(line))
  const settings = { driver: autocannonDriver(), seconds: 1, rounds: 0, connections: 4, only: undefined }
  const lab = openLab(settings, progress, cleanup)
  const run = takeTurns(lab, [
    target(server('shaky', baseUrl), 'GET /'),
    target(server('firm', good.baseUrl), 'GET /'),
  ])
  const error = await run.then(
    () => undefined,
    (error) => error,
  )
  t.type(error, NoResult)
  t.match(
    error.message,
    /^No result.*\n {2}shaky, .*: \d+ × no success in \d+ requests; the first: .*"error"/,
  )
  t.notMatch(error.message, /firm/)
  t.match(lines.join('\n'), /warm-up, shaky: \d+ requests\/s; about \d+ s left/)
})

t.test('output of wrk that is cut off is an error, not a figure', async (t) => {
  t.throws(() => readWrk('bench.requests 12\nbench.duration_us 100\n'), /did not say "p50_us"/)
  t.throws(() => readWrk('unable to connect to 127.0.0.1:9 Connection refused'), /Connection refused/)
})

t.test(
  'the usage of a process holds its own time and its memory',
  { skip: !usageOf(process.pid) },
  async (t) => {
    const before = usageOf(process.pid)!
    // Of CPU time, as on a busy machine the wall's says nothing.
    for (const start = process.cpuUsage(); process.cpuUsage(start).user < 100_000; );
    const after = usageOf(process.pid)!
    t.ok(after.cpuS - before.cpuS >= 0.05 && after.cpuS - before.cpuS < 1)
    t.ok(after.rssMib > 20 && after.peakMib >= after.rssMib)
    t.equal(usageOf(2 ** 30), undefined)
  },
)
