import type { Test } from 'tap'
import { attack, programClient } from '../../conformance/index.ts'
import { type ExampleClient, environmentOf, SUITES } from './example-client.ts'

/** Hundreds of starts: what takes Java a minute takes a busy machine five. */
const TIMEOUT_MS = 900_000

/** Every client passes the conformance kit, played as anybody would. */
export function withstandsEveryAttack(t: Test, { program, suites = SUITES }: ExampleClient): void {
  t.setTimeout(TIMEOUT_MS)
  // Side by side, as a client that is kept waiting computes nothing.
  t.jobs = suites.length
  const client = programClient([program.file, ...(program.args ?? [])], environmentOf(program))
  for (const suite of suites)
    t.test(`${suite}: it withstands every attack of the conformance kit`, { buffered: true }, async (t) => {
      const rows = await attack({ client, suites: [suite] })
      t.strictSame(
        rows.filter(({ verdict }) => verdict === 'failed'),
        [],
      )
      for (const { verdict, case: name, detail } of rows)
        if (verdict === 'not_played') t.pass(name, { skip: detail ?? true })
    })
}
