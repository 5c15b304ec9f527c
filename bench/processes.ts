import type { ChildProcess } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { scratchDirectory, spawnGuarded } from '../test/support/children.ts'

const READY_TIMEOUT_MS = 20_000
const STOP_TIMEOUT_MS = 15_000

type Env = Readonly<Record<string, string>>

/** Settles with the exit code, or with `null` after a signal. @throws {Error} when it could not be started. */
export function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode)
  child.ref()
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code))
  })
}

export type ServerProcess = { readonly pid: number; stop(): Promise<void> }

async function answers(url: string): Promise<boolean> {
  try {
    const reply = await fetch(url, { signal: AbortSignal.timeout(2000) })
    await reply.arrayBuffer()
    return reply.status === 200
  } catch {
    return false
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const end = ended(child)
  child.kill('SIGTERM')
  const lastResort = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await end
  clearTimeout(lastResort)
}

/**
 * Starts a Node program with these settings and no others, and waits until `readyUrl` answers 200. Its log goes to
 * /dev/null: to read it here would take the time that is to be measured. It ends with this process, in whatever way.
 * @throws {Error} with what it wrote to stderr, when it does not become ready.
 */
export async function startServer(
  args: readonly string[],
  env: Env,
  readyUrl: string,
): Promise<ServerProcess> {
  const home = mkdtempSync(join(scratchDirectory(), 'server-'))
  const settings = { PATH: process.env.PATH ?? '', NODE_ENV: 'production', ...env }
  const errors = openSync(join(home, 'stderr'), 'w')
  // By `env -i`, as whoever runs this (npm, tap) has variables of its own; away from any `.env`.
  const child = spawnGuarded(
    '/usr/bin/env',
    ['-i', ...Object.entries(settings).map(([name, value]) => `${name}=${value}`), process.execPath, ...args],
    { cwd: home, stdio: ['ignore', 'ignore', errors] },
  )
  child.on('error', () => {})
  closeSync(errors)
  for (const deadlineMs = Date.now() + READY_TIMEOUT_MS; !(await answers(readyUrl)); await sleep(50)) {
    const isOver = child.pid === undefined || child.exitCode !== null || child.signalCode !== null
    if (!isOver && Date.now() < deadlineMs) continue
    await stop(child)
    const said = readFileSync(join(home, 'stderr'), 'utf8').trim()
    throw new Error(`node ${args.join(' ')} ${isOver ? 'ended' : 'did not become ready'}. It said:\n${said}`)
  }
  return { pid: child.pid ?? 0, stop: () => stop(child) }
}
