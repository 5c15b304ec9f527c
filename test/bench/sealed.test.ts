import t from 'tap'
import { cryptoAlone, REPLY_BYTES, REQUEST_BYTES, TOKEN_BYTES } from '../../bench/crypto-alone.ts'
import { openLab } from '../../bench/lab.ts'
import type { Driver, Figures, Shot } from '../../bench/load/load.ts'
import { createProgress } from '../../bench/progress.ts'
import { kunci } from '../../bench/targets.ts'
import { workFor } from '../../bench/work.ts'
import { loadConfig } from '../../src/config.ts'
import { fromB64u } from '../../src/crypto/encoding.ts'
import { SIZES } from '../../src/crypto/suites.ts'
import { ACTOR, openBench } from '../support/legacy.ts'
import { checkData, injecting, openSession, pinOf } from '../support/sealed.ts'

t.test('the crypto alone has messages as long as real ones', async (t) => {
  const bench = await openBench(t, loadConfig({ DATA_DIR: t.testdir() }))
  await bench.app.products.create(ACTOR, 'demo', 'Demo', { sk: 'sk', sck: 'sck' })
  const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null }
  const { key } = await bench.app.licences.create(ACTOR, wish)
  const session = await openSession(injecting(bench), pinOf(bench.app))
  const message = session.seal('licence.check', checkData(key))
  const reply = await session.send(message)
  t.equal(session.open(message, reply).status, 200)
  const plaintextBytes = (box: string) => (fromB64u(box)?.length ?? 0) - SIZES.S1.tag
  t.equal(plaintextBytes(message.body.box), REQUEST_BYTES)
  t.equal(plaintextBytes(JSON.parse(reply.text).box), REPLY_BYTES)
  t.ok(Math.abs(session.token.length - TOKEN_BYTES) < 20, `a token has ${session.token.length} characters`)
})

t.test('the crypto alone is measured in figures like those of a driver', async (t) => {
  for (const target of [cryptoAlone('handshake', 'S3'), cryptoAlone('record', 'S2')]) {
    const { requests, seconds, p50Ms, p99Ms, errors } = await target.run(0.2)
    t.ok(requests > 10 && seconds >= 0.2 && seconds < 5, target.name)
    t.ok(p50Ms > 0 && p50Ms <= p99Ms, target.name)
    t.same(errors, {})
  }
})

type Conduct = {
  /** Of the requests, in the order in which they are sent. */
  sends(shots: readonly Shot[]): readonly Shot[]
  /** How many it says were answered; without it, how many were. */
  claims?: number
}

/** A driver that sends one request after the other, in whatever way it is told to. */
function conducted(conduct: () => Conduct): Driver {
  const run: Driver['run'] = async ({ baseUrl, shots, success, seconds }) => {
    const { sends, claims } = conduct()
    let requests = 0
    for (const { method, path, authorization = '', body = '' } of sends(shots)) {
      const headers = { authorization, 'content-type': 'application/json' }
      const reply = await fetch(baseUrl + path, { method, headers, body })
      if (reply.status === 200 && (await reply.text()).includes(success)) requests++
    }
    return { requests: claims ?? requests, seconds, p50Ms: 1, p99Ms: 1, errors: {} }
  }
  return { name: 'wrk', version: '0.0.0', run }
}

t.test('a sealed check that was not decided once, and no more than once, is an error', async (t) => {
  await using cleanup = new AsyncDisposableStack()
  const some = (shots: readonly Shot[]) => shots.slice(0, 20)
  let conduct: Conduct = { sends: some }
  const driver = conducted(() => conduct)
  const settings = { driver, seconds: 1, rounds: 1, connections: 2, only: undefined }
  const lab = openLab(
    settings,
    createProgress(() => {}),
    cleanup,
  )
  const running = await kunci({ name: 'Kunci', database: 'SQLite' }).start(lab)

  const checks = await workFor(lab, 'check S1', running)
  async function turn(next: Conduct): Promise<Figures> {
    conduct = next
    const run = await checks.prepare(0.1)
    return checks.verify?.(await run()) as Promise<Figures>
  }
  t.match(await turn({ sends: some }), { requests: 20, errors: {} })
  const { errors } = await turn({ sends: (shots) => [...some(shots), ...shots.slice(0, 5)] })
  t.same(errors, { 'answered, not granted': 5 }, 'five were sent twice')
  const missing = await turn({ sends: some, claims: 22 })
  t.same(missing.errors, { 'answered, not granted': 2 })
  const surplus = await turn({ sends: some, claims: 3 })
  t.same(surplus.errors, { 'granted, not asked': 15 }, 'two may have been under way at the end')
  const all = await turn({ sends: (shots) => shots })
  t.same(all.errors, { 'no message left': 2 }, 'two connections found no message')
  t.match(await turn({ sends: some }), { requests: 20, errors: {} })

  const handshakes = await workFor(lab, 'handshake S1', running)
  conduct = { sends: (shots) => [...shots, ...shots] }
  t.match(await (await handshakes.prepare(1))(), { requests: 2 }, 'a first message may come again')
  await t.rejects(workFor(lab, 'handshake S3', running), { message: /no suite S3 is served/ })
})
