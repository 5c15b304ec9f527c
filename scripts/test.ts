import { type ChildProcess, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchDirectory, spawnGuarded } from '../test/support/children.ts'
import { startMariadb } from '../test/support/mariadb.ts'
import { NEEDS, type Need } from './needs.ts'
import { createTestReport, type TestRun } from './test-report.ts'

const TAP = fileURLToPath(new URL('../node_modules/.bin/tap', import.meta.url))
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const INTERRUPT_GRACE_MS = 5000

const missingOnes = () => NEEDS.filter(({ find }) => find() === undefined)

/** What to put before a command that needs root; `undefined` where this user cannot become root unasked. */
function rootPrefix(): string[] | undefined {
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : undefined
}

/** Its exit status is not looked at: what counts is whether the programs are there afterwards. */
function aptGet(prefix: readonly string[], ...args: string[]): void {
  const [command = '', ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args]
  console.log(`$ ${[command, ...rest].join(' ')}`)
  spawnSync(command, rest, { stdio: 'inherit' })
}

function installWithApt(needs: readonly Need[]): void {
  const prefix = rootPrefix()
  if (prefix === undefined || !existsSync('/usr/bin/apt-get')) return
  aptGet(prefix, 'update', '-q')
  const packages = needs.flatMap(({ debian }) => debian.split(' '))
  aptGet(prefix, 'install', '-q', '-y', '--no-install-recommends', ...packages)
}

function howToInstall(needs: readonly Need[]): string {
  const names = (manager: 'debian' | 'fedora' | 'homebrew') =>
    needs.flatMap((need) => need[manager] ?? []).join(' ')
  return [
    `The tests need what this machine lacks: ${needs.map(({ what }) => what).join(', ')}. To install it:`,
    `  Debian, Ubuntu   sudo apt-get install ${names('debian')}`,
    `  Fedora           sudo dnf install ${names('fedora')}`,
    `  macOS            brew install ${names('homebrew')}`,
    'The tests start a private server of their own: none has to run, and none that runs is touched.',
    'A server in an unusual place: KUNCI_TEST_MARIADBD=/path/to/mariadbd npm test',
  ].join('\n')
}

function meetNeeds(): boolean {
  if (missingOnes().length > 0) installWithApt(missingOnes())
  const missing = missingOnes().filter(({ optional }) => !optional)
  if (missing.length > 0) {
    console.error(howToInstall(missing))
    return false
  }
  for (const { what, find } of NEEDS)
    console.log(`${what}: ${find() ?? 'not here, what needs it is skipped'}`)
  return true
}

/** The code a shell would report. */
function exitCode(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)))
  })
}

/** Hands a signal on to tap and to every test file, once: a second one would keep tap from its last words. */
function endWithUs(tap: ChildProcess): void {
  const tell = (signal: NodeJS.Signals) => {
    const hasEnded = tap.exitCode !== null || tap.signalCode !== null
    if (tap.pid !== undefined && !hasEnded) process.kill(-tap.pid, signal)
  }
  let isTold = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (isTold) return
      isTold = true
      tell(signal)
      setTimeout(() => tell('SIGKILL'), INTERRUPT_GRACE_MS).unref()
    })
  }
}

function startTap(args: readonly string[], stdout: 'inherit' | 'pipe'): ChildProcess {
  // V8's coverage slows every file down, and without any tap calls a green run a failure.
  const coverage = args.some((arg) => arg.includes('coverage')) ? [] : ['--disable-coverage']
  // Without stdin and terminal, so that a test does the same wherever it runs; and detached, to be told as a
  // group.
  const tap = spawnGuarded(process.execPath, [TAP, ...coverage, ...args], {
    cwd: ROOT,
    stdio: ['ignore', stdout, 'inherit'],
    detached: true,
  })
  tap.ref()
  endWithUs(tap)
  return tap
}

/**
 * On a terminal tap draws its own report; elsewhere ours, which has a line a file and every failure in full.
 */
async function runTap(args: readonly string[], watched: boolean): Promise<{ code: number; run: TestRun }> {
  const report = createTestReport(watched ? () => {} : console.log)
  if (watched) {
    const file = join(scratchDirectory(), 'run.tap')
    const code = await exitCode(startTap(['-o', file, ...args], 'inherit'))
    if (existsSync(file)) report.write(readFileSync(file, 'utf8'))
    return { code, run: report.end() }
  }
  const tap = startTap(['-R', 'tap', ...args], 'pipe')
  tap.stdout?.setEncoding('utf8').on('data', report.write)
  const code = await exitCode(tap)
  return { code, run: report.end() }
}

/** Ends with the one line that a person, or a machine, reads first. */
function conclude(code: number, { totals, isComplete, skipped, failed }: TestRun): number {
  for (const line of skipped) console.log(`skipped: ${line}`)
  for (const line of failed) console.log(`failed: ${line}`)
  const { passed, failed: failures, skipped: skips } = totals
  const none = passed + failures === 0
  if (!isComplete) console.log(`tap ended with code ${code} before it had run everything.`)
  else if (none) console.log('No test ran.')
  else if (code !== 0 && failures === 0) console.log(`No assertion failed, but tap ended with code ${code}.`)
  console.log(`${passed} passed, ${failures} failed${skips > 0 ? `, ${skips} skipped` : ''}`)
  return code === 0 && (none || !isComplete) ? 1 : code
}

async function main(args: readonly string[]): Promise<number> {
  if (!meetNeeds()) return 1
  const server = process.env.KUNCI_TEST_MYSQL_URL ? undefined : await startMariadb()
  if (server) process.env.KUNCI_TEST_MYSQL_URL = server.rootUrl()
  try {
    const { code, run } = await runTap(args, process.stdout.isTTY && !process.env.CI)
    return conclude(code, run)
  } finally {
    await server?.stop()
  }
}

process.exitCode = await main(process.argv.slice(2))
