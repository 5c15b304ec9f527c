import type { KeyFacts } from '../../domain/keys.ts'
import { command } from '../command.ts'
import { isoTime, table } from '../output.ts'
import { PIN_FORMATS, pinsText } from '../pin-formats.ts'
import { asOneOf } from '../values.ts'

const asSuite = asOneOf(['S1', 'S2', 'S3'])
const asFormat = asOneOf(PIN_FORMATS)

function keyView({ ring, id, kid, state, madeMs, sinceMs }: KeyFacts) {
  return { ring, id, kid, state, made_at: isoTime(madeMs), since: isoTime(sinceMs) }
}

const list = command({
  path: ['keys', 'list'],
  summary:
    'Lists the long-term keys of every ring, never their secrets: the current one, the next, the retired.',
  options: {},
  positionals: [],
  example: 'kunci keys list',
  run: ({ withApp }) =>
    withApp(async (app) => {
      const data = app.keys.list().map(keyView)
      return { data, text: table(data, ['ring', 'id', 'kid', 'state', 'since']) }
    }),
})

const pins = command({
  path: ['keys', 'pins'],
  summary: 'Prints the public keys that are compiled into clients, the current one first.',
  options: {
    suite: {
      value: 'SUITE',
      doc: 'Only those of S1, S2 or S3, and of leases.',
      parse: asSuite,
    },
    format: {
      value: 'FORMAT',
      fallback: 'json',
      doc: `One of ${PIN_FORMATS.join(', ')}: constants to paste into a client.`,
      parse: asFormat,
    },
  },
  positionals: [],
  example: 'kunci keys pins --suite S1 --format csharp',
  run: ({ args, withApp }) =>
    withApp(async (app) => {
      const data = app.keys.pins(args.suite)
      return { data, text: pinsText(data, args.format) }
    }),
})

export const keyCommands = [list, pins]
