import { isUtf8 } from 'node:buffer'
import { type Connection, createConnection } from 'mysql2'
import { addressIn } from './mysql.ts'

/** A server that is busy sorting may be silent for long; one that is gone is silent for ever. */
const SILENCE_MAX_MS = 60_000
const CONNECT_TIMEOUT_MS = 10_000
const ROWS_AHEAD = 1000

/** Nothing on this connection can write, and it sees one moment: TIMESTAMPs as UTC, characters as UTF-8. */
const SETUP = [
  "SET SESSION time_zone = '+00:00'",
  'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ',
  'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
]

/** A cell as UTF-8 text; `undefined` for bytes that are none. */
export type SourceCell = string | null | undefined

function cellOf(bytes: Buffer | null): SourceCell {
  if (bytes === null) return null
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined
}

/** Somebody else's MySQL or MariaDB, to be read and never written. */
export class MysqlSource {
  readonly #connection: Connection
  /** Ends the statement under way: the driver tells a connection's end to the connection, not to a stream of it. */
  #fail: (error: Error) => void = () => undefined
  #lost: Error | undefined

  private constructor(connection: Connection) {
    this.#connection = connection
    connection.on('error', (error: Error) => {
      this.#lost = error
      this.#fail(error)
    })
  }

  /** @param url `mysql://…`. @throws {Error} of the driver. */
  static async open(url: string): Promise<MysqlSource> {
    const connection = createConnection({
      ...addressIn(url),
      connectTimeout: CONNECT_TIMEOUT_MS,
      charset: 'utf8mb4',
      // Every cell as its bytes: no date, number or text is made of them by the driver.
      typeCast: false,
    })
    const source = new MysqlSource(connection)
    try {
      for (const sql of SETUP) await source.all(sql)
      return source
    } catch (error) {
      connection.destroy()
      throw error
    }
  }

  async all(sql: string): Promise<SourceCell[][]> {
    const rows: SourceCell[][] = []
    for await (const row of this.rows(sql)) rows.push(row)
    return rows
  }

  /** Row after row, as many ahead as are waited for; however large the table, memory stays small. */
  async *rows(sql: string): AsyncGenerator<SourceCell[]> {
    if (this.#lost !== undefined) throw this.#lost
    const stream = this.#connection
      .query({ sql, rowsAsArray: true, typeCast: false })
      .stream({ highWaterMark: ROWS_AHEAD })
    this.#fail = (error) => stream.destroy(error)
    const silence = setTimeout(
      () => stream.destroy(new Error(`no answer within ${SILENCE_MAX_MS / 1000} s`)),
      SILENCE_MAX_MS,
    )
    try {
      for await (const row of stream) {
        silence.refresh()
        // What a statement without rows answers is an object.
        if (Array.isArray(row)) yield row.map(cellOf)
      }
    } finally {
      clearTimeout(silence)
    }
  }

  close(): void {
    this.#connection.destroy()
  }
}
