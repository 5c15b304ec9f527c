import type { ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { get as httpGet } from 'node:http'
import { get as httpsGet } from 'node:https'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { spawnGuarded } from './children.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const BIN = fileURLToPath(new URL('../../src/bin.ts', import.meta.url))
const DEFAULT_TIMEOUT_MS = 20_000

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

/**
 * A TCP port of 127.0.0.1 that nobody listens on. It lies below those that systems give to outgoing
 * connections, so that it is still free when a stopped server starts again on it.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(20_000, 32_000)
    if (await isFree(port)) return port
  }
  throw new Error('No free TCP port found')
}

/** What was said on stderr beside the way to the first superadmin, which every new server tells. */
export function complaints(stderr: readonly string[]): string[] {
  return stderr.filter((line) => line !== '' && !/no superadmin yet|\/api\/setup /.test(line))
}

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

type Env = Readonly<Record<string, string>>

export type KunciOptions = {
  readonly cwd?: string
  /** What it reads on stdin; without it stdin is empty. */
  readonly stdin?: string
  /** Where `waitReady` asks. Default: 127.0.0.1 at `env.PORT`, by HTTPS where `env.TLS_CERT` is set. */
  readonly baseUrl?: string
  /** The Node that runs it. Default: this one. */
  readonly node?: string
}

export type KunciProcess = {
  readonly pid: number
  /** Whole lines so far; later ones are added to the same array. */
  readonly stdout: readonly string[]
  readonly stderr: readonly string[]
  /** Settles when it has ended and all its output is here. */
  readonly exited: Promise<Exit>
  /** The first line of either output that matches, written already or yet to come. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<string>
  /** Waits until GET /health/ready answers 200, and returns the base URL. */
  waitReady(timeoutMs?: number): Promise<string>
  /** Sends the signal (SIGTERM) and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<Exit>
}

/**
 * With PATH and HOME as the only things from outside: no developer's own settings may leak into a test. By
 * `env -i`, as tap adds variables of its own, and a module to load, to whatever environment a child is given
 * here.
 */
function spawnBin(args: readonly string[], env: Env, options: KunciOptions): ChildProcess {
  const all = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env }
  const settings = Object.entries(all).map(([name, value]) => `${name}=${value}`)
  const child = spawnGuarded(
    '/usr/bin/env',
    ['-i', ...settings, options.node ?? process.execPath, BIN, ...args],
    {
      cwd: options.cwd ?? ROOT,
      stdio: [options.stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    },
  )
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.stdin)
  for (const pipe of pipesOf(child)) pipe.setEncoding('utf8').unref()
  return child
}

function pipesOf(child: ChildProcess): Socket[] {
  return [child.stdout, child.stderr] as Socket[]
}

/** A forgotten child must not keep a test file from ending, hence the `unref`s; here somebody waits. */
function endOf(child: ChildProcess): () => Promise<Exit> {
  const end = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  end.catch(() => {})
  return () => {
    child.ref()
    for (const pipe of pipesOf(child)) pipe.ref()
    return end
  }
}

type Transcript = {
  readonly stdout: string[]
  readonly stderr: string[]
  readonly all: string[]
  ended: boolean
  /** Called after every change. */
  readonly watchers: Set<() => void>
}

function listen(child: ChildProcess): Transcript {
  const heard: Transcript = { stdout: [], stderr: [], all: [], ended: false, watchers: new Set() }
  const changed = () => {
    for (const watch of heard.watchers) watch()
  }
  for (const name of ['stdout', 'stderr'] as const) {
    let rest = ''
    const take = (lines: readonly string[]) => {
      heard[name].push(...lines)
      heard.all.push(...lines)
      changed()
    }
    child[name]?.on('data', (text: string) => {
      const lines = `${rest}${text}`.split('\n')
      rest = lines.pop() ?? ''
      take(lines)
    })
    child[name]?.on('end', () => take(rest === '' ? [] : [rest]))
  }
  child.once('close', () => {
    heard.ended = true
    changed()
  })
  return heard
}

function tail(heard: Transcript): string {
  return `${heard.ended ? 'It has ended. ' : ''}Its output:\n${heard.all.slice(-40).join('\n')}`
}

function lineOf(heard: Transcript, pattern: RegExp, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const settle = (line: string | undefined) => {
      clearTimeout(timer)
      heard.watchers.delete(look)
      if (line !== undefined) resolve(line)
      else reject(new Error(`No line matches ${pattern} after up to ${timeoutMs} ms. ${tail(heard)}`))
    }
    const look = () => {
      const line = heard.all.find((line) => pattern.test(line))
      if (line !== undefined || heard.ended) settle(line)
    }
    const timer = setTimeout(() => settle(undefined), timeoutMs)
    heard.watchers.add(look)
    look()
  })
}

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: 2000, rejectUnauthorized: false, agent: false as const }
    const request = url.startsWith('https:') ? httpsGet(url, options) : httpGet(url, options)
    request.on('response', (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(undefined))
    request.on('close', () => resolve(undefined))
  })
}

function baseUrlOf(env: Env, { baseUrl }: KunciOptions): string {
  if (baseUrl !== undefined) return baseUrl
  if (!Number(env.PORT)) throw new Error('waitReady needs env.PORT or options.baseUrl')
  return `${env.TLS_CERT ? 'https' : 'http'}://127.0.0.1:${env.PORT}`
}

/** Starts `kunci …args` from its source. It is killed when this process ends, in whatever way. */
export function spawnKunci(args: readonly string[], env: Env = {}, options: KunciOptions = {}): KunciProcess {
  const child = spawnBin(args, env, options)
  const heard = listen(child)
  const end = endOf(child)
  return {
    pid: child.pid ?? 0,
    stdout: heard.stdout,
    stderr: heard.stderr,
    get exited() {
      return end()
    },
    waitForLine: (pattern, timeoutMs = DEFAULT_TIMEOUT_MS) => lineOf(heard, pattern, timeoutMs),
    waitReady: async (timeoutMs = DEFAULT_TIMEOUT_MS) => {
      const baseUrl = baseUrlOf(env, options)
      const deadlineMs = Date.now() + timeoutMs
      while ((await statusOf(`${baseUrl}/health/ready`)) !== 200) {
        if (heard.ended || Date.now() > deadlineMs)
          throw new Error(`${baseUrl} did not become ready. ${tail(heard)}`)
        await sleep(50)
      }
      return baseUrl
    },
    kill: (signal = 'SIGTERM') => {
      child.kill(signal)
      return end()
    },
  }
}

/** Runs `kunci …args` to its end. */
export async function runKunci(
  args: readonly string[],
  env: Env = {},
  options: KunciOptions = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawnBin(args, env, options)
  const output = { stdout: '', stderr: '' }
  child.stdout?.on('data', (text: string) => {
    output.stdout += text
  })
  child.stderr?.on('data', (text: string) => {
    output.stderr += text
  })
  const { code } = await endOf(child)()
  return { code, ...output }
}
