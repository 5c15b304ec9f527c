import { randomUUID } from 'node:crypto'
import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { SetupError } from '../errors.ts'
import type { Database } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'
import { readRing, ringChecksOf, ringFile } from './keyring.ts'
import { type Ring, type RingName, ringText } from './ring.ts'
import { keyCheckNotes, lockKeyChecks, readKeyChecks, requireFirst } from './settings.ts'

/** A ring as who would change it finds it. */
export type FoundRing = {
  readonly ring: Ring
  /** The ids of every key of this ring that the database has ever met. */
  readonly metIds: readonly string[]
  /** When its file was last written. */
  readonly writtenMs: number
}

export type KeyFileStore = {
  /**
   * Changes a ring in its file, whole or not at all. Of two who change it at once, on whatever node, one waits and then
   * finds what the other has made.
   * @param decide what the file is to hold, and what is recorded. What it throws changes nothing.
   * @throws {SetupError} when the ring is not the one the database knows, or its file cannot be written.
   */
  change<T extends { readonly ring: Ring; readonly event: EventRow }>(
    name: RingName,
    decide: (found: FoundRing) => T,
  ): Promise<T>
}

/** Puts a text in the place of a file's, for the same owner; a link still leads to it. */
function replaceFile(file: string, text: string): void {
  let draft: string | undefined
  try {
    const place = realpathSync(file)
    draft = `${place}.${randomUUID()}`
    writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true })
    const [{ uid, gid }, made] = [statSync(place), statSync(draft)]
    // Made by root for a server of another account, which could not read it any more.
    if (uid !== made.uid) chownSync(draft, uid, gid)
    renameSync(draft, place)
    syncDirectory(dirname(place))
  } catch (error) {
    if (draft !== undefined && existsSync(draft)) rmSync(draft)
    throw new SetupError(`${file} cannot be written: ${(error as Error).message}`)
  }
}

/** After a power cut the database must not know of a key that the directory has forgotten. Windows has no such call. */
function syncDirectory(directory: string): void {
  if (process.platform === 'win32') return
  const handle = openSync(directory, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

export function keyFileStore(db: Database, directory: string): KeyFileStore {
  return {
    change: async (name, decide) => {
      const file = ringFile(directory, name)
      let decided: ReturnType<typeof decide> | undefined
      return db.transaction(async (tx) => {
        const reader = { all: tx.all, dialect: db.dialect }
        await lockKeyChecks(tx, name, db.clock())
        const known = await readKeyChecks(reader)
        if (decided === undefined) {
          const ring = readRing(directory, name, known)
          if (ring === null) throw new SetupError(`${file} is missing.`)
          const ids = [...known.keys()].filter((key) => key.startsWith(`${name}.`))
          const metIds = ids.map((key) => key.slice(name.length + 1))
          decided = decide({ ring, metIds, writtenMs: statSync(file).mtimeMs })
        }
        const checks = ringChecksOf(name, decided.ring)
        const notes = keyCheckNotes(db.dialect, checks, db.clock())
        for (const statement of [...notes, insertEvents([decided.event])]) await tx.run(...statement)
        requireFirst(checks, await readKeyChecks(reader))
        // Before the commit: were it the other way round, a start would ask for a key that nobody holds.
        replaceFile(file, ringText(decided.ring))
        return decided
      })
    },
  }
}
