import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab } from './lab.ts'
import { type Figures, rateOf } from './load/load.ts'
import type { LoopDelay, LoopWatch } from './loop-watch.ts'
import { endedChildrenCpuS, type Usage, usageOf } from './measure.ts'
import { idle, type Running, type Server, type Target } from './targets.ts'
import { type Work, workFor } from './work.ts'

const WARM_UP_S = 2
/** Lets the one before end what it does behind its answers. */
const PAUSE_MS = 200

/** A target under load once. CPU time is in seconds; it is missing where the system does not tell it. */
export type Turn = {
  readonly target: string
  /** 0: the warm-up, which counts for nothing but its errors. */
  readonly round: number
  readonly figures: Figures
  readonly serverCpuS?: number
  readonly databaseCpuS?: number
  readonly driverCpuS?: number
  /** Of the server's event loop, and of one that nothing happened in meanwhile; where somebody looked. */
  readonly loopDelay?: LoopDelay
  readonly idleDelay?: LoopDelay
  /** The share of all cores that went to programs that have no part in this, from 0 to 1. */
  readonly othersShare?: number
}

/** What a whole run gave. `memory` is that of each server's processes at the end. */
export type Result = { readonly turns: readonly Turn[]; readonly memory: ReadonlyMap<string, Usage> }

/** There were errors, so there is no result. */
export class NoResult extends Error {}

type Ready = Work & { readonly name: string; readonly server?: Server; readonly running?: Running }

async function makeReady(lab: Lab, targets: readonly Target[]): Promise<Ready[]> {
  const started = new Map<Server, Running>()
  const ready: Ready[] = []
  for (const target of targets) {
    if ('run' in target) {
      ready.push({ name: target.name, prepare: async (seconds) => () => target.run(seconds) })
      continue
    }
    const { server, job, name } = target
    if (!started.has(server)) lab.progress.note(`preparing ${server.name}`)
    const running = started.get(server) ?? (await server.start(lab))
    started.set(server, running)
    ready.push({ name, server, running, ...(await workFor(lab, job, running)) })
    lab.progress.note(`${name} answers as it should`)
  }
  return ready
}

type Cpu = { readonly [K in 'server' | 'database' | 'driver' | 'bench' | 'machine' | 'wall']: number }

/** Seconds so far; `undefined` where the system does not tell them. */
function cpuOf({ pid, databasePid }: Partial<Running> = {}): Cpu | undefined {
  const server = pid === undefined ? 0 : usageOf(pid)?.cpuS
  const database = databasePid === undefined ? 0 : usageOf(databasePid)?.cpuS
  const driver = endedChildrenCpuS()
  if (server === undefined || database === undefined || driver === undefined) return undefined
  const { user, system } = process.cpuUsage()
  const busyMs = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0)
  const bench = (user + system) / 1e6
  return { server, database, driver, bench, machine: busyMs / 1000, wall: performance.now() / 1000 }
}

function spent(before: Cpu | undefined, after: Cpu | undefined, running: Running | undefined): Partial<Turn> {
  if (before === undefined || after === undefined) return {}
  const of = (name: keyof Cpu) => after[name] - before[name]
  const others = of('machine') - of('server') - of('database') - of('driver') - of('bench')
  return {
    // Without a server there is no driver either: the child that worked was the target itself.
    ...(running === undefined ? {} : { serverCpuS: of('server'), driverCpuS: of('driver') }),
    ...(running?.databasePid === undefined ? {} : { databaseCpuS: of('database') }),
    othersShare: Math.max(0, others / (of('wall') * cpus().length)),
  }
}

async function takeTurn(lab: Lab, one: Ready, round: number, idle: LoopWatch | undefined): Promise<Turn> {
  const { name, running, prepare, verify = async (figures: Figures) => figures } = one
  const loop = running?.loop
  const seconds = round === 0 ? Math.min(WARM_UP_S, lab.seconds) : lab.seconds
  const run = await prepare(seconds)
  await sleep(PAUSE_MS)
  await Promise.all([loop?.read(), idle?.read()])
  const before = cpuOf(running)
  const figures = await run()
  const after = cpuOf(running)
  const [loopDelay, idleDelay] = await Promise.all([loop?.read(), idle?.read()])
  return {
    ...{ target: name, round, figures: await verify(figures) },
    ...spent(before, after, running),
    ...(loopDelay === undefined || idleDelay === undefined ? {} : { loopDelay, idleDelay }),
  }
}

/** Each comes first as often as any other, and after the same neighbour only every second time. */
export function orderOf<T>(all: readonly T[], round: number): T[] {
  const from = round % all.length
  const others = [...all.slice(from + 1), ...all.slice(0, from)]
  return [...all.slice(from, from + 1), ...(round % 2 === 1 ? others.reverse() : others)]
}

/** @throws {NoResult} that says which target had which errors, when there were any. */
export function requireNoErrors(turns: readonly Turn[]): void {
  const lines = turns
    .filter(({ figures }) => Object.keys(figures.errors).length > 0 || figures.requests === 0)
    .map(({ target, round, figures: { errors, requests, firstBad } }) => {
      const kinds = Object.entries(errors).map(([kind, count]) => `${count} × ${kind}`)
      const example = firstBad === undefined ? '' : `; the first: ${firstBad}`
      return `  ${target}, ${round === 0 ? 'warm-up' : `round ${round}`}: ${kinds.join(', ') || 'no answer'} in ${requests} requests${example}`
    })
  if (lines.length > 0) throw new NoResult(`No result, as there were errors:\n${lines.join('\n')}`)
}

/**
 * Starts what the targets need and puts the load on each in turn, round after round.
 * @throws {NoResult} at the end, when anything was answered that is no success, or not at all.
 */
export async function takeTurns(lab: Lab, targets: readonly Target[]): Promise<Result> {
  const ready = await makeReady(lab, targets)
  const isWatched = ready.some(({ running }) => running?.loop !== undefined)
  const beside = isWatched ? (await idle.start(lab)).loop : undefined
  lab.progress.expect(ready.length * (lab.rounds + 1), lab.seconds + PAUSE_MS / 1000)
  const turns: Turn[] = []
  for (let round = 0; round <= lab.rounds; round++) {
    for (const one of orderOf(ready, round)) {
      const turn = await takeTurn(lab, one, round, beside)
      turns.push(turn)
      const when = round === 0 ? 'warm-up' : `round ${round} of ${lab.rounds}`
      lab.progress.turn(`${when}, ${one.name}: ${Math.round(rateOf(turn.figures))} requests/s`)
    }
  }
  requireNoErrors(turns)
  const memory = new Map<string, Usage>()
  for (const { server, running } of ready) {
    const usage = running === undefined ? undefined : usageOf(running.pid)
    if (server !== undefined && usage !== undefined) memory.set(server.name, usage)
  }
  // In the order of the targets, not in that of the turns.
  const counted = ready.flatMap(({ name }) =>
    turns.filter(({ target, round }) => target === name && round > 0),
  )
  return { turns: counted, memory }
}
