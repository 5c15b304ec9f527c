import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type Clock, systemClock } from '../../clock.ts'
import { StoreError } from '../../errors.ts'
import { Slots } from '../../slots.ts'
import {
  type Database,
  DuplicateKeyError,
  type Row,
  type Session,
  STORE_TIMEOUT_MS,
  type Statement,
  type Value,
} from './database.ts'
import type { Call, Message, Reply, Start } from './sqlite-worker.ts'

const UNIQUE_VIOLATIONS = new Set([1555, 2067])

type Waiting = { resolve: (reply: Reply) => void; reject: (error: StoreError) => void }

/** A worker thread as a function from call to reply. A worker that died is replaced at the next call. */
class WorkerLink {
  readonly #start: Start
  #worker: Worker | undefined
  /** The calls of this worker that it has not answered, by the id of the message. */
  #waiting = new Slots<Waiting>()
  #isClosed = false

  constructor(start: Start) {
    this.#start = start
  }

  /** @param worker the one that began the transaction which this call is part of. */
  call(call: Call, worker = this.worker(), deadlineMs = Date.now() + STORE_TIMEOUT_MS): Promise<Reply> {
    // Its rest would be committed without its beginning by the thread that took over.
    if (worker !== this.#worker) return Promise.reject(new StoreError('SQLite: the transaction is lost'))
    return new Promise((resolve, reject) => {
      const id = this.#waiting.add({ resolve, reject })
      const message: Message = { id, call, deadlineMs }
      worker.postMessage(message)
    })
  }

  /** Ends the thread for good: whatever comes after this starts no other. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#worker !== undefined) await this.call({ kind: 'close' }, this.#worker).catch(() => undefined)
  }

  /** @throws {StoreError} once it was closed. */
  worker(): Worker {
    if (this.#isClosed) throw new StoreError('SQLite: the database is closed')
    if (this.#worker !== undefined) return this.#worker
    const worker = new Worker(new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: this.#start,
      // Loaders and the like that this process was started with are nothing to a thread that holds a file.
      execArgv: [],
    })
    this.#worker = worker
    worker.on('message', (reply: Reply) => this.#settle(reply))
    let cause: unknown
    worker.on('error', (error) => {
      cause = error
    })
    worker.on('exit', () => {
      const why = cause instanceof Error ? `: ${cause.message}` : ''
      this.#abandon(new StoreError(`SQLite: cannot use ${this.#start.path}${why}`, { cause }))
    })
    return worker
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.take(reply.id)
    if (reply.error === undefined) waiting?.resolve(reply)
    else {
      const Kind = UNIQUE_VIOLATIONS.has(reply.error.errcode) ? DuplicateKeyError : StoreError
      waiting?.reject(new Kind(`SQLite: ${reply.error.message}`))
    }
  }

  #abandon(error: StoreError): void {
    const abandoned = this.#waiting.all()
    this.#worker = undefined
    this.#waiting = new Slots()
    for (const { reject } of abandoned) reject(error)
  }
}

/** SQLite through `node:sqlite` in two worker threads, one that writes and one that reads: WAL, and a commit is on the disk before it is answered. */
export class SqliteDatabase implements Database {
  readonly dialect = 'sqlite'
  readonly clock: Clock = systemClock
  readonly #writer: WorkerLink
  readonly #reader: WorkerLink
  /** Settles when the last transaction that was let in is over. */
  #lastTransaction: Promise<unknown> = Promise.resolve()
  /** Writes of one message each. Several may be under way: the worker does one after the other, and never waits for us. */
  readonly #writes = new Slots<Promise<unknown>>()

  constructor(path: string) {
    this.#writer = new WorkerLink({ path, role: 'writer' })
    this.#reader = new WorkerLink({ path, role: 'reader' })
  }

  async all<T extends Row>(sql: string, params: readonly Value[] = []): Promise<T[]> {
    return (await this.#reader.call({ kind: 'all', sql, params })).rows as T[]
  }

  run(sql: string, params: readonly Value[] = []): Promise<number> {
    return this.#betweenTransactions(async (deadlineMs) => {
      const reply = await this.#writer.call({ kind: 'run', sql, params }, undefined, deadlineMs)
      return reply.changes ?? 0
    })
  }

  batch(statements: readonly Statement[]): Promise<void> {
    return this.#betweenTransactions(async (deadlineMs) => {
      await this.#writer.call({ kind: 'batch', statements }, undefined, deadlineMs)
    })
  }

  transaction<T>(work: (tx: Session) => Promise<T>): Promise<T> {
    return this.#alone(async (deadlineMs) => {
      const worker = this.#writer.worker()
      await this.#writer.call({ kind: 'begin' }, worker, deadlineMs)
      try {
        const result = await work(this.#sessionOn(worker))
        await this.#writer.call({ kind: 'commit' }, worker)
        return result
      } catch (error) {
        await this.#writer.call({ kind: 'rollback' }, worker).catch(() => undefined)
        throw error
      }
    })
  }

  exclusively<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.transaction(work)
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#lastTransaction, ...this.#writes.all()])
    await this.#reader.close()
    await this.#writer.close()
  }

  #sessionOn(worker: Worker): Session {
    return {
      all: async <T extends Row>(sql: string, params: readonly Value[] = []) =>
        (await this.#writer.call({ kind: 'all', sql, params }, worker)).rows as T[],
      run: async (sql, params = []) =>
        (await this.#writer.call({ kind: 'run', sql, params }, worker)).changes ?? 0,
    }
  }

  #betweenTransactions<T>(work: (deadlineMs: number) => Promise<T>): Promise<T> {
    const result = this.#lastTransaction.then(inTime(work))
    const settled = () => void this.#writes.take(place)
    const place = this.#writes.add(result.then(settled, settled))
    return result
  }

  #alone<T>(work: (deadlineMs: number) => Promise<T>): Promise<T> {
    const result = Promise.all([this.#lastTransaction, ...this.#writes.all()]).then(inTime(work))
    this.#lastTransaction = result.catch(() => undefined)
    return result
  }
}

/** Behind a lock that another process holds the last of a queue would otherwise wait for the patience of all others. */
function inTime<T>(work: (deadlineMs: number) => Promise<T>): () => Promise<T> {
  const deadlineMs = Date.now() + STORE_TIMEOUT_MS
  return () => {
    if (Date.now() > deadlineMs) throw new StoreError('SQLite: another process holds the lock for too long')
    return work(deadlineMs)
  }
}
