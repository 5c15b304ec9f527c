import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { commandOf, readArguments, UsageError } from '../../bench/arguments.ts'
import { replaceSection } from '../../bench/document.ts'
import type { Figures } from '../../bench/load/load.ts'
import { findWrk } from '../../bench/load/wrk.ts'
import { report, spreadOf } from '../../bench/report.ts'
import { trendOf } from '../../bench/sections/soak.ts'
import { workerCounts } from '../../bench/sections/workers.ts'
import { orderOf, type Turn } from '../../bench/turns.ts'
import { scratchDirectory } from '../support/children.ts'
import { until } from '../support/installation.ts'

const RUN = fileURLToPath(new URL('../../bench/run.ts', import.meta.url))

function watched(round: number, cpu: Partial<Turn>): Partial<Turn> {
  const delay = (maxMs: number) => ({ p50Ms: 1, p99Ms: maxMs / 2, maxMs })
  return { ...cpu, othersShare: round / 10, loopDelay: delay(2 * round), idleDelay: delay(4 - round) }
}

function turn(target: string, round: number, requests: number, p99Ms: number, cpuS?: number): Turn {
  const figures: Figures = { requests, seconds: 2, p50Ms: 1, p99Ms, errors: {} }
  return {
    target,
    round,
    figures,
    ...(cpuS === undefined ? {} : watched(round, { serverCpuS: cpuS, driverCpuS: 1 })),
  }
}

// Of a machine that is twice as fast in round 2.
const TURNS = [
  ...[turn('ours', 1, 200, 4, 0.5), turn('ours', 2, 400, 2, 0.5), turn('ours', 3, 210, 4, 0.5)],
  ...[turn('theirs', 1, 100, 8), turn('theirs', 2, 200, 4), turn('theirs', 3, 100, 8)],
]

t.test('ratios are taken within each round, and stand before everything else', async (t) => {
  const ratio = { label: 'ours / theirs', of: 'requests/s', over: 'ours', under: 'theirs' } as const
  t.same(spreadOf(ratio, TURNS), { median: 2, min: 2, max: 2.1 })
  t.equal(spreadOf({ ...ratio, under: 'not measured' }, TURNS), undefined)
  const memory = new Map([['ours', { cpuS: 9, rssMib: 100.4, peakMib: 120 }]])
  const ratios = [
    ratio,
    { ...ratio, of: 'p99' } as const,
    { ...ratio, label: 'absent', under: 'not measured' },
  ]
  t.equal(
    report({ turns: TURNS, memory }, ratios),
    `| ratio | of | median | min – max |
| --- | --: | --: | --: |
| ours / theirs | requests/s | **2.00** | 2.00 – 2.10 |
| ours / theirs | p99 | **0.50** | 0.50 – 0.50 |

Other programs had 20 % of the cores meanwhile, in one turn 30 %.

|  | requests/s | p50 ms | p99 ms | server CPU | database CPU | driver | errors |
| --- | --: | --: | --: | --: | --: | --: | --: |
| ours | 105 | 1.00 | 4.00 | 2.381 | – | 50 % | 0 |
| theirs | 50 | 1.00 | 8.00 | – | – | – | 0 |

| event loop | p50 ms | p99 ms | max ms | idle: p99 ms | idle: max ms |
| --- | --: | --: | --: | --: | --: |
| ours | 1.00 | 2.00 | 6.00 | 1.00 | 3.00 |

| server | RSS at the end, MiB | peak, MiB |
| --- | --: | --: |
| ours | 100 | 120 |`,
  )
})

t.test('in every round the targets come in another order, each once', async (t) => {
  const orders = [0, 1, 2, 3, 4].map((round) => orderOf(['a', 'b', 'c', 'd', 'e'], round).join(''))
  t.equal(new Set(orders).size, 5)
  t.equal(new Set(orders.map((order) => order[0])).size, 5, 'each is first once')
  for (const order of orders) t.equal([...order].sort().join(''), 'abcde')
})

t.test('a section is replaced and hand-written text stays', async (t) => {
  const once = replaceSection('# Title\n\nBy hand.\n', 'soak', 'first')
  t.match(once, /^# Title\n\nBy hand\.\n\n## Soak\n\n<!-- begin soak.*-->\n\nfirst\n\n<!-- end soak -->\n$/)
  const edited = once.replace('## Soak', '## Memory\n\nAlso by hand.').concat('\nAfter it.\n')
  t.equal(replaceSection(edited, 'soak', 'second'), edited.replace('first', 'second'))
  const both = replaceSection(edited, 'million', 'other')
  t.equal(replaceSection(both, 'soak', 'second'), both.replace('first', 'second'), 'others stay too')
  t.throws(() => replaceSection('<!-- begin soak: written by npm run bench -->', 'soak', ''), /put it back/)
  const manual = readFileSync(new URL('../../docs/performance.md', import.meta.url), 'utf8')
  for (const name of ['comparison', 'million', 'soak', 'workers', 'sealed'])
    t.equal(
      replaceSection(manual, name, '').split('\n## ').length,
      manual.split('\n## ').length,
      `${name} is there`,
    )
})

t.test('options are read, and refused with a word on what is wrong', async (t) => {
  t.match(readArguments([]), { seconds: 5, rounds: 5, out: 'docs/performance.md', soakMinutes: undefined })
  t.match(readArguments(['--only', 'SQLite']), { out: undefined })
  t.match(readArguments(['--only', 'sqlite', '--write']), { out: 'docs/performance.md', only: /sqlite/i })
  t.match(readArguments(['--only', 'x', '--out', 'y.md']), { out: 'y.md' })
  t.match(readArguments(['--soak', '--million']), { soakMinutes: 10, million: true })
  t.match(readArguments(['--soak', '3']), { soakMinutes: 3, sealed: false })
  t.match(readArguments(['--streams', '--million']), { streams: 5000, million: true })
  t.match(readArguments(['--streams', '40']), { streams: 40, soakMinutes: undefined })
  t.match(readArguments(['--sealed']), { sealed: true, out: 'docs/performance.md' })
  const refused = (argv: readonly string[]) => {
    try {
      return readArguments(argv)
    } catch (error) {
      return error instanceof UsageError ? error.message : error
    }
  }
  t.equal(refused(['--seconds', '0']), '--seconds must be a whole number from 1 to 600')
  t.equal(refused(['--rounds', 'x']), '--rounds must be a whole number from 1 to 100')
  t.equal(refused(['--driver', 'ab']), '--driver must be wrk or autocannon')
  t.equal(refused(['--only', '(']), '--only ( is not a regular expression')
  t.match(refused(['--fast']), /Unknown option '--fast'/)
  t.match(refused(['fast']), /Unexpected argument 'fast'/)
  t.equal(commandOf([]), 'npm run bench')
  t.equal(
    commandOf(['--out', '/home/me/x.md', '--only', 'SQLite: check', '--out=y']),
    "npm run bench -- --only 'SQLite: check'",
  )
})

t.test('memory that grows shows a slope, and flat memory none', async (t) => {
  const at = (rssOf: (i: number) => number) =>
    trendOf(Array.from({ length: 30 }, (_, i) => ({ atS: i * 2, rssMib: rssOf(i) })))
  t.match(
    at(() => 100),
    { firstMib: 100, lastMib: 100, mibPerHour: 0 },
  )
  const { firstMib, lastMib, mibPerHour } = at((i) => 100 + i)
  t.same([firstMib, lastMib, Math.round(mibPerHour)], [104.5, 124.5, 1800])
  t.same([1, 2, 3, 4, 6].map(workerCounts), [[1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6]])
})

type Started = {
  child: ChildProcess
  out: string
  ended: Promise<{ code: number | null; all: string }>
  said: () => string
}

/** Runs the whole program, with its tables into a file that has text of its own. */
function start(t: Pick<Test, 'teardown'>, ...args: string[]): Started {
  const out = join(mkdtempSync(join(scratchDirectory(), 'bench-')), 'tables.md')
  writeFileSync(out, 'By hand.\n')
  const child = spawn(process.execPath, [RUN, '--rounds', '1', '--out', out, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => void child.kill('SIGTERM'))
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (more) => (stderr += more))
  const stdout = text(child.stdout)
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve)).then(async (code) => ({
    code,
    all: (await stdout) + stderr,
  }))
  return { child, out, ended, said: () => stderr }
}

const RUNS: readonly [string, string, string | false][] = [
  ['wrk', 'Kunci on SQLite: check', findWrk() === undefined && 'wrk is not installed'],
  ['autocannon', 'bare Fastify route', false],
]

for (const [driver, name, skip] of RUNS)
  t.test(`a run with ${driver} ends with a table and leaves the rest of the file`, { skip }, async (t) => {
    const { out, ended } = start(t, '--seconds', '1', '--driver', driver, '--only', name)
    const { code, all } = await ended
    t.equal(code, 0, all)
    const tables = readFileSync(out, 'utf8')
    t.match(tables, /^By hand\.\n\n## Comparison\n\n<!-- begin/)
    t.match(
      tables,
      new RegExp(`\\n\\| ${name} \\| [\\d,]{3,} \\| \\d+\\.\\d+ \\| \\d+\\.\\d+ \\|.*\\| 0 \\|\\n`),
    )
    t.match(
      tables,
      new RegExp(`\\d+ cores, .*Node ${process.versions.node}, Fastify 5.*, ${driver} \\d`, 's'),
    )
    t.notMatch(tables, new RegExp(`${hostname()}|${process.cwd()}|${scratchDirectory()}`))
  })

t.test('a run of sealed checks stands beside their crypto alone, and tells of the event loop', async (t) => {
  const [alone, check] = ['crypto alone: record S1', 'Kunci on SQLite: check S1']
  const { out, ended } = start(t, '--sealed', '--seconds', '1', '--only', `${alone}|${check}`)
  const { code, all } = await ended
  t.equal(code, 0, all)
  const tables = readFileSync(out, 'utf8')
  const number = '[\\d,.]+'
  const rows = [
    `${check} / its crypto alone \\| requests/s \\| .*`,
    `${alone} \\|( ${number} \\|){3} – \\| – \\| – \\| 0 \\|`,
    `${check} \\|( ${number} \\|){4} – \\| \\d+ % \\| 0 \\|`,
    `${check} \\|( ${number} \\|){5}`,
  ]
  for (const row of rows) t.match(tables, new RegExp(`\\n\\| ${row}\\n`))
})

t.test('a request of somebody who is signed in stands beside one of anybody', async (t) => {
  const { out, ended } = start(t, '--seconds', '1', '--only', 'sessions on SQLite')
  const { code, all } = await ended
  t.equal(code, 0, all)
  t.match(
    readFileSync(out, 'utf8'),
    /\n\| a route, sessions on SQLite: what .* costs, in others \| .* \| \*\*\d\.\d/,
  )
})

const noProc = !existsSync('/proc/self/stat') && 'there is no /proc here'

t.test(
  'a run of streams says what they weigh, and how soon each node tells them',
  { skip: noProc },
  async (t) => {
    const { out, ended } = start(t, '--streams', '8', '--only', 'Kunci on SQLite')
    const { code, all } = await ended
    t.equal(code, 0, all)
    const tables = readFileSync(out, 'utf8')
    const rows = [
      'Kunci on SQLite \\| 8 \\|( [\\d.-]+ \\|){6}',
      'Kunci on SQLite \\| 8 \\|( [\\d.]+ \\|){3}',
      'Kunci on SQLite, told on another node \\| 8 \\|( [\\d.]+ \\|){3}',
    ]
    for (const row of rows) t.match(tables, new RegExp(`\\n\\| ${row}\\n`))
  },
)

/** The commands of all processes below this one, by pid. */
function descendantsOf(pid: number): Map<number, string> {
  const found = new Map<number, string>()
  for (const id of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
    try {
      const parent = Number(readFileSync(`/proc/${id}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1])
      if (parent !== pid) continue
      found.set(id, readFileSync(`/proc/${id}/cmdline`, 'utf8').replaceAll('\0', ' '))
      for (const [below, command] of descendantsOf(id)) found.set(below, command)
    } catch {
      // It has ended in between.
    }
  }
  return found
}

t.test('a server that dies in the middle makes no result, and no table', { skip: noProc }, async (t) => {
  const { child, out, ended, said } = start(t, '--seconds', '1', '--driver', 'autocannon', '--only', 'bare')
  await until('the first turn is over', () => said().includes('warm-up, bare'))
  const [server] =
    [...descendantsOf(child.pid ?? 0)].find(([, command]) => command.includes('bare-route.ts')) ?? []
  process.kill(server ?? 0, 'SIGKILL')
  const { code, all } = await ended
  t.equal(code, 1)
  t.match(all, /No result, as there were errors:\n {2}bare Fastify route, round 1: .*connection broken/)
  t.equal(readFileSync(out, 'utf8'), 'By hand.\n')
})

t.test('Ctrl-C leaves no process behind', { skip: noProc }, async (t) => {
  const { child, ended, said } = start(t, '--seconds', '5', '--only', 'bare')
  await until('the load is on', () => said().includes('turns, about'))
  const children = [...descendantsOf(child.pid ?? 0).keys()]
  t.ok(children.length >= 2)
  child.kill('SIGINT')
  await ended
  await until('all have ended', () => children.every((pid) => !existsSync(`/proc/${pid}`)), 5000)
})

t.test('what cannot be measured is a usage error', async (t) => {
  const { code, all } = await start(t, '--only', 'no such target').ended
  t.equal(code, 2)
  t.match(all, /No target matches .*There are:\n {2}bare Fastify route\n/s)
})
