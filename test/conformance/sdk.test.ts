import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Client, programClient } from '../../conformance/index.ts'
import type { Backend } from '../../src/sdk/backend.ts'
import { createClient, hwidOf, type LeaseStore, memoryStore } from '../../src/sdk/index.ts'
import { PAIRS } from '../sdk/support.ts'
import { failed, play, timeoutMs } from './kit.ts'

t.jobs = 3
const atOnce = { buffered: true }

/** kunci/sdk in this process, with a store in memory for each state. */
function sdkClient(crypto: Backend): Client {
  const stores = new Map<string, LeaseStore>()
  return async ({ serverUrl, suite, pins, licence, tool, hardware, clockOffsetS, state }) => {
    const store = stores.get(state) ?? memoryStore()
    stores.set(state, store)
    // Without ES256 no lease can be verified.
    const leases = crypto.verifyEs256 === undefined ? {} : { leaseKeys: pins.lease, store }
    const client = await createClient({
      ...{ serverUrl, suite, crypto, pins: pins[suite], ...leases },
      ...{ timeoutMs, retryMs: [1, 1, 1], now: () => Date.now() + 1000 * clockOffsetS },
    })
    const hwid = await hwidOf(tool, hardware)
    const { outcome } = await client.check({ licence, tool, ver: '1.0.0', hwid })
    return { outcome }
  }
}

for (const [suite, backend] of PAIRS)
  t.test(`kunci/sdk withstands every attack: ${suite} on ${backend.name}`, atOnce, async (t) =>
    t.strictSame(failed(await play(sdkClient(backend), { suites: [suite] })), []),
  )

t.test('so does the desktop program over it', atOnce, async (t) => {
  const program = [
    process.execPath,
    fileURLToPath(new URL('../../examples/desktop-tool.ts', import.meta.url)),
  ]
  const rows = await play(programClient(program), { suites: ['S1'], timeoutMs: 10_000 })
  t.strictSame(failed(rows), [])
})
