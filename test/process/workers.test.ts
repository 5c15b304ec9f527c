import { copyFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { DATABASES } from '../support/databases.ts'
import {
  asOperator,
  holdUp,
  type Installation,
  install,
  type RunningKunci,
  serve,
  until,
} from '../support/installation.ts'
import { ACTOR, claimsOf, encrypt } from '../support/legacy.ts'
import { freePort, runKunci, spawnKunci } from '../support/server.ts'
import { wireClient } from '../support/wire-client.ts'

const WORKERS = '2'
const HWID = '1234567890'

function workerPids(running: RunningKunci): number[] {
  return linesOf(running)
    .filter(({ event }) => event === 'worker.listening')
    .map(({ pid }) => Number(pid))
}

/** The first worker answers before the others are up. */
async function serveWhole(t: Pick<Test, 'teardown'>, installation: Installation): Promise<RunningKunci> {
  const running = await serve(t, installation)
  await until('every worker listens', () => workerPids(running).length === Number(WORKERS))
  return running
}

/** Each request over a connection of its own, as those are what the lead process deals out. */
function clientOf({ url }: Pick<RunningKunci, 'url'>) {
  return wireClient(url, { keepAlive: false })
}

function linesOf({ kunci }: RunningKunci): Record<string, unknown>[] {
  return kunci.stdout.map((line) => JSON.parse(line))
}

function answering(running: RunningKunci): Set<unknown> {
  return new Set(
    linesOf(running)
      .filter(({ event }) => event === 'http.request')
      .map(({ worker }) => worker),
  )
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

for (const database of DATABASES) {
  t.test(`${database.name}: WORKERS share one port, and what one hands out another opens`, async (t) => {
    const installation = await install(t, database, { WORKERS })
    const running = await serveWhole(t, installation)
    const operator = await asOperator(installation, async ({ products, licences, tokens }) => {
      await products.create(ACTOR, 'demo', 'Demo')
      await licences.create(ACTOR, { productCode: 'demo', customer: 'Budi', expiresAtMs: null, hwid: HWID })
      return tokens.create(ACTOR, 'test', null)
    })
    const client = clientOf(running)
    for (let i = 0; i < 6; i++) {
      const token = JSON.parse((await client.handOut()).text).session_token
      const body = { hwid: encrypt(claimsOf(token), HWID) }
      const replies = await Promise.all([client.check(token, body), client.check(token, body)])
      for (const { text } of replies) t.match(JSON.parse(text), { status: 'success', user: 'Budi' })
    }
    await until('both have written their lines', () => answering(running).size === 2)

    const headers = { authorization: `Bearer ${operator.token}` }
    const counters = async () =>
      JSON.parse((await client.send('/api/admin/counters', { method: 'GET', headers })).text).counters
    for (let i = 0; i < 4; i++)
      await until('each worker tells what all have counted', async () => {
        const { 'session_key.handed_out': handedOut, 'check.granted': granted } = await counters()
        return handedOut === 6 && granted === 12
      })

    t.same(await running.kunci.kill('SIGTERM'), { code: 0, signal: null })
    const stopped = linesOf(running).filter(({ event }) => event === 'server.stopped')
    t.equal(stopped.length, 3, 'the lead and both workers ended in order')
  })

  t.test(`${database.name}: a worker that dies is replaced, and no other notices`, async (t) => {
    const running = await serveWhole(t, await install(t, database, { WORKERS }))
    const client = clientOf(running)
    await until('both answer', async () => {
      await client.handOut()
      return answering(running).size === 2
    })
    const [pid = 0] = workerPids(running)
    process.kill(pid, 'SIGKILL')
    await running.kunci.waitForLine(/worker\.died/)
    t.equal((await client.handOut()).status, 200, 'the other goes on')
    await until('its successor answers', async () => {
      await client.handOut()
      return answering(running).has(3)
    })
  })

  t.test(`${database.name}: SIGTERM answers what every worker has begun`, async (t) => {
    const installation = await install(t, database, { WORKERS })
    const running = await serveWhole(t, installation)
    const client = clientOf(running)
    const release = await holdUp(t, installation)
    const exchanges = Array.from({ length: 6 }, () =>
      client.begin('/api/auth/get-session-key', { method: 'GET' }),
    )
    await until('they are sent', () => exchanges.every((exchange) => exchange.isSent()))
    await sleep(300)
    const ended = running.kunci.kill('SIGTERM')
    await sleep(300)
    await release()
    for (const { reply } of exchanges) t.equal((await reply).status, 200)
    t.equal((await ended).code, 0)
  })
}

t.test('a worker that cannot be replaced yet takes no other with it, and all may die', async (t) => {
  const [sqlite] = DATABASES
  const { env, config } = await install(t, sqlite!, { WORKERS })
  // The program is replaced while it runs, as an upgrade does.
  const node = join(config.dataDir, 'node')
  const copy = () => copyFileSync(process.execPath, node)
  copy()
  const port = await freePort()
  const kunci = spawnKunci(['serve'], { ...env, PORT: String(port) }, { cwd: config.dataDir, node })
  t.teardown(() => kunci.kill('SIGKILL'))
  const running = { kunci, port, url: await kunci.waitReady() }
  await until('every worker listens', () => workerPids(running).length === Number(WORKERS))
  const client = clientOf(running)
  const [first = 0, second = 0] = workerPids(running)

  rmSync(node)
  process.kill(first, 'SIGKILL')
  await kunci.waitForLine(/worker\.died.*ENOENT/)
  t.equal((await client.handOut()).status, 200, 'the other goes on')
  process.kill(second, 'SIGKILL')
  await until('none is alive', () => !isAlive(second))
  copy()
  const answers = () =>
    client.handOut().then(
      ({ status }) => status === 200,
      () => false,
    )
  // A connection that was on its way to the last worker when it was killed is answered by nobody.
  const isUp = () => Promise.race([answers(), sleep(2000, false)])
  await until('successors answer', isUp, 60_000)
  t.equal((await kunci.kill()).code, 0)
})

t.test('a worker that still starts when the server is told to stop holds its end up no longer', async (t) => {
  const [sqlite] = DATABASES
  const running = await serveWhole(t, await install(t, sqlite!, { WORKERS }))
  process.kill(workerPids(running)[0] ?? 0, 'SIGKILL')
  await running.kunci.waitForLine(/worker\.died/)
  // Its successor is there half a second later, and needs as long again until it listens.
  await sleep(700)
  t.equal((await running.kunci.kill()).code, 0)
})

t.test('each worker allows its part of a limit', async (t) => {
  const [sqlite] = DATABASES
  const running = await serveWhole(t, await install(t, sqlite!, { WORKERS, RATE_LIMIT_PER_MINUTE: '10' }))
  const client = clientOf(running)
  const statuses = []
  for (let i = 0; i < 20; i++) statuses.push((await client.handOut()).status)
  t.equal(statuses.filter((status) => status === 200).length, 10)
  t.equal(statuses.filter((status) => status === 429).length, 10)
})

t.test('no worker outlives the lead process, however that ends', async (t) => {
  const [sqlite] = DATABASES
  const running = await serveWhole(t, await install(t, sqlite!, { WORKERS }))
  const pids = workerPids(running)
  await running.kunci.kill('SIGKILL')
  await until('both are gone', () => !pids.some(isAlive))
  const refused = new Promise((resolve) => connect(running.port, '127.0.0.1').on('error', resolve))
  t.match(await refused, { code: 'ECONNREFUSED' })
})

t.test('what is in the way of the first worker is said once, and nothing is left running', async (t) => {
  const [sqlite] = DATABASES
  const first = await serve(t, await install(t, sqlite!))
  const { env, config } = await install(t, sqlite!, { WORKERS: '3' })
  const { code, stderr } = await runKunci(
    ['serve'],
    { ...env, PORT: String(first.port) },
    { cwd: config.dataDir },
  )
  t.equal(code, 5)
  t.equal(stderr.match(/Cannot listen on/g)?.length, 1)
  t.match(stderr, /A worker ended before it listened/)
})

t.test('WORKERS=auto is one a core; what is no number of processes is refused', async (t) => {
  const [sqlite] = DATABASES
  const { env, config } = await install(t, sqlite!)
  const port = String(await freePort())
  for (const bad of ['0', '-1', 'many', '1.5', '1000']) {
    const { code, stderr } = await runKunci(
      ['serve'],
      { ...env, WORKERS: bad, PORT: port },
      { cwd: config.dataDir },
    )
    t.equal(code, 5)
    t.match(stderr, /WORKERS must be/)
  }
})
