/**
 * A client of the zoo as a program, with the options of the example clients: `program.ts [FLAW] --server …`. Without a
 * flaw it is the sound one. It has S1 and S2, and keeps no lease.
 */
import { parseArgs } from 'node:util'
import type { Run } from '../../conformance/index.ts'
import { clientWith, SOUND } from './sound-client.ts'
import { ZOO } from './zoo.ts'

const EXIT_CODES = { allowed: 0, denied: 1, unavailable: 2 } as const
const WRONG_USAGE = 64

function parsed() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        server: { type: 'string', default: '' },
        suite: { type: 'string', default: '' },
        pin: { type: 'string', multiple: true, default: [] },
        licence: { type: 'string', default: '' },
        tool: { type: 'string', default: '' },
        hw: { type: 'string', multiple: true, default: [] },
      },
    })
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return process.exit(WRONG_USAGE)
  }
}

const { values, positionals } = parsed()
const { suite } = values
if (suite !== 'S1' && suite !== 'S2') {
  process.stderr.write(`there is no suite ${suite} here\n`)
  process.exit(WRONG_USAGE)
}
const pins = values.pin.map((pin) => ({ kid: pin.slice(0, 16), pub: pin.slice(17) }))
const run: Run = {
  ...{ case: '', serverUrl: values.server, suite, pins: { S1: pins, S2: pins, S3: [], lease: [] } },
  ...{ licence: values.licence, tool: values.tool, clockOffsetS: 0, state: '' },
  hardware: Object.fromEntries(values.hw.map((hw) => [hw.split('=', 1)[0], hw.slice(hw.indexOf('=') + 1)])),
}
const flaw = ZOO.find(({ name }) => name === positionals[0])?.flaw() ?? {}
const { outcome } = await clientWith({ ...SOUND, ...flaw })(run, AbortSignal.timeout(60_000))
process.stdout.write('Session key obtained\nJWT token parsed\nUsing dynamic encryption keys from session\n')
const isVerdict = outcome === 'allowed' || outcome === 'denied'
const last = { outcome, code: isVerdict ? outcome : null, support_code: null }
process.stdout.write(`${JSON.stringify(last)}\n`)
process.exitCode = EXIT_CODES[outcome as keyof typeof EXIT_CODES]
