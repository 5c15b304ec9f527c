/**
 * A thread that holds a connection to the SQLite file. There are two: a commit waits for the disk and a write may wait for
 * another process's lock; on a thread of their own neither holds up the server's event loop, and reads go on meanwhile.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { type Row, STORE_TIMEOUT_MS, type Statement, type Value } from './database.ts'

export type Call =
  | { kind: 'all'; sql: string; params: readonly Value[] }
  | { kind: 'run'; sql: string; params: readonly Value[] }
  | { kind: 'batch'; statements: readonly Statement[] }
  | { kind: 'begin' | 'commit' | 'rollback' }
  | { kind: 'close' }

/** What a thread is started with. The reader's connection cannot write. */
export type Start = { readonly path: string; readonly role: 'reader' | 'writer' }

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
/** 16 MiB of log: a page that is written again and again goes into the file once for all of them. */
const CHECKPOINT_PAGES = 4096
const CACHE_KIB = 32 * 1024

function open({ path, role }: Start): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 0 })
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;' +
      `PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; PRAGMA cache_size = -${CACHE_KIB}`,
  )
  if (role === 'reader') db.exec('PRAGMA query_only = ON')
  return db
}

function preparer(db: DatabaseSync): (sql: string) => StatementSync {
  const statements = new Map<string, StatementSync>()
  return (sql) => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    if (statements.size >= PREPARED_MAX) statements.clear()
    const fresh = db.prepare(sql)
    statements.set(sql, fresh)
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

const db = await patiently(Date.now() + STORE_TIMEOUT_MS, () => open(workerData as Start))
const prepared = preparer(db)

function runBatch(statements: readonly Statement[]): void {
  db.exec('BEGIN IMMEDIATE')
  try {
    for (const [sql, params] of statements) prepared(sql).run(...params)
    db.exec('COMMIT')
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

const BOUNDARY = { begin: 'BEGIN IMMEDIATE', commit: 'COMMIT', rollback: 'ROLLBACK' } as const

async function serve(call: Call, deadlineMs: number): Promise<Omit<Reply, 'id'>> {
  switch (call.kind) {
    case 'all':
      return { rows: await patiently(deadlineMs, () => prepared(call.sql).all(...call.params) as Row[]) }
    case 'run':
      return {
        changes: Number((await patiently(deadlineMs, () => prepared(call.sql).run(...call.params))).changes),
      }
    case 'batch':
      await patiently(deadlineMs, () => runBatch(call.statements))
      return {}
    case 'close':
      db.close()
      return {}
    case 'begin':
    case 'commit':
    case 'rollback':
      await patiently(deadlineMs, () => db.exec(BOUNDARY[call.kind]))
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
