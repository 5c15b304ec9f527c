/**
 * Several processes behind one port. The lead process holds the port, hands connections out in turn, replaces workers
 * that die and cleans up; the workers answer. Between them go counts and the word to stop: nothing a request waits for.
 */
import cluster, { type Address, type Worker } from 'node:cluster'
import { extname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { App } from '../../app.ts'
import { type Counts, sumCounts } from '../../domain/counters.ts'
import { SetupError } from '../../errors.ts'
import { serverUrl } from '../../http/server.ts'

type FromWorker = { readonly counted: Counts }
type FromLead = { readonly countedByOthers: Counts } | { readonly stop: true }

const PROGRAM = fileURLToPath(new URL(`../../bin${extname(import.meta.url)}`, import.meta.url))
const COUNTS_EVERY_MS = 1000
/** A worker that dies is replaced at once; one that dies this young waits, each time twice as long. */
const YOUNG_MS = 10_000
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000

/** The number of this worker, or `undefined` in a process that no other one leads. */
export function workerNumber(): number | undefined {
  return cluster.worker?.id
}

/**
 * In a worker: tells the lead what was counted here, hears what the others counted, and stops when it is told to.
 * @returns what lets go of the lead; until then this process does not end by itself.
 */
export function followLead({ counters }: App, stop: () => void): () => void {
  // A lead that is gone hears nothing; that this process ends too is seen to elsewhere.
  const tell = () =>
    process.send?.({ counted: counters.own() } satisfies FromWorker, undefined, undefined, () => undefined)
  setInterval(tell, COUNTS_EVERY_MS).unref()
  process.on('message', (message: FromLead) => {
    if ('stop' in message) stop()
    else counters.learnOthers(message.countedByOthers)
  })
  return () => cluster.worker?.disconnect()
}

/** @throws {SetupError} when it ends before it listens. */
function listening(worker: Worker): Promise<Address> {
  return new Promise((resolve, reject) => {
    worker.once('listening', resolve)
    worker.once('exit', () =>
      reject(new SetupError('A worker ended before it listened; what it wrote above says why.')),
    )
    worker.once('error', (error) => reject(new SetupError(`A worker cannot be started: ${error.message}`)))
  })
}

function tellToStop(worker: Worker): void {
  worker.send({ stop: true } satisfies FromLead, () => undefined)
}

function living(): Worker[] {
  return Object.values(cluster.workers ?? {}).flatMap((worker) =>
    worker?.process.pid === undefined || worker.isDead() ? [] : [worker],
  )
}

/**
 * Starts `WORKERS` processes of this program and keeps that many alive.
 * @returns the address they share, and `close`, which lets requests in flight finish.
 * @throws {SetupError} when the first ones cannot listen.
 */
export async function startWorkers({
  config,
  logger,
}: App): Promise<{ url: string; close(): Promise<void> }> {
  /** By worker, the dead included: what they counted did happen. */
  const counted = new Map<number, Counts>()
  /** They listen, to this process too: what it says before that is lost. */
  const ready = new WeakSet<Worker>()
  let isStarted = false
  let isStopping = false
  let waitMs = 0

  function fork(): Worker {
    const worker = cluster.fork()
    const bornMs = performance.now()
    let isGone = false
    // A process that cannot even be started ends by an error, one that could by its exit; some by both.
    const gone = (facts: Readonly<Record<string, unknown>>) => {
      if (isGone || !isStarted || isStopping) return
      isGone = true
      logger.error({ event: 'worker.died', worker: worker.id, ...facts })
      void replace(performance.now() - bornMs < YOUNG_MS)
    }
    worker.once('listening', () => {
      ready.add(worker)
      if (isStopping) tellToStop(worker)
    })
    worker.on('message', (message: FromWorker) => counted.set(worker.id, message.counted))
    worker.on('exit', (code, signal) => gone({ code, signal }))
    worker.on('error', (err) => gone({ err }))
    return worker
  }

  /** While it waits it holds this process, which would end in peace if all workers were dead. */
  async function replace(diedYoung: boolean): Promise<void> {
    waitMs = diedYoung ? Math.min(Math.max(2 * waitMs, FIRST_WAIT_MS), LONGEST_WAIT_MS) : 0
    await sleep(waitMs)
    if (isStopping) return
    try {
      fork()
    } catch (err) {
      // Some of what keeps a process from starting is told at once, such as a program that is being written (ETXTBSY).
      logger.error({ event: 'worker.died', err })
      void replace(true)
    }
  }

  function tellCounts(): void {
    for (const worker of living()) {
      const others = [...counted].filter(([id]) => id !== worker.id).map(([, counts]) => counts)
      worker.send({ countedByOthers: sumCounts(others) } satisfies FromLead, () => undefined)
    }
  }

  async function close(): Promise<void> {
    isStopping = true
    clearInterval(timer)
    const ends = living().map((worker) => new Promise((resolve) => worker.once('exit', resolve)))
    for (const worker of living()) if (ready.has(worker)) tellToStop(worker)
    await Promise.all(ends)
  }

  cluster.setupPrimary({ exec: PROGRAM })
  const timer = setInterval(tellCounts, COUNTS_EVERY_MS).unref()
  try {
    // The first alone: what is in its way is in everybody's, and needs to be said once.
    const address = await listening(fork())
    await Promise.all(Array.from({ length: config.workers - 1 }, () => listening(fork())))
    isStarted = true
    // One that died while the others started was nobody's to replace.
    for (let alive = living().length; alive < config.workers; alive++) fork()
    return { url: serverUrl(config, address), close }
  } catch (error) {
    await close()
    throw error
  }
}
