import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { readArguments } from '../../conformance/arguments.ts'
import { programClient } from '../../conformance/index.ts'
import { newCustomer, newVendor } from '../../conformance/parties.ts'
import { scratchDirectory } from '../support/children.ts'
import { findFaketime } from '../support/faketime.ts'
import { findJava } from '../support/languages.ts'
import { clientWith, SOUND } from './sound-client.ts'

const fileOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const RUN = fileOf('../../conformance/run.ts')
const PROGRAM = `${process.execPath} ${fileOf('program.ts')}`

async function run(args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
  const child = spawn(process.execPath, [RUN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const code = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await code, stdout, stderr }
}

/** A program of a few lines, in a directory of its own. */
function programOf(name: string, source: string): { command: string; directory: string } {
  const directory = join(scratchDirectory(), name)
  mkdirSync(directory)
  writeFileSync(join(directory, 'client.mjs'), source)
  return { command: `"${process.execPath}" '${join(directory, 'client.mjs')}'`, directory }
}

t.test('a sound program passes in the suites that it has, and the table says so', async (t) => {
  const { code, stdout, stderr } = await run(['--exec', PROGRAM, '--only', 'honest_server'])
  t.equal(code, 0, stderr)
  const row = 'honest_server  nothing: the server is genuine, and strict  allowed   allowed  ✔\n'
  t.equal(
    stdout,
    ['S1', 'S2']
      .map(
        (suite) =>
          `${suite}\n\ncase           what the attacker does                      expected  got      verdict\n${row}\n`,
      )
      .join('')
      .concat('2 passed, 0 failed\n'),
  )
  t.equal(stderr, 'attack: S1 honest_server: passed\nattack: S2 honest_server: passed\n')
})

t.test('a program with a flaw fails its row, and the report says in which variant', async (t) => {
  const command = `${PROGRAM} "follows redirects"`
  const { code, stdout } = await run(['--exec', command, '--suite', 'S1', '--only', 'redirect'])
  t.equal(code, 1)
  t.match(stdout, /^redirect .* unavailable {2}went there {2}✘$/m)
  t.match(stdout, '\n✘ redirect: 301 at /v1/session: the client asked the other host\n')
  t.match(stdout, /\n0 passed, 1 failed\n$/)
})

t.test(
  'a program is started as the example clients are, and asked to keep a lease until it refuses',
  async (t) => {
    const source = `import { appendFileSync } from 'node:fs'
    const args = process.argv.slice(2)
    appendFileSync(import.meta.dirname + '/told', JSON.stringify([args, process.env.KUNCI_RETRY_MS]) + '\\n')
    if (args.includes('--lease')) process.exit(64)
    console.log(JSON.stringify({ outcome: 'denied' }))
    process.exit(1)`
    const { command, directory } = programOf('told', source)
    const { code, stdout } = await run([
      '--exec',
      command,
      '--suite',
      'S2',
      '--only',
      'recorded_hello',
      '--json',
    ])
    t.equal(code, 1)
    const told = readFileSync(join(directory, 'told'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const [[withLease, waits], [withoutLease]] = told
    t.match(withLease.join(' '), /--lease-key [\w-]{43}:[\w-]{43}:[\w-]{43} --lease \S+\.lease$/)
    t.equal(waits, '10,10,10')
    t.same(withoutLease, withLease.slice(0, -4))
    const options = withoutLease.filter((_: string, i: number) => i % 2 === 0)
    t.same(options, ['--server', '--suite', '--pin', '--licence', '--tool', ...Array(6).fill('--hw')])
    t.match(withoutLease[5], /^[0-9a-f]{16}:[\w-]{87}$/)
    const { rows, ...counts } = JSON.parse(stdout)
    t.same(counts, { client: command, passed: 0, failed: 1, not_played: 0 })
    t.match(rows, [{ suite: 'S2', case: 'recorded_hello', got: 'no honest run', verdict: 'failed' }])
  },
)

for (const [what, source, detail] of [
  [
    'crashes',
    `process.stderr.write('Segmentation fault\\n'); process.exit(139)`,
    'exit code 139: Segmentation fault',
  ],
  [
    'ends with 0 but says it was denied',
    `console.log('{"outcome":"denied"}')`,
    'exit code 0, but the last line is {"outcome":"denied"}',
  ],
  ['says nothing', '', 'exit code 0, but the last line is )'],
] as const)
  t.test(`a program that ${what} fails`, async (t) => {
    const { command } = programOf(what.replaceAll(' ', '-'), source)
    const { code, stdout } = await run(['--exec', command, '--suite', 'S1', '--only', 'recorded_reply'])
    t.equal(code, 1)
    t.match(stdout, detail)
  })

const noFaketime = findFaketime() === undefined && 'faketime is not installed'

t.test('the clock of a program is moved, and one that believes it fails', { skip: noFaketime }, async (t) => {
  const flawed = await run([
    '--exec',
    `${PROGRAM} 'believes its own clock'`,
    '--suite',
    'S1',
    '--only',
    'moved_clock',
  ])
  t.match(
    flawed.stdout,
    '✘ moved_clock: ahead: unavailable instead of allowed; it said: Session key obtained | JWT token parsed | ',
  )
  const sound = await run(['--exec', PROGRAM, '--suite', 'S1', '--only', 'moved_clock'])
  t.equal(sound.code, 0, sound.stdout)
})

t.test('a program whose clock is moved waits as long as it means to', { skip: noFaketime }, async (t) => {
  const file = join(scratchDirectory(), 'Patient.java')
  // Java waits as Mono does: by a condition variable and the monotonic clock.
  writeFileSync(
    file,
    `class Patient {
      public static synchronized void main(String[] options) throws Exception {
        long start = System.nanoTime();
        Patient.class.wait(300);
        System.out.println(System.currentTimeMillis() + " " + (System.nanoTime() - start));
        System.out.println("{\\"outcome\\":\\"allowed\\"}");
      }
    }`,
  )
  const patient = programClient([findJava() ?? 'java', file])
  for (const days of [365, -365]) {
    const run = { case: '', state: '', serverUrl: '', suite: 'S2', clockOffsetS: days * 86_400 } as const
    const everybody = { pins: newVendor().pins, ...newCustomer() }
    const { outcome, said = '' } = await patient({ ...run, ...everybody }, AbortSignal.timeout(60_000))
    const [nowMs = 0, waitedNs = 0] = said.split(/\s/).map(Number)
    t.equal(outcome, 'allowed', said)
    t.equal(Math.round((nowMs - Date.now()) / 86_400_000), days)
    t.ok(waitedNs >= 300e6, said)
  }
})

t.test('where faketime is missing the row is not played, and the report says so', async (t) => {
  const empty = join(scratchDirectory(), 'empty')
  mkdirSync(empty)
  const env = { ...process.env, PATH: empty }
  const { code, stdout } = await run(['--exec', PROGRAM, '--suite', 'S1', '--only', 'moved_clock'], env)
  t.equal(code, 0)
  t.match(stdout, /^moved_clock .* not played {2}–$/m)
  t.match(stdout, '– moved_clock: ahead: faketime is not installed')
  t.match(stdout, '0 passed, 0 failed, 1 not played')
})

/** A harness around the sound client, which has no S3, and notes what it is told. */
async function harness(t: Pick<Test, 'teardown'>) {
  const told: Record<string, unknown>[] = []
  const server = createServer(async (request, reply) => {
    const run = JSON.parse(await text(request))
    told.push(run)
    if (run.suite === 'S3') return reply.writeHead(501).end('no S3 here')
    const { server_url: serverUrl, hw: hardware, clock_offset_s: clockOffsetS, ...rest } = run
    const answer = await clientWith(SOUND)(
      { serverUrl, hardware, clockOffsetS, ...rest },
      AbortSignal.timeout(60_000),
    )
    reply.end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { told, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

t.test('a harness is told all that it needs, and 501 is a suite that it has not', async (t) => {
  const { told, url } = await harness(t)
  const { code, stdout } = await run([url, '--only', 'moved_clock', '--json'])
  t.equal(code, 0)
  const { client, passed, rows } = JSON.parse(stdout)
  t.strictSame([client, passed, rows.map(({ suite }: { suite: string }) => suite)], [url, 2, ['S1', 'S2']])
  t.same(
    told.map((run) => [run.suite, run.case, run.clock_offset_s]),
    [
      ...['S1', 'S2'].flatMap((suite) => [
        [suite, 'suites', 0],
        [suite, 'moved_clock', 0],
        [suite, 'moved_clock', 31_536_000],
        [suite, 'moved_clock', -31_536_000],
      ]),
      ['S3', 'suites', 0],
    ],
  )
  t.same(Object.keys(told[0] ?? {}).sort(), [
    ...['case', 'clock_offset_s', 'hw', 'licence', 'pins', 'server_url', 'state', 'suite', 'tool'],
  ])
  t.equal(new Set(told.map(({ state }) => state)).size, told.length, 'each run stores its lease elsewhere')
})

t.test('a suite that was asked for and is not there fails', async (t) => {
  const { code, stdout } = await run(['--exec', PROGRAM, '--suite', 'S3', '--only', 'honest_server'])
  t.equal(code, 1)
  t.match(stdout, '✘ honest_server: the honest run before: unsupported (there is no suite S3 here)')
})

t.test('an address where no harness is fails every row', async (t) => {
  const { url } = await harness(t)
  const { code, stdout } = await run([`${url}elsewhere/`, '--suite', 'S1', '--only', 'redirect'])
  t.equal(code, 0, 'the harness does not look at its path')
  const dead = await run(['http://127.0.0.1:1', '--suite', 'S1', '--only', 'redirect'])
  t.equal(dead.code, 1)
  t.match(dead.stdout, 'the honest run before: broken (fetch failed)')
  t.match(stdout, '1 passed')
})

t.test('a client without any suite is a usage error, as is every wrong option', async (t) => {
  const { command } = programOf('nothing', 'process.exit(64)')
  const { code, stdout, stderr } = await run(['--exec', command])
  t.same([code, stdout], [2, ''])
  t.equal(stderr, 'attack: the client has no suite in which there is something to play\n')
  for (const [argv, message] of [
    [[], /name one client/],
    [['--exec', 'a', 'http://127.0.0.1:1'], /name one client/],
    [['http://127.0.0.1:1', 'http://127.0.0.1:2'], /name one client/],
    [['127.0.0.1:9000'], /127.0.0.1:9000 is not the URL of a harness/],
    [['ftp://127.0.0.1'], /is not the URL of a harness/],
    [['--exec', 'a', '--suite', 'S4'], /--suite must be/],
    [['--exec', 'a', '--suite', 'constructor'], /--suite must be/],
    [['--exec', 'a', '--only', 'nothing'], /no case nothing. There are:\n {2}honest_server\n/],
    [['--exec', 'a', '--timeout', '0'], /--timeout 0 is not/],
    [['--exec', 'a', '--timeout', '1e3'], /--timeout 1e3 is not/],
    [['--exec', 'a', '--jobs=-1'], /--jobs -1 is not/],
    [['--exec', 'a', '--what'], /--what/],
  ] as const)
    t.throws(() => readArguments(argv), { message }, argv.join(' '))
  t.match(readArguments(['--exec', 'a', '--suite', 'all', '--timeout', '0.5', '--jobs', '3']), {
    ...{ suites: ['S1', 'S2', 'S3'], timeoutMs: 500, jobs: 3, only: undefined },
  })
  const help = await run(['--help'])
  t.equal(help.code, 0)
  t.match(help.stdout, '--exec COMMAND')
})
