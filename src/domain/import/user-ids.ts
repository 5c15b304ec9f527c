import { createHash } from 'node:crypto'
import { lp } from '../../crypto/encoding.ts'
import type { Random } from '../../random.ts'

/** Below are numbers that older systems count up, and are kept; from here on are ours. */
const IMPORTED_MIN = 2 ** 40
/** What ids of ours have been at least since February 2025, and no imported one is. */
const IMPORTED_END = 2 ** 47
const NUMBER_BYTES = 6
/** So many derived ids can be taken by somebody else before none is found. */
const TRIES = 4
const SESSION_ID_BYTES = 16

function digest(label: string, ...parts: readonly string[]): Buffer {
  const hash = createHash('sha256').update(lp(label))
  for (const part of parts) hash.update(lp(part))
  return hash.digest()
}

/** The number that an old id is where it is one that we can keep: from 1 to 2^40 - 1. */
export function keptNumber(oldId: string): number | null {
  const number = /^[1-9]\d{0,12}$/.test(oldId) ? Number(oldId) : IMPORTED_MIN
  return number < IMPORTED_MIN ? number : null
}

/** The ids that follow from an old one of any kind, the same at each import: from 2^40 to 2^47 - 1. */
export function derivedUserIds(oldId: string): number[] {
  const span = IMPORTED_END - IMPORTED_MIN
  return Array.from({ length: TRIES }, (_, i) => {
    const bytes = digest('kunci/imported-user', oldId, String(i))
    return IMPORTED_MIN + (bytes.readUIntBE(0, NUMBER_BYTES) % span)
  })
}

/** The ids that a user may get, the dearest first. */
export function candidateIds(oldId: string): number[] {
  const kept = keptNumber(oldId)
  return [...(kept === null ? [] : [kept]), ...derivedUserIds(oldId)]
}

/** How an imported session is named in public, 32 hex, the same at each import. It follows from no token. */
export function importedSessionId(userId: number, oldId: string): string {
  const bytes = digest('kunci/imported-session', String(userId), oldId)
  return bytes.toString('hex', 0, SESSION_ID_BYTES)
}

/** Counts up from a random number between 2^40 and 2^46 + 2^40: rows of one run stand together, those of two apart. */
export function sessionNumbers(random: Random): () => number {
  let next = IMPORTED_MIN + (random(NUMBER_BYTES).readUIntBE(0, NUMBER_BYTES) % 2 ** 46)
  return () => next++
}
