import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { toB64u } from '../../src/crypto/encoding.ts'
import {
  type ExampleClient,
  type Program,
  SUITES,
  type Suite,
  startProgram,
  vectors,
} from './example-client.ts'

export type Pin = { readonly kid: string; readonly pub: string }

export type Question = {
  readonly server: string
  readonly suite: Suite
  readonly pins: readonly Pin[]
  readonly licence?: string
  readonly tool?: string
  readonly hardware?: readonly string[]
}

export type Run = {
  readonly code: number | null
  /** Progress, without the last line. */
  readonly lines: readonly string[]
  /** The last line. */
  readonly verdict: unknown
  readonly stderr: string
}

/** Waits as short as they can be, as many as there are. */
const SHORT_WAITS = '10,10,10'

export const HARDWARE = ['board=PF2ABCDE-L1HF65E00X9', 'disk=S4EWNX0M123456Z', 'mac=3C:7C:3F:1A:2B:4C']

export function argumentsOf({ server, suite, pins, licence, tool, hardware }: Question): string[] {
  return [
    ...['--server', server, '--suite', suite],
    ...pins.flatMap(({ kid, pub }) => ['--pin', `${kid}:${pub}`]),
    ...['--licence', licence ?? vectors.licence.key, '--tool', tool ?? 'demo'],
    ...(hardware ?? HARDWARE).flatMap((value) => ['--hw', value]),
  ]
}

export async function runWith(program: Program, args: readonly string[], waits = SHORT_WAITS) {
  const child = startProgram(program, args, { KUNCI_RETRY_MS: waits })
  child.stdin?.end()
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  child.ref()
  const [code, stdout, stderr] = await Promise.all([ended, text(child.stdout!), text(child.stderr!)])
  return { code, stdout, stderr }
}

export async function ask(program: Program, question: Question, waits?: string): Promise<Run> {
  const { code, stdout, stderr } = await runWith(program, argumentsOf(question), waits)
  const lines = stdout.trimEnd().split('\n')
  return { code, lines: lines.slice(0, -1), verdict: JSON.parse(lines.at(-1) ?? ''), stderr }
}

export function assertUnavailable(t: Test, run: Run, what: string): void {
  t.equal(run.code, 2, `${what}: exit code`)
  t.strictSame(run.verdict, { outcome: 'unavailable', code: null, support_code: null }, what)
  t.equal(run.stderr, '', `${what}: no complaint`)
}

/** The server key of the published vectors. */
export const pinOf = (suite: Suite): Pin => ({
  kid: vectors[suite].kid,
  pub: toB64u(Buffer.from(vectors[suite].S_pub, 'hex')),
})

/** Asks in the first of the suites that the client speaks. */
function questionTo(server: string, { suites: [suite = 'S1'] = SUITES }: ExampleClient): Question {
  return { server, suite, pins: [pinOf(suite)] }
}

type Stranger = { readonly url: string; readonly bodies: string[] }

/** An HTTP server that knows no key. */
async function listen(t: Test, answer: RequestListener): Promise<Stranger> {
  const bodies: string[] = []
  const server = createServer(async (request, response) => {
    bodies.push(await text(request))
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies }
}

/** A server that says these bytes to anybody, and hangs up. */
async function speak(t: Test, bytes: string | Buffer): Promise<string> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(bytes))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const reply =
  (status: number, body: unknown, headers: Record<string, string> = {}) =>
  (_: IncomingMessage, response: ServerResponse) =>
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))

const YES = { outcome: 'allowed', v: 1, status: 200, code: 'ok', valid: true, data: { valid: true } }
const NO = { outcome: 'denied', v: 1, status: 403, code: 'licence_invalid', data: { valid: false } }

const STRANGERS: readonly [string, (suite: Suite) => RequestListener][] = [
  ['a plain yes', () => reply(200, YES)],
  ['a plain no', () => reply(200, NO)],
  ['a plain 403', () => reply(403, NO)],
  ['a plain 401', () => reply(401, { v: 1, error: 'session' })],
  ['a plain 400', () => reply(400, { v: 1, error: 'request' })],
  ['an unknown key', () => reply(400, { v: 1, error: 'kex' })],
  ['a 429', () => reply(429, { v: 1, error: 'rate' }, { 'retry-after': '1' })],
  ['a 500', () => reply(500, 'Internal Server Error')],
  ['an empty answer', () => reply(200, '')],
  ['a page', () => reply(200, '<!doctype html><title>Welcome</title>')],
  ['deep JSON', () => reply(200, '['.repeat(60_000))],
  ['an answer of another handshake', (suite) => reply(200, vectors[suite].http_hello_response)],
  ['a reply to a call', (suite) => reply(200, vectors[suite].response.http_body)],
]

const RAW_ANSWERS = [
  '',
  '\r\n\r\n',
  'HTTP/1.1 200 OK\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n',
  `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(30_000)}\r\n{}`,
  Buffer.alloc(5000, 0xff),
]

async function followsNoRedirect(t: Test, client: ExampleClient): Promise<void> {
  const elsewhere = await listen(t, reply(200, YES))
  for (const status of [301, 302, 307, 308]) {
    const { url, bodies } = await listen(t, reply(status, '', { location: `${elsewhere.url}/v1/session` }))
    assertUnavailable(t, await ask(client.program, questionTo(url, client)), `${status}`)
    t.equal(bodies.length, 1, `${status}: one request`)
  }
  t.equal(elsewhere.bodies.length, 0)
}

async function triesTheNextPin(t: Test, { program, suites = SUITES }: ExampleClient): Promise<void> {
  for (const suite of suites) {
    const { url, bodies } = await listen(t, reply(400, { v: 1, error: 'kex' }))
    const pins = [pinOf(suite), { ...pinOf(suite), kid: '0123456789abcdef' }]
    assertUnavailable(t, await ask(program, { server: url, suite, pins }), suite)
    const hellos = bodies.map((body) => JSON.parse(body))
    t.strictSame(
      hellos.map(({ v, suite, kid, ext }) => ({ v, suite, kid, ext })),
      pins.map(({ kid }) => ({ v: 1, suite, kid, ext: '' })),
      `${suite}: each once, in this order`,
    )
    t.not(hellos[0].pub, hellos[1].pub, `${suite}: a fresh key each time`)
  }
}

async function sendsTheSameBytesAgain(t: Test, client: ExampleClient): Promise<void> {
  const busy = await listen(t, reply(503, { v: 1, error: 'busy' }))
  assertUnavailable(t, await ask(client.program, questionTo(busy.url, client)), '503')
  const rude = await listen(t, (request) => request.socket.destroy())
  assertUnavailable(t, await ask(client.program, questionTo(rude.url, client)), 'connection broken')
  for (const { bodies } of [busy, rude]) {
    t.equal(bodies.length, 4, 'once, and after each of three waits')
    t.equal(new Set(bodies).size, 1, 'the same bytes')
  }
  const twice = await listen(t, reply(503, ''))
  await ask(client.program, questionTo(twice.url, client), '5')
  t.equal(twice.bodies.length, 2, 'as many times as KUNCI_RETRY_MS has waits')
}

async function refusesLargeReplies(t: Test, client: ExampleClient): Promise<void> {
  const { url, bodies } = await listen(t, reply(200, ' '.repeat(65_537)))
  assertUnavailable(t, await ask(client.program, questionTo(url, client)), '65,537 bytes')
  t.equal(bodies.length, 1)
  const whole = await listen(t, reply(400, `${' '.repeat(65_516)}{"v":1,"error":"kex"}`.slice(-65_536)))
  const run = await ask(client.program, questionTo(whole.url, client))
  t.match(run.lines.join('\n'), /does not know the key/, 'one of 65,536 bytes is read')
}

/** How long the client took over a server that never finishes its answer, and how often it asked. */
async function timeOf(t: Test, client: ExampleClient, answer: RequestListener) {
  const { url, bodies } = await listen(t, answer)
  const startMs = performance.now()
  const run = await ask(client.program, questionTo(url, client), '0')
  return { run, requests: bodies.length, seconds: (performance.now() - startMs) / 1000 }
}

const silence = () => {}
const drip: RequestListener = (_, response) => {
  const timer = setInterval(() => response.write(' '), 500)
  response.once('close', () => clearInterval(timer))
}

const wrongUsage = ({ suite, pins }: Question): Record<string, readonly string[]> => ({
  'nothing given': [],
  'no value': ['--server'],
  'an unknown flag': ['--lease', 'file'],
  'another suite': ['--suite', 'S3'],
  'no URL': ['--server', 'licences.example'],
  'a file': ['--server', 'file:///etc/passwd'],
  'no pin': ['--pin', 'fdd0f6a51abb069f'],
  'a pin of the other suite': ['--pin', `fdd0f6a51abb069f:${pinOf(suite === 'S1' ? 'S2' : 'S1').pub}`],
  'a pin in upper case': ['--pin', `FDD0F6A51ABB069F:${pins[0]?.pub}`],
  'a pin in other base64': ['--pin', `fdd0f6a51abb069f:${pins[0]?.pub}=`],
  'no component': ['--hw', 'serial'],
  'an unknown component': ['--hw', 'gpu=123456'],
  'a licence key with a line break': ['--licence', 'ABC\nDEF'],
  'a tool with a quotation mark': ['--tool', 'de"mo'],
})

async function saysHowItIsUsed(t: Test, client: ExampleClient): Promise<void> {
  const { url, bodies } = await listen(t, reply(500, ''))
  const good = argumentsOf(questionTo(url, client))
  for (const [what, args] of Object.entries(wrongUsage(questionTo(url, client)))) {
    const run = await runWith(client.program, args.length === 0 ? [] : [...good, ...args])
    t.equal(run.code, 64, what)
    t.match(run.stderr, /Usage: /, `${what}: how it is used`)
    t.notMatch(run.stdout, /outcome/, `${what}: no verdict`)
  }
  t.equal(bodies.length, 0, 'and nothing is sent')
}

/** Nobody without the pinned key gets anything but "unavailable" out of a client, nor keeps it busy. */
export function believesNoStranger(t: Test, client: ExampleClient): void {
  const { program, suites = SUITES } = client
  const waits = Promise.all([silence, drip].map((answer) => timeOf(t, client, answer)))
  for (const suite of suites)
    t.test(`${suite}: what anybody could have answered is no verdict`, async (t) => {
      for (const [what, stranger] of STRANGERS) {
        const { url, bodies } = await listen(t, stranger(suite))
        assertUnavailable(t, await ask(program, { server: url, suite, pins: [pinOf(suite)] }), what)
        t.equal(bodies.length, 1, `${what}: asked once`)
      }
    })
  t.test('what is no HTTP is no verdict', async (t) => {
    for (const bytes of RAW_ANSWERS) {
      const url = await speak(t, bytes)
      const what = JSON.stringify(bytes.slice(0, 60).toString())
      assertUnavailable(t, await ask(program, questionTo(url, client)), what)
    }
  })
  t.test('redirects are not followed', (t) => followsNoRedirect(t, client))
  t.test('a key that the server does not know is followed by the next pinned one', (t) =>
    triesTheNextPin(t, client),
  )
  t.test('a request without an answer is sent again, the same bytes', (t) =>
    sendsTheSameBytesAgain(t, client),
  )
  t.test('a reply of more than 64 KiB is refused', (t) => refusesLargeReplies(t, client))
  t.test('wrong usage ends with 64', (t) => saysHowItIsUsed(t, client))
  t.test('an answer is waited for 10 s, however slowly it comes', async (t) => {
    for (const { run, requests, seconds } of await waits) {
      assertUnavailable(t, run, 'no whole answer')
      t.equal(requests, 2, 'one request, one again')
      t.ok(seconds > 19.5 && seconds < 40, `${seconds} s`)
    }
  })
}
