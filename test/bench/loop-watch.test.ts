import { once } from 'node:events'
import t from 'tap'
import { createLoopWatch } from '../../bench/loop-watch.ts'
import { spawnGuarded } from '../support/children.ts'

const BLOCK_MS = 1000
/** Blocks its event loop when it is told to, and says so in the turn after. */
const BLOCKING = `
  process.on('SIGHUP', () => {
    for (const endMs = Date.now() + ${BLOCK_MS}; Date.now() < endMs; );
    setImmediate(() => console.log('blocked'))
  })
  setInterval(() => {}, 60_000)
  console.log('ready')`

t.test('an event loop that is blocked shows, and only until it was told', async (t) => {
  const watch = createLoopWatch()
  const env = { ...process.env, ...watch.env }
  const child = spawnGuarded(process.execPath, [...watch.args, '-e', BLOCKING], { env })
  t.teardown(() => child.kill())
  await once(child.stdout!, 'data')
  t.ok((await watch.read()).maxMs < BLOCK_MS)
  child.kill('SIGHUP')
  await once(child.stdout!, 'data')
  t.ok((await watch.read()).maxMs > BLOCK_MS * 0.9)
  t.ok((await watch.read()).maxMs < BLOCK_MS)
})
