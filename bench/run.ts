import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { scratchDirectory } from '../test/support/children.ts'
import { type Arguments, commandOf, HELP, readArguments, UsageError } from './arguments.ts'
import { replaceSection } from './document.ts'
import { openLab } from './lab.ts'
import { autocannonDriver } from './load/autocannon.ts'
import type { Driver } from './load/load.ts'
import { findWrk, wrkDriver } from './load/wrk.ts'
import { conditions } from './machine.ts'
import { syncMs } from './measure.ts'
import { createProgress, type Progress } from './progress.ts'
import { comparison } from './sections/comparison.ts'
import { million } from './sections/million.ts'
import { sealed } from './sections/sealed.ts'
import { NothingToMeasure, type Section } from './sections/section.ts'
import { soakFor } from './sections/soak.ts'
import { streamsOf } from './sections/streams.ts'
import { workers } from './sections/workers.ts'
import { NoResult } from './turns.ts'

const CONNECTIONS = 32

async function chooseDriver(wish: Arguments['driver'], progress: Progress): Promise<Driver> {
  const wrk = wish === 'autocannon' ? undefined : findWrk()
  if (wrk !== undefined) return wrkDriver(wrk)
  if (wish === 'wrk')
    throw new UsageError('wrk is not installed. Debian, Ubuntu: apt-get install wrk; macOS: brew install wrk')
  if (wish === undefined)
    progress.note(
      'wrk is not installed (Debian, Ubuntu: apt-get install wrk), so autocannon takes its place, and more of the cores',
    )
  return autocannonDriver()
}

function sectionsOf(args: Arguments): Section[] {
  const extra = [
    ...(args.million ? [million] : []),
    ...(args.soakMinutes === undefined ? [] : [soakFor(args.soakMinutes)]),
    ...(args.workers ? [workers] : []),
    ...(args.sealed ? [sealed] : []),
    ...(args.streams === undefined ? [] : [streamsOf(args.streams)]),
  ]
  return extra.length > 0 ? extra : [comparison]
}

function write(file: string, name: string, body: string): void {
  writeFileSync(file, replaceSection(existsSync(file) ? readFileSync(file, 'utf8') : '', name, body))
}

async function measure(
  section: Section,
  args: Arguments,
  command: string,
  progress: Progress,
): Promise<void> {
  // Everything that a section starts ends with it; what is left after a Ctrl-C is ended by the guard of children.ts.
  await using cleanup = new AsyncDisposableStack()
  const { seconds, rounds, only } = args
  const driver = await chooseDriver(args.driver, progress)
  const lab = openLab({ driver, seconds, rounds, only, connections: CONNECTIONS }, progress, cleanup)
  // Now, as afterwards the disk is still busy with what was measured.
  const durableMs = syncMs(scratchDirectory())
  const tables = await section.measure(lab)
  const body = `\`${command}\`, ${conditions(lab, new Date(), durableMs)}\n\n${tables}`
  process.stdout.write(`${body}\n`)
  if (args.out === undefined) return
  write(args.out, section.name, body)
  progress.note(`wrote the section "${section.name}" of ${args.out}`)
}

async function main(argv: readonly string[]): Promise<number> {
  const progress = createProgress((line) => process.stderr.write(`${line}\n`))
  try {
    const args = readArguments(argv)
    if (args.help) {
      process.stdout.write(HELP)
      return 0
    }
    for (const section of sectionsOf(args)) await measure(section, args, commandOf(argv), progress)
    return 0
  } catch (error) {
    const isForeseen = [UsageError, NothingToMeasure, NoResult].some((kind) => error instanceof kind)
    process.stderr.write(`bench: ${isForeseen ? (error as Error).message : (error as Error).stack}\n`)
    return error instanceof UsageError || error instanceof NothingToMeasure ? 2 : 1
  }
}

process.exitCode = await main(process.argv.slice(2))
