import { Readable, Writable } from 'node:stream'
import { run } from '../../src/cli/run.ts'
import type { TestEnv } from './databases.ts'

type Outcome = { readonly code: number; readonly stdout: string; readonly stderr: string }

function sink(): { stream: Writable; text: () => string } {
  const chunks: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk))
      done()
    },
  })
  return { stream, text: () => chunks.join('') }
}

/** Runs one command line in this process. */
export function kunci(env: TestEnv, ...argv: string[]): Promise<Outcome> {
  return piped('', env, ...argv)
}

/** The same, with something on its stdin. */
export async function piped(stdin: string | Uint8Array, env: TestEnv, ...argv: string[]): Promise<Outcome> {
  const [stdout, stderr] = [sink(), sink()]
  const streams = { stdout: stdout.stream, stderr: stderr.stream, stdin: Readable.from([stdin]) }
  const code = await run(argv, env, streams)
  return { code, stdout: stdout.text(), stderr: stderr.text() }
}

/** What a command prints with --json. @throws {Error} unless it succeeds. */
export async function json(env: TestEnv, ...argv: string[]) {
  const { code, stdout, stderr } = await kunci(env, ...argv, '--json')
  if (code !== 0) throw new Error(`kunci ${argv.join(' ')} ended with ${code}: ${stderr}`)
  return JSON.parse(stdout)
}

/** How a command fails with --json. @throws {Error} when it succeeds. */
export async function failure(env: TestEnv, ...argv: string[]) {
  const { code, stdout, stderr } = await kunci(env, ...argv, '--json')
  if (code === 0) throw new Error(`kunci ${argv.join(' ')} succeeded: ${stdout}`)
  return { exitCode: code, stdout, ...JSON.parse(stderr) }
}
