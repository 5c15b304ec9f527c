import type { Clock } from '../clock.ts'
import type { Config, SettingMistake } from '../config.ts'
import type { Database, Reader } from '../store/engine/database.ts'
import type { SchemaStatus } from '../store/engine/migrations.ts'
import type { ServerFacts } from '../store/inspection/server.ts'
import type { Finding } from './finding.ts'

/** A database that answers. */
export type Connected = Reader & Pick<Database, 'dialect'> & { readonly clock?: Clock }

/** What the checks look at. A setting with a mistake has no value. */
export type Patient = {
  readonly values: Partial<Config>
  readonly mistakes: readonly SettingMistake[]
  /** What the settings ask for, whether or not it can be had. */
  readonly dialect: Database['dialect']
  /** This machine's. */
  readonly clock: Clock
  /** The name of the database on its server; empty on SQLite. */
  readonly databaseName: string
  /** `null` while it is not known how far the tables are. */
  readonly schema: SchemaStatus | null
}

/** Checks that need the same thing. `ids` are those it would have found something about, for when it cannot look. */
export type Room = {
  readonly ids: (dialect: Database['dialect']) => readonly string[]
} & (
  | { readonly needs: 'nothing'; readonly look: (patient: Patient) => Finding[] }
  | {
      /** A server of MySQL or MariaDB: on SQLite the room stays shut. */
      readonly needs: 'server'
      readonly look: (db: Connected, facts: ServerFacts, patient: Patient) => Promise<Finding[]>
    }
  | {
      readonly needs: 'database'
      /** Without `facts` on SQLite. */
      readonly look: (db: Connected, patient: Patient, facts: ServerFacts | null) => Promise<Finding[]>
    }
)
