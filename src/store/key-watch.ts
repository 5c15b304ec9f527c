import type { Database } from './engine/database.ts'
import { type FiledRing, readRing, ringChecksOf } from './keyring.ts'
import type { RingName } from './ring.ts'
import { noteKeyChecks, readKeyChecks } from './settings.ts'

const EVERY_MS = 5000

export type KeyWatch = ReturnType<typeof createKeyWatch>

/**
 * Keeps the keys of a running process those of its key files. The database hears of a new key before it is in force; a
 * file that a start would refuse changes nothing, and is tried again at every look until it is whole.
 */
export function createKeyWatch(deps: {
  db: Database
  directory: string
  filed: readonly FiledRing[]
  onReload: (ring: RingName) => void
  /** Called once for each change that could not be taken over. */
  onError: (ring: RingName, error: unknown) => void
}) {
  const { db, directory, filed, onReload, onError } = deps
  const reported = new Map<RingName, string>()
  let looking: Promise<void> | undefined

  /** @param state that of the file, taken before it is read. */
  async function takeOver(each: FiledRing, state: string): Promise<void> {
    const { name } = each
    try {
      const known = await readKeyChecks(db)
      const ring = readRing(directory, name, known)
      // The database knows every ring in use, so a file that is gone was refused.
      if (ring === null) return
      await noteKeyChecks(db, known, new Map(ringChecksOf(name, ring)))
      each.replace(ring, state)
      reported.delete(name)
      onReload(name)
    } catch (error) {
      if (reported.get(name) !== state) onError(name, error)
      reported.set(name, state)
    }
  }

  async function lookOnce(): Promise<void> {
    for (const each of filed) {
      const state = each.changed()
      if (state !== undefined) await takeOver(each, state)
    }
  }

  /** Takes over what has changed since the last look. */
  function look(): Promise<void> {
    looking ??= lookOnce().finally(() => {
      looking = undefined
    })
    return looking
  }

  /** Looks every five seconds. Change notices get lost over network drives; the timer keeps no process alive. */
  function start(): { stop: () => Promise<void> } {
    const timer = setInterval(() => void look(), EVERY_MS).unref()
    return {
      stop: async () => {
        clearInterval(timer)
        await looking
      },
    }
  }

  return { look, start }
}
