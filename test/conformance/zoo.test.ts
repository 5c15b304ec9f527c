import t from 'tap'
import { client, failed, play } from './kit.ts'
import { ZOO } from './zoo.ts'

// They wait more than they compute.
t.jobs = 3

for (const { name, suite = 'S1', flaw, fails } of ZOO)
  t.test(`a client that ${name} fails there, and only there`, { buffered: true }, async (t) => {
    const rows = failed(await play(client(flaw()), { suites: [suite] }))
    t.strictSame(rows.map((row) => row.case).sort(), [...fails].sort(), `${rows.map(({ detail }) => detail)}`)
  })
