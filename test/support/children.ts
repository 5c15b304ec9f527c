import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Hears "+ pid" and "- pid" (a negative pid is a whole process group) until its pipe closes. The kernel
// closes it however this process ends, SIGKILL included; no handler inside this process could promise that.
const GUARD = `
pids=
while read -r sign pid; do
  others=
  for p in $pids; do [ "$p" = "$pid" ] || others="$others $p"; done
  pids=$others
  [ "$sign" = - ] || pids="$pids $pid"
done
for p in $pids; do kill -s KILL -- "$p"; done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
`

type Guard = { readonly directory: string; tell(line: string): void }

let guard: Guard | undefined

function startGuard(): Guard {
  // A Unix socket's path may have about 100 bytes, and the default directory of macOS takes half of them.
  const base = tmpdir().length > 60 ? '/tmp' : tmpdir()
  const directory = mkdtempSync(join(base, 'kunci-'))
  // In a process group of its own, so that Ctrl-C does not end it before the processes it is there to end.
  const child = spawn('/bin/sh', ['-c', GUARD, 'kunci-test-guard', directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  const pipe = child.stdin as Socket
  pipe.on('error', () => {})
  child.unref()
  pipe.unref()
  return { directory, tell: (line) => pipe.write(`${line}\n`) }
}

function theGuard(): Guard {
  guard ??= startGuard()
  return guard
}

/**
 * A directory of this process alone, with a short path; it is removed when the process ends, in whatever way.
 */
export function scratchDirectory(): string {
  return theGuard().directory
}

/**
 * A child that is killed when this process ends, in whatever way; a detached one with all of its process
 * group. It does not keep this process alive.
 */
export function spawnGuarded(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const { tell } = theGuard()
  const child = spawn(command, args, options)
  if (child.pid !== undefined) {
    const victim = options.detached ? -child.pid : child.pid
    tell(`+ ${victim}`)
    child.once('exit', () => tell(`- ${victim}`))
  }
  child.unref()
  return child
}
