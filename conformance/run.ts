import type { WriteStream } from 'node:tty'
import { type Arguments, HELP, readArguments, UsageError } from './arguments.ts'
import { attack, harnessClient, type Options, programClient, wordsOf } from './index.ts'
import { json, painted, plain, table } from './report.ts'

/** On a terminal one line that is written over; elsewhere a line a row. */
function progressOn(stream: WriteStream): Pick<Options, 'onProgress' | 'onRow'> & { clear(): void } {
  if (!stream.isTTY)
    return {
      onRow: ({ suite, case: name, verdict }) => stream.write(`attack: ${suite} ${name}: ${verdict}\n`),
      clear: () => {},
    }
  const clear = () => {
    stream.cursorTo(0)
    stream.clearLine(0)
  }
  return {
    onProgress: (suite, name, way) => {
      clear()
      stream.write(`${suite} ${name}: ${way}`.slice(0, stream.columns - 1))
    },
    clear,
  }
}

async function play({ target, suites, only, timeoutMs, jobs, json: isJson }: Arguments): Promise<number> {
  const client = target.kind === 'program' ? programClient(wordsOf(target.name)) : harnessClient(target.name)
  const { clear, ...progress } = progressOn(process.stderr)
  const rows = await attack({
    ...{ client, timeoutMs, ...progress },
    ...(suites === undefined ? {} : { suites }),
    ...(only === undefined ? {} : { only }),
    ...(jobs === undefined ? {} : { jobs }),
  })
  clear()
  if (rows.length === 0) throw new UsageError('the client has no suite in which there is something to play')
  const paint = process.stdout.isTTY ? painted : plain
  process.stdout.write(`${isJson ? json(target.name, rows) : table(rows, paint)}\n`)
  return rows.some(({ verdict }) => verdict === 'failed') ? 1 : 0
}

async function main(argv: readonly string[]): Promise<number> {
  try {
    const args = readArguments(argv)
    if (!args.help) return await play(args)
    process.stdout.write(HELP)
    return 0
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`attack: ${error.message}\n`)
    return 2
  }
}

process.exitCode = await main(process.argv.slice(2))
