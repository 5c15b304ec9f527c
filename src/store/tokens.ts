import { Coalescer } from './engine/coalescer.ts'
import { type Database, insertMany, paddedList, placeholders, type Row } from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'

export type OperatorToken = {
  readonly id: string
  readonly name: string
  readonly createdAtMs: number
  readonly expiresAtMs: number | null
  readonly revokedAtMs: number | null
}

export type TokenStore = {
  create(token: OperatorToken, hash: string, event: EventRow): Promise<void>
  findByHash(hash: string): Promise<OperatorToken | null>
  list(): Promise<OperatorToken[]>
  /** @returns `false` when there is no living token with this id. */
  revoke(id: string, nowMs: number, event: EventRow): Promise<boolean>
}

const COLUMNS = ['id', 'name', 'created_at_ms', 'expires_at_ms', 'revoked_at_ms']

function fromColumns(row: Row): OperatorToken {
  return {
    id: String(row.id),
    name: String(row.name),
    createdAtMs: Number(row.created_at_ms),
    expiresAtMs: row.expires_at_ms as number | null,
    revokedAtMs: row.revoked_at_ms as number | null,
  }
}

export function tokenStore(db: Database): TokenStore {
  const select = `SELECT ${COLUMNS.join(', ')} FROM kunci_tokens`
  const byHash = new Coalescer<string, OperatorToken | null>(
    async (hashes) => {
      const wanted = paddedList(hashes)
      const sql = `SELECT token_hash, ${COLUMNS.join(', ')} FROM kunci_tokens WHERE token_hash IN (${placeholders(wanted.length)})`
      const found = new Map((await db.all(sql, wanted)).map((row) => [row.token_hash, fromColumns(row)]))
      return hashes.map((hash) => found.get(hash) ?? null)
    },
    { maxItems: 64, lanes: 1 },
  )
  return {
    create: ({ id, name, createdAtMs, expiresAtMs, revokedAtMs }, hash, event) =>
      db.batch([
        insertMany(
          'kunci_tokens',
          [...COLUMNS, 'token_hash'],
          [[id, name, createdAtMs, expiresAtMs, revokedAtMs, hash]],
        ),
        insertEvents([event]),
      ]),
    findByHash: (hash) => byHash.submit(hash),
    list: async () => (await db.all(`${select} ORDER BY created_at_ms, id`)).map(fromColumns),
    revoke: (id, nowMs, event) =>
      db.transaction(async (tx) => {
        const sql = 'UPDATE kunci_tokens SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL'
        const changed = await tx.run(sql, [nowMs, id])
        if (changed === 1) await tx.run(...insertEvents([event]))
        return changed === 1
      }),
  }
}
