import { toCrockford } from '../crypto/licence-key.ts'
import { SetupError } from '../errors.ts'
import type { Random } from '../random.ts'
import { Coalescer } from './engine/coalescer.ts'
import { type Database, type Reader, type Session, type Statement, upsert } from './engine/database.ts'
import { actualColumns } from './engine/schema.ts'
import type { KeyChecks } from './keyring.ts'

const KEY_CHECK = 'key-check.'
const ISSUER = 'issuer'
const ISSUER_BYTES = 10

/** Asks the database for a sign of life: one question for all who ask at the moment. */
export function pinger(db: Database): () => Promise<void> {
  const pings = new Coalescer<undefined, undefined>(
    async (callers) => {
      await db.all('SELECT 1 FROM kunci_settings WHERE name = ?', ['ping'])
      return callers
    },
    { maxItems: 1000, lanes: 1 },
  )
  return () => pings.submit(undefined)
}

/** The check values of the keys this database was written with; none when it has no tables yet. */
export async function readKeyChecks(db: Reader & Pick<Database, 'dialect'>): Promise<Map<string, string>> {
  const tables = await actualColumns(db, db.dialect)
  if (!tables.get('kunci_settings')?.has('value')) return new Map()
  const rows = await db.all<{ name: string; value: string }>(
    'SELECT name, value FROM kunci_settings WHERE name LIKE ?',
    [`${KEY_CHECK}%`],
  )
  return new Map(rows.map(({ name, value }) => [name.slice(KEY_CHECK.length), value]))
}

/** The statements that note check values; those that are there stay as they are. */
export function keyCheckNotes(
  dialect: Database['dialect'],
  checks: readonly (readonly [name: string, value: string])[],
  nowMs: number,
): Statement[] {
  return checks.map(([name, value]) => {
    const row = { name: KEY_CHECK + name, value, updated_at_ms: nowMs }
    return upsert(dialect, 'kunci_settings', row, { key: 'name' })
  })
}

/** @throws {SetupError} when another node, with other keys, was first. */
export function requireFirst(
  checks: Iterable<readonly [name: string, value: string]>,
  stored: KeyChecks,
): void {
  const other = [...checks].find(([name, value]) => stored.get(name) !== value)
  if (other !== undefined)
    throw new SetupError(
      `Another node made a key of its own for this database a moment ago (${other[0]}).\n` +
        'Copy its KEYS_DIR to this node.',
    )
}

/** Until the transaction ends nobody else gets this far with the same ring. */
export async function lockKeyChecks(tx: Session, ring: string, nowMs: number): Promise<void> {
  const sql = 'UPDATE kunci_settings SET updated_at_ms = ? WHERE name LIKE ?'
  await tx.run(sql, [nowMs, `${KEY_CHECK}${ring}.%`])
}

/**
 * Notes the check values of keys that this database has not met. The first node to write one decides.
 * @throws {SetupError} when another node, with other keys, was first.
 */
export async function noteKeyChecks(db: Database, known: KeyChecks, checks: KeyChecks): Promise<void> {
  const fresh = [...checks].filter(([name]) => !known.has(name) && name !== 'legacy-jwt.env')
  if (fresh.length === 0) return
  // In one transaction: of two nodes with keys of their own each might else be first with some of them.
  await db.batch(keyCheckNotes(db.dialect, fresh, db.clock()))
  requireFirst(fresh, await readKeyChecks(db))
}

/** Who signs, for as long as this database lives: the first node to ask decides. */
export async function issuerOf(db: Database, random: Random): Promise<string> {
  const read = async () => {
    const rows = await db.all<{ value: string }>('SELECT value FROM kunci_settings WHERE name = ?', [ISSUER])
    return rows[0]?.value
  }
  const known = await read()
  if (known !== undefined) return known
  const value = `urn:kunci:${toCrockford(random(ISSUER_BYTES)).toLowerCase()}`
  const row = { name: ISSUER, value, updated_at_ms: db.clock() }
  await db.run(...upsert(db.dialect, 'kunci_settings', row, { key: 'name' }))
  return (await read()) ?? value
}
