import t from 'tap'
import { DATABASES } from '../support/databases.ts'
import { asOperator, install, serve, sql, until } from '../support/installation.ts'
import { claimsOf, encrypt } from '../support/legacy.ts'
import { loops, wireClient } from '../support/wire-client.ts'

const CLIENTS = 32
const HAND_OUTS = 1000
const HWID = '1234567890'

for (const database of DATABASES) {
  t.test(`${database.name}: every session key that was handed out outlives kill -9 under load`, async (t) => {
    const installation = await install(t, database)
    const { kunci, url } = await serve(t, installation)
    await asOperator(installation, async ({ products, licences }) => {
      const actor = { name: 'test' }
      await products.create(actor, 'demo', 'Demo')
      await licences.create(actor, { productCode: 'demo', customer: 'Budi', expiresAtMs: null, hwid: HWID })
    })

    const client = wireClient(url, { connections: CLIENTS })
    const tokens: string[] = []
    const load = loops(CLIENTS, async () => {
      const reply = await client.handOut()
      if (reply.status !== 200) throw new Error(`HTTP ${reply.status} ${reply.text}`)
      tokens.push(JSON.parse(reply.text).session_token)
    })
    await until(`${HAND_OUTS} hand-outs`, () => tokens.length >= HAND_OUTS)
    t.same(await kunci.kill('SIGKILL'), { code: null, signal: 'SIGKILL' })
    await t.rejects(load.stop(), 'the clients saw it die')
    client.close()
    t.comment(`${tokens.length} hand-outs before the end`)

    const rows = await sql(installation, 'SELECT session_id FROM session_keys')
    const kept = new Set(rows.map(({ session_id }) => session_id))
    const lost = tokens.filter((token) => !kept.has(claimsOf(token).session_id))
    t.same(lost, [], 'none is lost')
    if (database.name === 'SQLite')
      t.same(await sql(installation, 'PRAGMA integrity_check'), [{ integrity_check: 'ok' }])

    const again = await serve(t, installation)
    const survivor = wireClient(again.url)
    t.teardown(() => survivor.close())
    for (const token of [tokens[0], tokens.at(-1)]) {
      const reply = await survivor.check(token ?? '', { hwid: encrypt(claimsOf(token ?? ''), HWID) })
      t.match(JSON.parse(reply.text), { status: 'success', message: 'Access granted', user: 'Budi' })
    }
    t.equal((await again.kunci.kill()).code, 0)
  })
}
