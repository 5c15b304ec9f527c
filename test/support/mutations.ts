/** Chance that comes again with its seed (mulberry32). */
export type Chance = {
  /** 0 to n - 1. */
  below(n: number): number
  pick<T>(values: readonly T[]): T
}

export function seededChance(seed: number): Chance {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n: number) => Math.floor(next() * n)
  return { below, pick: (values) => values[below(values.length)]! }
}

/** Changes the text of a JSON object, which then may be none any more. */
type Mutation = (body: Buffer, chance: Chance) => Buffer

/** Members with their values as they are written: what no object in memory holds, such as a name twice, can be said. */
type Member = [name: string, value: string]

const membersOf = (body: Buffer): Member[] =>
  Object.entries(JSON.parse(body.toString())).map(([name, value]) => [name, JSON.stringify(value)])
const written = (members: readonly Member[]) =>
  Buffer.from(`{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`)

/** A mutation of one member. */
function ofMember(change: (member: Member, chance: Chance) => readonly Member[]): Mutation {
  return (body, chance) => {
    const members = membersOf(body)
    const at = chance.below(members.length)
    return written(members.toSpliced(at, 1, ...change(members[at]!, chance)))
  }
}

const DEPTH_MAX = 1500
const OTHER_TYPES = [
  'null',
  'true',
  'false',
  '[]',
  '{}',
  '""',
  '0',
  '-1',
  '1.5',
  '[null]',
  '{"a":1}',
  '"\\u0000"',
]
const HUGE = [
  '1e400',
  '-1e400',
  '1e308',
  '9007199254740993',
  '1e-400',
  '-0',
  '1E3',
  '1.0',
  '007',
  '0x10',
  'NaN',
  'Infinity',
]
const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'V',
  'v ',
  '',
  'suite',
  'box',
  'licence',
  'hwid',
  '\u0000',
  '\ud800',
]

function nested(chance: Chance): string {
  const depth = 1 + chance.below(DEPTH_MAX)
  const [open, inner, close] = chance.pick([
    ['[', '', ']'],
    ['{"a":', '1', '}'],
    ['[', '1', ''],
    ['{"v":', '', ''],
  ])
  return `${open!.repeat(depth)}${inner}${close!.repeat(depth)}`
}

const flipBits: Mutation = (body, chance) => {
  const changed = Buffer.from(body)
  for (let flips = 1 + chance.below(4); flips > 0; flips--)
    changed[chance.below(changed.length)]! ^= 1 << chance.below(8)
  return changed
}

const truncate: Mutation = (body, chance) => body.subarray(0, chance.below(body.length))

const splice: Mutation = (body, chance) => {
  const from = chance.below(body.length)
  const garbage = Buffer.from(Array.from({ length: chance.below(8) }, () => chance.below(256)))
  return Buffer.concat([body.subarray(0, from), garbage, body.subarray(from + chance.below(8))])
}

/** Not UTF-8, a byte order mark, another encoding, an escape for a letter. */
const recode: Mutation = (body, chance) => {
  const text = body.toString()
  return chance.pick([
    Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), body]),
    Buffer.from(text, 'utf16le'),
    Buffer.concat([body.subarray(0, -1), Buffer.from([0xc0, 0x80, 0x7d])]),
    Buffer.from(text.replace('"v"', '"\\u0076"')),
    Buffer.from(text.replaceAll('"', "'")),
    Buffer.from(text.replaceAll(/[,:]/g, ' \n\t$& ')),
    Buffer.from(`${text}${chance.pick([text, '\0', ',', '}', '//'])}`),
  ])
}

const duplicate = ofMember(([name, value], chance) => {
  const other = chance.pick([value, ...OTHER_TYPES])
  return chance.pick([
    [
      [name, value],
      [name, other],
    ],
    [
      [name, other],
      [name, value],
    ],
  ] as Member[][])
})

export const MUTATIONS: readonly Mutation[] = [
  flipBits,
  truncate,
  splice,
  recode,
  duplicate,
  ofMember(([name], chance) => [[name, chance.pick(OTHER_TYPES)]]),
  ofMember(([name, value]) => [[name, `[${value}]`]]),
  ofMember(([name], chance) => [[name, chance.pick([...HUGE, '9'.repeat(1 + chance.below(400))])]]),
  ofMember(([name], chance) => [[name, nested(chance)]]),
  ofMember((member, chance) => [member, [chance.pick(NAMES), nested(chance)]]),
  ofMember(([, value], chance) => [[chance.pick(NAMES), value]]),
  ofMember(() => []),
  ofMember(([name], chance) => [[name, JSON.stringify('A'.repeat(chance.below(4000)))]]),
]
