import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline/promises'
import type { Test } from 'tap'
import { toB64u } from '../../src/crypto/encoding.ts'
import { spawnGuarded } from './children.ts'
import { blocks } from './protocol-page.ts'

/** A command to run, without a shell. */
export type Program = {
  readonly file: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** A client in another language: the program as a user starts it, and its functions behind a line protocol. */
export type ExampleClient = {
  readonly program: Program
  /**
   * Answers a line with a line: a command and its arguments, then the results or `refused`. Arguments and
   * results are hex, `-` where there is nothing, and stand between single spaces.
   */
  readonly driver: Program
  /** The same program, trusting the certificates of this file as the platform does its own. */
  trusting(certificateFile: string): Program
  /** What it speaks, where it is not both. */
  readonly suites?: readonly Suite[]
  /** Mono finds no addresses in certificates, and takes no ligatures apart. Both keep a client from more. */
  readonly runsOnMono?: boolean
  /** It leaves values out that are not ASCII, as it cannot write them in NFKC. */
  readonly isAsciiOnly?: boolean
}

export type Suite = 'S1' | 'S2'
export const SUITES: readonly Suite[] = ['S1', 'S2']

// biome-ignore lint/suspicious/noExplicitAny: the vectors are data
export const vectors: any = JSON.parse(readFileSync(new URL('../vectors/dsk1.json', import.meta.url), 'utf8'))
const hex = (text: string) => Buffer.from(text, 'hex')
const flipped = (bytes: Buffer, at: number) => {
  const copy = Buffer.from(bytes)
  copy[at]! ^= 1 << (at % 8)
  return copy
}

type Word = string | number | Buffer
type Ask = (command: string, ...words: readonly Word[]) => Promise<Buffer[] | 'refused'>

/** Nothing of this process's environment but what finds programs. */
export function environmentOf({ env = {} }: Program): Record<string, string> {
  // An error of the C client's sanitisers must not look like a verdict; faketime loads a library before theirs.
  const sanitisers = { ASAN_OPTIONS: 'exitcode=99:verify_asan_link_order=0', UBSAN_OPTIONS: 'exitcode=99' }
  // Reading all that the machine trusts takes OpenSSL longer than a check takes the client.
  const trustNobody = { SSL_CERT_FILE: '/dev/null' }
  return { PATH: process.env.PATH ?? '', ...sanitisers, ...trustNobody, ...env }
}

export function startProgram(program: Program, more: readonly string[], wishes = {}): ChildProcess {
  const { file, args = [] } = program
  const env = { ...environmentOf(program), ...wishes }
  return spawnGuarded(file, [...args, ...more], { env, stdio: 'pipe' })
}

export function startDriver(t: Test, program: Program): Ask {
  const child = startProgram(program, [])
  const complaints: string[] = []
  child.stderr?.setEncoding('utf8').on('data', (text: string) => complaints.push(text))
  const lines = createInterface(child.stdout as Socket)[Symbol.asyncIterator]()
  t.teardown(() => child.stdin?.end())
  return async (command, ...words) => {
    const hexed = words.map((word) =>
      Buffer.from(typeof word === 'number' ? `${word}` : word).toString('hex'),
    )
    child.stdin?.write(`${[command, ...hexed.map((word) => word || '-')].join(' ')}\n`)
    const { value, done } = await lines.next()
    if (done) throw new Error(`the driver ended at ${command}: ${complaints.join('')}`)
    return value === 'refused' ? value : value.split(' ').map(hex)
  }
}

const hexes = (answer: Buffer[] | 'refused') =>
  answer === 'refused' ? answer : answer.map((word) => word.toString('hex'))
const texts = (answer: Buffer[] | 'refused') =>
  answer === 'refused' ? answer : answer.map((word) => word.toString('utf8'))

/** What the client must be given for the vectors of a suite to come out. */
function given(suite: Suite) {
  const v = vectors[suite]
  const pin = [suite, v.kid, hex(v.S_pub)] as const
  const session = [suite, v.session_id, hex(v.session_key), hex(v.session_iv), v.access_token] as const
  return { v, pin, session, priv: hex(v.client_eph_priv) }
}

async function derivesTheHandshake(t: Test, ask: Ask, suite: Suite): Promise<void> {
  const { v, pin, priv } = given(suite)
  t.strictSame(hexes(await ask('public', suite, priv)), [v.c_pub], 'c_pub')
  t.strictSame(hexes(await ask('shared', suite, priv, hex(v.S_pub))), [v.ss1], 'ss1')
  t.strictSame(hexes(await ask('shared', suite, priv, hex(v.s_pub))), [v.ss2], 'ss2')
  t.strictSame(texts(await ask('hello', suite, v.kid, hex(v.c_pub))), [v.http_hello_request], 'hello')
  const both = [hex(v.ss1), hex(v.ss2)] as const
  const seen = [hex(v.c_pub), v.session_id, v.expires_in, hex(v.s_pub)] as const
  t.strictSame(
    hexes(await ask('schedule', ...pin, ...seen, ...both)),
    [v.th, v.prk1, v.prk2, v.hello_key, v.session_key, v.session_iv],
    'th, prk1, prk2, hello_key, session_key, session_iv',
  )
  const welcome = await ask('welcome', ...pin, priv, v.http_hello_response)
  const expected = [
    Buffer.from(v.session_id),
    hex(v.session_key),
    hex(v.session_iv),
    Buffer.from(v.access_token),
  ]
  t.strictSame(hexes(welcome), hexes(expected), 'session_id, session_key, session_iv, token')
}

async function sealsAndOpens(t: Test, ask: Ask, suite: Suite): Promise<void> {
  const { v, session } = given(suite)
  const { seq, op, salt, plaintext } = v.request
  const request = await ask('request', ...session, seq, op, hex(salt), plaintext.trimEnd())
  t.strictSame(hexes(request), hexes([Buffer.from(v.request.http_body), hex(v.request.rh)]), 'body and rh')
  const reply = await ask('reply', ...session, seq, op, hex(v.request.rh), v.response.http_body)
  t.strictSame(texts(reply), [v.response.plaintext], 'the plaintext of the reply')
}

/** The vectors' own list of what must not open, as far as a client meets it, and what text forms add to it. */
async function opensNothingElse(t: Test, ask: Ask, suite: Suite): Promise<void> {
  const { v, session } = given(suite)
  const { seq, op, rh, salt: salt1, box: box1, plaintext } = v.request
  const envelope = JSON.parse(v.response.http_body)
  const box = hex(v.response.box)
  const open = (
    fields: object,
    {
      at = session,
      number = seq,
      name = op,
      hash = hex(rh),
    }: Partial<{ at: readonly Word[]; number: number; name: string; hash: Buffer }> = {},
  ) => ask('reply', ...at, number, name, hash, JSON.stringify({ ...envelope, ...fields }))
  const refuses = async (what: string, answer: Promise<Buffer[] | 'refused'>) =>
    t.equal(await answer, 'refused', what)

  t.strictSame(texts(await open({ later: 1 })), [v.response.plaintext], 'an unknown member does no harm')
  const flips = await Promise.all([...box.keys()].map((at) => open({ box: toB64u(flipped(box, at)) })))
  t.equal(flips.filter((answer) => answer === 'refused').length, box.length, 'any byte of the box changed')
  const salt = hex(v.response.salt)
  await refuses('salt changed', open({ salt: toB64u(flipped(salt, 3)) }))
  await refuses('other seq in the envelope', open({ seq: 2 }))
  await refuses('other seq asked for', open({ seq: 2 }, { number: 2 }))
  await refuses('other op', open({}, { name: 'lease.issue' }))
  await refuses('other session', open({ session_id: vectors.S3.session_id }))
  const other = session.with(4, 'a.b.c')
  const asked = await ask('request', ...other, seq, op, hex(salt1), plaintext)
  await refuses('other token', open({}, { hash: asked[1] as Buffer }))
  await refuses('reply for another request', open({}, { hash: flipped(hex(rh), 0) }))
  await refuses('request reflected as reply', open({ salt: toB64u(hex(salt1)), box: toB64u(hex(box1)) }))
  for (const size of [0, 4, 15, 16, 31, 32, box.length - 28, box.length - 12, box.length - 1])
    await refuses(`cut off after ${size} bytes`, open({ box: toB64u(box.subarray(0, size)) }))
  await refuses('the other base64', open({ box: Buffer.from(box).toString('base64').replace(/=*$/, '') }))
  for (const more of ['=', '\n', ' ', 'A', 'AA'])
    await refuses(`${JSON.stringify(more)} after base64`, open({ box: `${envelope.box}${more}` }))
  const loose = `${envelope.salt.slice(0, -1)}${String.fromCharCode(envelope.salt.charCodeAt(21) + 1)}`
  t.strictSame(Buffer.from(loose, 'base64url'), salt, 'the next letter is the same bytes to a lax decoder')
  await refuses('spare bits in base64', open({ salt: loose }))
  for (const value of [null, 1, '', {}, ['S1']])
    await refuses(`box ${JSON.stringify(value)}`, open({ box: value }))
  for (const value of [null, '1', 2, 1.5, true])
    await refuses(`v ${JSON.stringify(value)}`, open({ v: value }))
  for (const body of [
    '',
    '[]',
    'null',
    '{',
    '{}',
    `${v.response.http_body}x`,
    v.response.http_body.slice(0, -1),
  ])
    await refuses(`body ${body.slice(0, 9)}`, ask('reply', ...session, seq, op, hex(rh), body))
}

async function believesNoOtherAnswer(t: Test, ask: Ask, suite: Suite): Promise<void> {
  const { v, pin, priv } = given(suite)
  const envelope = JSON.parse(v.http_hello_response)
  const welcome = (fields: object, from: readonly Word[] = pin) =>
    ask('welcome', ...from, priv, JSON.stringify({ ...envelope, ...fields }))
  t.equal((await welcome({ later: [] })).length, 4, 'an unknown member does no harm')
  const box = hex(v.hello_box)
  const flips = await Promise.all([...box.keys()].map((at) => welcome({ box: toB64u(flipped(box, at)) })))
  t.equal(flips.filter((answer) => answer === 'refused').length, box.length, 'any byte of the box changed')
  const others = {
    v: [2, '1', null],
    suite: [suite === 'S1' ? 'S2' : 'S1', suite.toLowerCase(), null],
    kid: [vectors.S3.kid, v.kid.toUpperCase(), null],
    session_id: [vectors.S3.session_id, v.session_id.toUpperCase(), `${v.session_id}\n`, '', null],
    expires_in: [301, 300.5, '300', 0, -1, 2 ** 32 + 300, null],
    pub: [toB64u(flipped(hex(v.s_pub), 7)), v.S_pub, toB64u(hex(v.S_pub)), '', null],
    box: ['', null],
  }
  for (const [name, values] of Object.entries(others))
    for (const value of values) t.equal(await welcome({ [name]: value }), 'refused', `${name} ${value}`)
  t.equal(await welcome({}, [suite, v.kid, hex(v.c_pub)]), 'refused', 'another pinned key')
}

/** X25519: the points of small order (RFC 7748 section 6.1). P-256: what is not an uncompressed point of it. */
const BAD_KEYS = {
  S1: [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    `ec${'ff'.repeat(30)}7f`,
    `ed${'ff'.repeat(30)}7f`,
    `ee${'ff'.repeat(30)}7f`,
    vectors.S1.s_pub.slice(2),
    `${vectors.S1.s_pub}00`,
    '',
  ],
  S2: [
    '00',
    '00'.repeat(65),
    `04${'00'.repeat(64)}`,
    `${vectors.S2.s_pub.slice(0, -2)}00`,
    `03${vectors.S2.s_pub.slice(2, 66)}`,
    `07${vectors.S2.s_pub.slice(2)}`,
    `03${vectors.S2.s_pub.slice(2)}`,
    `04${'ff'.repeat(64)}`,
    vectors.S2.s_pub.slice(0, -2),
    `${vectors.S2.s_pub}00`,
    '',
  ],
}

async function refusesBadKeys(t: Test, ask: Ask, suite: Suite): Promise<void> {
  for (const key of BAD_KEYS[suite])
    t.equal(await ask('shared', suite, given(suite).priv, hex(key)), 'refused', key || 'an empty key')
}

/** Too short, one character over and over, or as good as nothing, before and after their normal form. */
const TELLS_NOTHING = [
  '',
  '--/--',
  'A1B',
  '0000',
  'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF',
  'To be filled by O.E.M.',
]
/** What the protocol's page lists, in capitals there. */
const [PLACEHOLDERS = ''] = blocks('text').filter((block) => block.includes('TOBEFILLEDBYOEM'))
/** Multicast, made up by software, not an address. */
const NO_MACS = [
  '01:00:5E:7C:3F:1A',
  '02:00:4C:4F:4F:50',
  '3C:7C:3F:1A:2B',
  '3C:7C:3F:1A:2B:4C:00',
  'G0:00:00:00:12:34',
]

/** As written, and in NFKC and upper case. */
const OTHER_LETTERS = [
  ['ＳＮ－１２３４', 'SN-1234'],
  ['SN-9Ⅷ', 'SN-9VIII'],
  ['Straße 17', 'STRASSE 17'],
  ['Disk n° ²5ı', 'DISK N 25I'],
  ['cafe\u0301-42', 'CAF-42'],
  ['ﬁxed-9', 'FIXED-9'],
] as const

async function digestsHardware(
  t: Test,
  ask: Ask,
  { isAsciiOnly = false, runsOnMono = false }: ExampleClient,
): Promise<void> {
  const { tool, raw, jcs } = vectors.hwid
  const pairs = Object.entries(raw).flatMap(([type, values]) =>
    [values].flat().flatMap((value) => [type, `${value}`]),
  )
  t.strictSame(texts(await ask('fingerprint', tool, ...pairs)), [jcs], 'in the canonical form of RFC 8785')
  t.strictSame(
    texts(await ask('fingerprint', tool, ...pairs, 'disk', raw.disk, 'mac', raw.mac[0])),
    [jcs],
    'a value named twice counts once',
  )
  const nothing = ['{"c":{},"v":1}']
  const listed = PLACEHOLDERS.trim().split(/\s+/)
  t.ok(listed.length > 20)
  for (const value of [...TELLS_NOTHING, ...listed, ...listed.map((word) => word.toLowerCase())])
    t.strictSame(texts(await ask('fingerprint', tool, 'board', value)), nothing, `board ${value}`)
  for (const value of NO_MACS)
    t.strictSame(texts(await ask('fingerprint', tool, 'mac', value)), nothing, `mac ${value}`)
  const readable = runsOnMono ? OTHER_LETTERS.filter(([value]) => !value.includes('ﬁ')) : OTHER_LETTERS
  for (const [value, ascii] of readable)
    t.strictSame(
      texts(await ask('fingerprint', tool, 'disk', value)),
      isAsciiOnly ? nothing : texts(await ask('fingerprint', tool, 'disk', ascii)),
      `disk ${value}`,
    )
  const long = `${'AB12'.repeat(32)}`
  t.strictSame(
    await ask('fingerprint', tool, 'board', `${long}-tail`),
    await ask('fingerprint', tool, 'board', long),
    'the first 128 letters count',
  )
}

const OPENED = {
  status: 200,
  code: 'ok',
  server_time: 1_767_225_602,
  data: { valid: true, support_code: 'AB"DE-12345' },
}
const SUPPORT = { valid: false, support_code: 'ABCDE-12345', message: 'No.' }
const VERDICTS: readonly [string, object, string | null][] = [
  ['allowed', OPENED, 'ok'],
  ['denied', { status: 403, code: 'licence_invalid', data: SUPPORT }, 'licence_invalid'],
  ['denied', { status: 403, code: 'licence_expired', data: SUPPORT }, 'licence_expired'],
  ['denied', { status: 403, code: 'device_limit', data: SUPPORT }, 'device_limit'],
  ['denied', { status: 403, code: 'device_weak', data: {} }, 'device_weak'],
  ['denied', { status: 403, code: 'seat_limit', data: SUPPORT }, 'seat_limit'],
  ['unavailable', { ...OPENED, status: '200', data: { valid: true } }, null],
  ['unavailable', { ...OPENED, status: 201 }, null],
  ['unavailable', { ...OPENED, data: { valid: 'true' } }, null],
  ['unavailable', { ...OPENED, data: { valid: 1 } }, null],
  ['unavailable', { ...OPENED, data: { valid: false } }, null],
  ['unavailable', { ...OPENED, data: [true] }, null],
  ['unavailable', { ...OPENED, data: {} }, null],
  ['unavailable', { ...OPENED, data: { inner: { valid: true } } }, null],
  ['unavailable', { status: 200, code: 'ok', valid: true }, null],
  ['unavailable', { status: 403, code: 'other_code', data: SUPPORT }, null],
  ['unavailable', { status: 403, data: SUPPORT }, null],
  ['unavailable', { status: 200, code: 'licence_invalid', data: SUPPORT }, null],
  ['unavailable', { status: 401, code: 'session_expired', data: {} }, null],
  ['unavailable', { status: 429, code: 'slow_down', data: { retry_in: 5 } }, null],
  ['unavailable', { status: 500, code: 'internal', data: {} }, null],
  ['unavailable', {}, null],
]

async function judges(t: Test, ask: Ask): Promise<void> {
  for (const [outcome, opened, code] of VERDICTS) {
    const [line = ''] = texts(await ask('verdict', JSON.stringify(opened)))
    const data = (opened as { data?: { support_code?: string } }).data
    const expected = { outcome, code, support_code: data?.support_code ?? null }
    t.strictSame(JSON.parse(line), expected, JSON.stringify(opened))
    t.strictSame(Object.keys(JSON.parse(line)), Object.keys(expected), 'in this order')
  }
}

/** Every client gives the bytes of the published vectors, and takes nothing that differs from them. */
export function keepsTheProtocol(t: Test, client: ExampleClient): void {
  const { driver, suites = SUITES } = client
  const ask = startDriver(t, driver)
  for (const suite of suites) {
    t.test(`${suite}: a handshake gives the keys of the published vectors`, (t) =>
      derivesTheHandshake(t, ask, suite),
    )
    t.test(`${suite}: request and reply are those of the published vectors`, (t) =>
      sealsAndOpens(t, ask, suite),
    )
    t.test(`${suite}: a reply that differs in anything does not open`, (t) => opensNothingElse(t, ask, suite))
    t.test(`${suite}: an answer to the handshake that differs in anything gives no session`, (t) =>
      believesNoOtherAnswer(t, ask, suite),
    )
    t.test(`${suite}: no secret is agreed with a key that is no point of the curve`, (t) =>
      refusesBadKeys(t, ask, suite),
    )
  }
  t.test('serial numbers become the published digests, and placeholders none', (t) =>
    digestsHardware(t, ask, client),
  )
  t.test('only the two answers that the protocol knows are a verdict', (t) => judges(t, ask))
}
