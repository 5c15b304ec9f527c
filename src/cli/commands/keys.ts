import { loadConfig } from '../../config.ts'
import { type KeyFacts, p256Pin } from '../../domain/keys.ts'
import { AppError } from '../../errors.ts'
import { makeRootKey, readRootKey } from '../../store/root-key.ts'
import { command } from '../command.ts'
import { facts, isoTime, table } from '../output.ts'
import { PIN_FORMATS, pinsText } from '../pin-formats.ts'
import { asExpiry, asOneOf } from '../values.ts'

const asSuite = asOneOf(['S1', 'S2', 'S3'])
const asFormat = asOneOf(PIN_FORMATS)

/** Long enough for every process to have read the file, which it looks for every five seconds. */
const HANDOVER_MS = 60_000

const RING = { name: 'ring', doc: 'Name of the ring, such as kek.' } as const

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

const rotate = command({
  path: ['keys', 'rotate'],
  summary: 'Adds a key to a ring, which takes over a minute later unless it is told when; the others stay.',
  options: {
    at: {
      value: 'DATE',
      doc: 'When it takes over, in ISO 8601: a date means its last second in UTC, a date-time may name its zone.',
      parse: asExpiry,
    },
    now: {
      doc: 'It takes over at once. A server that has not read it yet cannot open what another makes with it.',
    },
  },
  positionals: [RING],
  example: 'kunci keys rotate kek',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const { ring: name, at, now = false } = args
      if (now && at !== undefined)
        throw new AppError('invalid_argument', { detail: '--at and --now exclude each other' })
      const nowMs = app.clock()
      if (at !== undefined && at <= nowMs)
        throw new AppError('invalid_argument', { detail: `--at: ${isoTime(at)} is past` })
      const { ring, id, fromMs } = await app.keyRotation.rotate(
        actor,
        name,
        now ? nowMs : (at ?? nowMs + HANDOVER_MS),
      )
      const text = [
        `Added: key ${id} of ${ring}, current from ${isoTime(fromMs)}.`,
        `${now ? 'At once' : 'Before then'} copy KEYS_DIR to every other node, and back it up.`,
      ]
      return { data: { ring, id, from: isoTime(fromMs) }, text: text.join('\n') }
    }),
})

const retire = command({
  path: ['keys', 'retire'],
  summary: 'Takes a key that is no longer current out of its ring, for good.',
  options: {
    yes: { doc: 'Also where clients depend on it: keys that they have pinned, and those that sign leases.' },
  },
  positionals: [RING, { name: 'id', doc: 'Id of the key, such as k1.' }],
  example: 'kunci keys retire kek k1',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const { id, yes = false } = args
      const ring = await app.keyRotation.retire(actor, args.ring, id, yes)
      const text = `Retired: key ${id} of ${ring}. Other nodes hold it until KEYS_DIR is copied to them.`
      return { data: { ring, id, retired: true }, text }
    }),
})

const root = command({
  path: ['keys', 'root'],
  summary:
    'Makes a root key, which signs key sets, in a file that is to be kept where no server can read it.',
  options: { out: { value: 'FILE', required: true, doc: 'The file to make, outside KEYS_DIR.' } },
  positionals: [],
  example: 'kunci keys root --out /media/safe/root.pem',
  run: async ({ args, env }) => {
    const data = p256Pin(makeRootKey(args.out, loadConfig(env).keysDir).publicJwk)
    return { data, text: JSON.stringify(data) }
  },
})

const sign = command({
  path: ['keys', 'sign'],
  summary: 'Signs the set of public keys that clients may fetch, as the keys are now.',
  options: { root: { value: 'FILE', required: true, doc: 'The file of the root key.' } },
  positionals: [],
  example: 'kunci keys sign --root /media/safe/root.pem',
  run: ({ args, actor, withApp }) => {
    const key = readRootKey(args.root)
    return withApp(async (app) => {
      const { seq, signedMs } = await app.keySets.sign(actor, key)
      const data = { seq, root_kid: key.kid, signed_at: isoTime(signedMs) }
      return { data, text: `Signed. Clients that have pinned the root key take this set:\n\n${facts(data)}` }
    })
  },
})

export const keyCommands = [list, pins, rotate, retire, root, sign]
