import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Config } from '../../src/config.ts'
import { DATABASES } from '../support/databases.ts'
import { ACTOR, encrypt, handOut, openBench, postCheck, runProgram } from '../support/legacy.ts'

const HWID = '1234567890'
const NO_LIMITS = { RATE_LIMIT_PER_MINUTE: '0' }

type RingFile = { current: string; keys: Record<string, string> }

function editRing({ keysDir }: Config, name: string, edit: (ring: RingFile) => void): void {
  const file = join(keysDir, `${name}.json`)
  const ring: RingFile = JSON.parse(readFileSync(file, 'utf8'))
  edit(ring)
  writeFileSync(file, JSON.stringify(ring), { mode: 0o600 })
}

function addKey(config: Config, name: string): void {
  editRing(config, name, (ring) => {
    ring.keys.k2 = Buffer.from(`${name} second key`.padEnd(32, '.')).toString('base64url')
    ring.current = 'k2'
  })
}

const removeFirst = (config: Config, name: string) => editRing(config, name, ({ keys }) => delete keys.k1)

for (const { name, freshConfig } of DATABASES) {
  t.test(`${name}: keys are rotated with overlap, and no living session is refused`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, NO_LIMITS))
    await bench.app.products.create(ACTOR, 'demo', 'Demo')
    await bench.app.licences.create(ACTOR, {
      productCode: 'demo',
      customer: 'A',
      expiresAtMs: null,
      hwid: HWID,
    })
    const { token, claims } = await handOut(bench)
    const body = { hwid: encrypt(claims, HWID) }
    for (const ring of ['kek', 'legacy-jwt']) addKey(bench.config, ring)
    const both = await openBench(t, bench.config, bench.clock())
    t.match((await postCheck(both, token, body)).json(), { status: 'success' }, 'handed out before')
    t.match((await runProgram(both, HWID)).json(), { status: 'success' }, 'handed out since')
    for (const ring of ['kek', 'legacy-jwt']) removeFirst(bench.config, ring)
    const after = await openBench(t, bench.config, bench.clock())
    t.equal((await postCheck(after, token, body)).statusCode, 401, 'the retired secret is worth nothing')
    t.match((await runProgram(after, HWID)).json(), { status: 'success' })
  })

  t.test(`${name}: a second pepper forgets nobody, and the first one cannot be taken away`, async (t) => {
    const bench = await openBench(t, await freshConfig(t, NO_LIMITS))
    await bench.app.products.create(ACTOR, 'demo', 'Demo')
    const wish = { productCode: 'demo', customer: 'A', expiresAtMs: null }
    const { key } = await bench.app.licences.create(ACTOR, { ...wish, hwid: HWID })
    for (const ring of ['hwid-pepper', 'licence-pepper']) addKey(bench.config, ring)
    const both = await openBench(t, bench.config, bench.clock())
    const { key: newKey } = await both.app.licences.create(ACTOR, wish)
    t.match((await runProgram(both, HWID)).json(), { status: 'success' }, 'by the machine')
    t.match((await runProgram(both, HWID, key)).json(), { status: 'success' }, 'by the old key')
    t.match((await runProgram(both, 'another', newKey)).json(), { status: 'success' }, 'by a new key')
    t.match(
      (await runProgram(both, 'another')).json(),
      { status: 'success' },
      'enrolled under the new pepper',
    )
    removeFirst(bench.config, 'hwid-pepper')
    await t.rejects(openBench(t, bench.config), /hwid-pepper\.json: key "k1" is missing/)
  })
}
