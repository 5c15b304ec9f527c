#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { run } from './cli/run.ts'

const { stdin, stdout, stderr } = process

/** `.env` of the current directory; `undefined` when it is there but cannot be read. */
function dotEnv(): NodeJS.Dict<string> | undefined {
  try {
    return parseEnv(readFileSync('.env', 'utf8').replace(/^\uFEFF/, ''))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return {}
    stderr.write(`kunci: .env cannot be read: ${message}\n`)
    return undefined
  }
}

// Whoever reads our output may stop at any time, as `head` does.
for (const stream of [stdout, stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })

const file = dotEnv()
// biome-ignore lint/style/noProcessEnv: the one place that reads the environment
const env = { ...file, ...process.env }
process.exitCode = file === undefined ? 5 : await run(process.argv.slice(2), env, { stdin, stdout, stderr })
