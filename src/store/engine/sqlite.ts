import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type Clock, systemClock } from '../../clock.ts'
import { StoreError } from '../../errors.ts'
import {
  type Database,
  DuplicateKeyError,
  type Row,
  type Session,
  type Statement,
  type Value,
} from './database.ts'
import type { Call, Reply } from './sqlite-worker.ts'

const UNIQUE_VIOLATIONS = new Set([1555, 2067])

type Waiting = { resolve: (reply: Reply) => void; reject: (error: StoreError) => void }

/** The worker thread as a function from call to reply. A worker that died is replaced at the next call. */
class WorkerLink {
  readonly #path: string
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #lastId = 0

  constructor(path: string) {
    this.#path = path
  }

  call(call: Call): Promise<Reply> {
    const worker = this.#started()
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      worker.postMessage({ id, call })
    })
  }

  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker
    const worker = new Worker(new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: this.#path,
    })
    this.#worker = worker
    worker.on('message', (reply: Reply) => this.#settle(reply))
    let cause: unknown
    worker.on('error', (error) => {
      cause = error
    })
    worker.on('exit', () => this.#abandon(new StoreError(`SQLite: cannot use ${this.#path}`, { cause })))
    return worker
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (reply.error === undefined) waiting?.resolve(reply)
    else {
      const Kind = UNIQUE_VIOLATIONS.has(reply.error.errcode) ? DuplicateKeyError : StoreError
      waiting?.reject(new Kind(`SQLite: ${reply.error.message}`))
    }
  }

  #abandon(error: StoreError): void {
    this.#worker = undefined
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

/** SQLite through `node:sqlite` in a worker thread: WAL, and a commit is on the disk before it is answered. */
export class SqliteDatabase implements Database {
  readonly dialect = 'sqlite'
  readonly clock: Clock = systemClock
  readonly #link: WorkerLink
  /** Settles when the last write that was let in is done: one writer at a time. */
  #lastWrite: Promise<unknown> = Promise.resolve()

  constructor(path: string) {
    this.#link = new WorkerLink(path)
  }

  async all<T extends Row>(sql: string, params: readonly Value[] = []): Promise<T[]> {
    return (await this.#link.call({ kind: 'all', on: 'reader', sql, params })).rows as T[]
  }

  run(sql: string, params: readonly Value[] = []): Promise<number> {
    return this.#alone(async () => (await this.#link.call({ kind: 'run', sql, params })).changes ?? 0)
  }

  batch(statements: readonly Statement[]): Promise<void> {
    return this.#alone(async () => {
      await this.#link.call({ kind: 'batch', statements })
    })
  }

  transaction<T>(work: (tx: Session) => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      await this.#link.call({ kind: 'begin' })
      try {
        const result = await work(this.#session)
        await this.#link.call({ kind: 'commit' })
        return result
      } catch (error) {
        await this.#link.call({ kind: 'rollback' }).catch(() => undefined)
        throw error
      }
    })
  }

  exclusively<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.transaction(work)
  }

  async close(): Promise<void> {
    await this.#alone(() => this.#link.call({ kind: 'close' }))
  }

  readonly #session: Session = {
    all: async <T extends Row>(sql: string, params: readonly Value[] = []) =>
      (await this.#link.call({ kind: 'all', on: 'writer', sql, params })).rows as T[],
    run: async (sql, params = []) => (await this.#link.call({ kind: 'run', sql, params })).changes ?? 0,
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastWrite.then(work)
    this.#lastWrite = result.catch(() => undefined)
    return result
  }
}
