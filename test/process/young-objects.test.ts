import t, { type Test } from 'tap'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { install, serve } from '../support/installation.ts'

const [SQLITE] = DATABASES as [TestDatabase]
const REQUESTS = 6000
const AT_ONCE = 100
/** V8 then says what it has learnt of the places where objects are made, at each collection of the young generation. */
const SAY = "import v8 from 'node:v8'; v8.setFlagsFromString('--trace-pretenuring-statistics');"
/** Has the server switch nothing off. */
const LEAVE_ON =
  "import { syncBuiltinESMExports } from 'node:module'; v8.setFlagsFromString = () => {}; syncBuiltinESMExports()"

/** @param script what the server is to run first. @returns what V8 said once it listened. */
async function learntUnderLoad(t: Test, script: string): Promise<string[]> {
  const preload = `data:text/javascript,${encodeURIComponent(script)}`
  const running = await serve(t, await install(t, SQLITE, { NODE_OPTIONS: `--import=${preload}` }))
  for (let sent = 0; sent < REQUESTS; sent += AT_ONCE)
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        const reply = await fetch(`${running.url}/api/auth/get-session-key`)
        await reply.arrayBuffer()
        if (reply.status !== 200) t.fail(`${reply.status}`)
      }),
    )
  const lines = running.kunci.stdout
  const began = lines.findIndex((line) => line.includes('"server.listening"'))
  t.ok(began >= 0)
  return lines.slice(began).filter((line) => /pretenuring: .*=> /.test(line))
}

t.test('a server never begins to make objects in the old generation', async (t) => {
  t.same(await learntUnderLoad(t, SAY), [])
  t.not((await learntUnderLoad(t, SAY + LEAVE_ON)).length, 0, 'V8 would otherwise have learnt')
})
