import { SetupError } from '../../errors.ts'
import type { Database, Row, Session } from './database.ts'
import { hasIndex } from './schema.ts'

const BATCH_ROWS = 500

type ColumnShape = {
  name: string
  type: string
  collation: string | null
  extra: string
  fallback: string | null
}

/** Wraps one plain key for its row, or returns `null` when the row holds nothing that could ever have opened. */
export type WrapPlainRow = (sessionId: string, key: string, iv: string) => { key: string; iv: string } | null

const ASCII = 'CHARACTER SET ascii COLLATE ascii_bin NOT NULL'
const WANTED: readonly (readonly [column: string, type: string, definition: string])[] = [
  ['id', 'bigint', 'BIGINT UNSIGNED NOT NULL AUTO_INCREMENT'],
  ['session_id', 'varchar(64)', `VARCHAR(64) ${ASCII}`],
  ['session_key', 'varchar(128)', `VARCHAR(128) ${ASCII}`],
  ['session_iv', 'varchar(64)', `VARCHAR(64) ${ASCII}`],
  ['client_ip', 'varchar(45)', `VARCHAR(45) ${ASCII}`],
  ['created_at', 'timestamp', 'TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP'],
  ['expires_at', 'timestamp', 'TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP'],
]

function isAsWanted(shape: ColumnShape | undefined, type: string): boolean {
  if (shape === undefined || !shape.type.startsWith(type)) return false
  if (type.startsWith('varchar')) return shape.collation === 'ascii_bin'
  if (type === 'timestamp')
    return /current_timestamp/i.test(shape.fallback ?? '') && !/on update/i.test(shape.extra)
  return /unsigned/.test(shape.type) && /auto_increment/i.test(shape.extra)
}

/** The clauses that turn the table an operator has into ours, in one ALTER, so that it happens whole or not at all. */
async function mysqlClauses(session: Session): Promise<string[]> {
  const shapes = await session.all<ColumnShape>(
    `SELECT column_name AS name, column_type AS type, collation_name AS collation, extra AS extra,
            column_default AS fallback
     FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'session_keys'`,
  )
  const clauses = WANTED.filter(
    ([column, type]) =>
      !isAsWanted(
        shapes.find(({ name }) => name === column),
        type,
      ),
  ).map(([column, , definition]) => `MODIFY ${column} ${definition}`)
  const [table] = await session.all<{ engine: string; collation: string }>(
    `SELECT engine AS engine, table_collation AS collation FROM information_schema.tables
     WHERE table_schema = DATABASE() AND table_name = 'session_keys'`,
  )
  // Other engines neither commit nor roll back.
  if (table?.engine !== 'InnoDB') clauses.push('ENGINE = InnoDB')
  // What a column gets that somebody adds.
  if (!table?.collation.startsWith('utf8mb4')) clauses.push('DEFAULT CHARACTER SET utf8mb4')
  // A second index on a unique column is written for nothing at every hand-out.
  if (await hasIndex(session, 'mysql', 'session_keys', 'idx_session_id'))
    clauses.push('DROP INDEX idx_session_id')
  const indexed = await session.all<{ name: string; non_unique: number }>(
    `SELECT column_name AS name, non_unique AS non_unique FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = 'session_keys' AND seq_in_index = 1
     AND index_name <> 'idx_session_id'`,
  )
  if (!indexed.some(({ name, non_unique }) => name === 'session_id' && Number(non_unique) === 0))
    clauses.push('ADD UNIQUE KEY session_id (session_id)')
  if (!indexed.some(({ name }) => name === 'expires_at')) clauses.push('ADD KEY idx_expires (expires_at)')
  return clauses
}

async function refuseUnreadableIds(session: Session): Promise<void> {
  // By length: a regular expression that ignores case takes the sign of the kelvin for the letter k.
  const isNotAscii = WANTED.filter(([, type]) => type.startsWith('varchar')).map(
    ([column]) => `LENGTH(CONVERT(${column} USING utf8mb4)) > CHAR_LENGTH(${column})`,
  )
  const rows = await session.all<{ id: number }>(
    `SELECT id FROM session_keys WHERE expires_at > UTC_TIMESTAMP() AND (${isNotAscii.join(' OR ')}) LIMIT 5`,
  )
  if (rows.length === 0) return
  throw new SetupError(
    `session_keys has living rows with characters that no session key has (id ${rows.map(({ id }) => id).join(', ')}).\n` +
      'Nothing was changed. Look at them, and if they are not needed remove them:\n' +
      `  DELETE FROM session_keys WHERE id IN (${rows.map(({ id }) => id).join(', ')});`,
  )
}

async function wrapPlainRows(session: Session, wrap: WrapPlainRow): Promise<void> {
  type PlainRow = Row & { id: number; session_id: string; session_key: string; session_iv: string }
  for (let lastId = 0; ; ) {
    const rows = await session.all<PlainRow>(
      `SELECT id, session_id, session_key, session_iv FROM session_keys
       WHERE id > ? AND session_key NOT LIKE 'w1.%' ORDER BY id LIMIT ${BATCH_ROWS}`,
      [lastId],
    )
    for (const row of rows) {
      const wrapped = wrap(row.session_id, row.session_key, row.session_iv)
      // A row that holds no key in any form never opens again either way; it is left for the cleaner.
      if (wrapped === null) continue
      await session.run(
        'UPDATE session_keys SET session_key = ?, session_iv = ? WHERE id = ? AND session_key = ?',
        [wrapped.key, wrapped.iv, row.id, row.session_key],
      )
    }
    if (rows.length < BATCH_ROWS) return
    lastId = rows.at(-1)?.id ?? lastId
  }
}

/**
 * Takes over a `session_keys` that the old SQL made: columns widened, identifiers compared byte by byte, the redundant
 * index dropped, and every plain key wrapped in its row. Dead rows are removed first; no living row is lost.
 * @throws {SetupError} when a living row holds characters that the columns cannot take.
 */
export async function adoptSessionKeys(
  session: Session,
  dialect: Database['dialect'],
  wrap: WrapPlainRow,
): Promise<void> {
  if (dialect === 'mysql') {
    await refuseUnreadableIds(session)
    await session.run('DELETE FROM session_keys WHERE expires_at <= UTC_TIMESTAMP()')
    const clauses = await mysqlClauses(session)
    if (clauses.length > 0) await session.run(`ALTER TABLE session_keys ${clauses.join(', ')}`)
  }
  await wrapPlainRows(session, wrap)
}
