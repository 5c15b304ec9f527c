/**
 * The thread that holds the SQLite file. A commit waits for the disk and a write may wait for another process's lock;
 * here neither holds up the server's event loop. Reads have a connection of their own, so that they see nothing
 * uncommitted and go on while a write waits.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { type Row, STORE_TIMEOUT_MS, type Statement, type Value } from './database.ts'

export type Call =
  | { kind: 'all'; on: 'reader' | 'writer'; sql: string; params: readonly Value[] }
  | { kind: 'run'; sql: string; params: readonly Value[] }
  | { kind: 'batch'; statements: readonly Statement[] }
  | { kind: 'begin' | 'commit' | 'rollback' }
  | { kind: 'close' }

/** `deadlineMs`: until when, in epoch milliseconds, the worker waits for a lock that another process holds. */
export type Message = { id: number; call: Call; deadlineMs: number }

export type Reply = {
  id: number
  rows?: Row[]
  changes?: number
  error?: { message: string; errcode: number }
}

const LOCK_RETRY_MS = 5
const PREPARED_MAX = 500
const SQLITE_BUSY = 5

function open(path: string, readOnly: boolean): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 0 })
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY',
  )
  if (readOnly) db.exec('PRAGMA query_only = ON')
  return db
}

function preparer(db: DatabaseSync): (sql: string) => StatementSync {
  const prepared = new Map<string, StatementSync>()
  return (sql) => {
    const known = prepared.get(sql)
    if (known !== undefined) return known
    if (prepared.size >= PREPARED_MAX) prepared.clear()
    const fresh = db.prepare(sql)
    prepared.set(sql, fresh)
    return fresh
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY
}

/** Repeats `work` while another process holds the lock, without holding up this thread's reads. */
async function patiently<T>(deadlineMs: number, work: () => T): Promise<T> {
  for (; ; await sleep(LOCK_RETRY_MS)) {
    try {
      return work()
    } catch (error) {
      if (!isBusy(error) || Date.now() > deadlineMs) throw error
    }
  }
}

const path = String(workerData)
const startDeadlineMs = Date.now() + STORE_TIMEOUT_MS
const writer = await patiently(startDeadlineMs, () => open(path, false))
const reader = await patiently(startDeadlineMs, () => open(path, true))
const write = preparer(writer)
const read = preparer(reader)

function runBatch(statements: readonly Statement[]): void {
  writer.exec('BEGIN IMMEDIATE')
  try {
    for (const [sql, params] of statements) write(sql).run(...params)
    writer.exec('COMMIT')
  } catch (error) {
    if (writer.isTransaction) writer.exec('ROLLBACK')
    throw error
  }
}

const BOUNDARY = { begin: 'BEGIN IMMEDIATE', commit: 'COMMIT', rollback: 'ROLLBACK' } as const

async function serve(call: Call, deadlineMs: number): Promise<Omit<Reply, 'id'>> {
  switch (call.kind) {
    case 'all': {
      const prepare = call.on === 'reader' ? read : write
      return { rows: await patiently(deadlineMs, () => prepare(call.sql).all(...call.params) as Row[]) }
    }
    case 'run':
      return {
        changes: Number((await patiently(deadlineMs, () => write(call.sql).run(...call.params))).changes),
      }
    case 'batch':
      await patiently(deadlineMs, () => runBatch(call.statements))
      return {}
    case 'close':
      reader.close()
      writer.close()
      return {}
    case 'begin':
    case 'commit':
    case 'rollback':
      await patiently(deadlineMs, () => writer.exec(BOUNDARY[call.kind]))
      return {}
  }
}

parentPort?.on('message', async ({ id, call, deadlineMs }: Message) => {
  let reply: Reply
  try {
    reply = { id, ...(await serve(call, deadlineMs)) }
  } catch (error) {
    const { message, errcode = 0 } = error as Error & { errcode?: number }
    reply = { id, error: { message, errcode } }
  }
  parentPort?.postMessage(reply)
  if (call.kind === 'close') parentPort?.close()
})
