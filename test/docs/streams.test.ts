import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { spawnGuarded } from '../support/children.ts'
import { DATABASES } from '../support/databases.ts'
import { until } from '../support/installation.ts'
import { findPython } from '../support/languages.ts'
import { openListening, signInAs } from '../support/streams.ts'

const PAGE = readFileSync(new URL('../../docs/streams.md', import.meta.url), 'utf8')

t.test('the program of docs/streams.md reads a stream to its end, and from where it was', async (t) => {
  const bench = await openListening(t, DATABASES[0]!)
  const ani = await signInAs(bench, 'ani@example.com')
  const [, program] = /^```python\n(.*?)^```/ms.exec(PAGE) ?? []
  const script = `${program}
import sys
for last_id, event, data in read_events(*sys.argv[1:]):
    print(last_id, event, data["sessionId"], data.get("reconnect"))
`
  const python = findPython() ?? t.fail('Python is not installed')
  const read = (...args: string[]) => {
    const child = spawnGuarded(String(python), ['-c', script, bench.url, ani.token, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    child.ref()
    return text(child.stdout!)
  }
  const first = read()
  await until('it reads', () => bench.app.streams.size() === 1)
  await bench.app.streams.beat()
  const other = await signInAs(bench, 'ani@example.com')
  const again = read('1')
  await until('another reads', () => bench.app.streams.size() === 2)
  await bench.server.inject({ method: 'POST', url: '/api/auth/logout', headers: ani.headers })
  const told = [`2 session_created ${other.sessionId} None`, `3 session_ended ${ani.sessionId} never`, '']
  t.same((await first).split('\n').slice(-3), told)
  t.same((await again).split('\n'), told)
})

t.test('docs/streams.md names no address and no code that is not there', async (t) => {
  const bench = await openListening(t, DATABASES[0]!)
  const document = (await bench.server.inject('/docs/json')).json()
  const named = new Set([...PAGE.matchAll(/\/api\/[\w/-]+/g)].map(([path]) => path))
  t.ok(named.size > 3)
  for (const path of named) t.ok(path in document.paths, path)
})
