import type { AtLimit } from './accounts.ts'
import { Coalescer } from './engine/coalescer.ts'
import {
  type Database,
  DuplicateKeyError,
  insertMany,
  type Reader,
  type Row,
  type Statement,
  type Value,
} from './engine/database.ts'
import { type EventRow, insertEvents } from './events.ts'

/** The four texts that the old programs are told after a good check. */
export type LegacyTexts = {
  readonly sk: string
  readonly sck: string
  readonly maintenance: string
  readonly status1Text: string
}

export type Product = LegacyTexts & {
  readonly id: string
  /** Scope of every device fingerprint, hence never changed. */
  readonly code: string
  readonly name: string
  readonly legacyEnabled: boolean
  readonly bindAddress: boolean
  readonly atSeatLimit: AtLimit
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

export type ProductStore = {
  /** @returns `false` when the code is taken. */
  create(product: Product, event: EventRow): Promise<boolean>
  /** Changes what is named and nothing else, so that two changes at once do not undo each other. */
  update(id: string, changes: Partial<Product>, event: EventRow): Promise<void>
  all(): Promise<Product[]>
}

/** Each member's column. */
const COLUMN_OF: Readonly<Record<keyof Product, string>> = {
  id: 'id',
  code: 'code',
  name: 'name',
  legacyEnabled: 'legacy_enabled',
  bindAddress: 'bind_address',
  atSeatLimit: 'at_seat_limit',
  sk: 'sk',
  sck: 'sck',
  maintenance: 'maintenance',
  status1Text: 'status1_text',
  createdAtMs: 'created_at_ms',
  updatedAtMs: 'updated_at_ms',
}

function toColumns(product: Partial<Product>): { columns: string[]; values: Value[] } {
  const members = Object.entries(product).filter(([, value]) => value !== undefined)
  return {
    columns: members.map(([name]) => COLUMN_OF[name as keyof Product]),
    values: members.map(([, value]) => (typeof value === 'boolean' ? Number(value) : value)),
  }
}

function fromColumns(row: Row): Product {
  return {
    id: String(row.id),
    code: String(row.code),
    name: String(row.name),
    legacyEnabled: row.legacy_enabled === 1,
    bindAddress: row.bind_address === 1,
    atSeatLimit: row.at_seat_limit as AtLimit,
    sk: String(row.sk),
    sck: String(row.sck),
    maintenance: String(row.maintenance),
    status1Text: String(row.status1_text),
    createdAtMs: Number(row.created_at_ms),
    updatedAtMs: Number(row.updated_at_ms),
  }
}

/** Every product, by code. */
export async function readProducts(db: Reader): Promise<Product[]> {
  const rows = await db.all(`SELECT ${Object.values(COLUMN_OF).join(', ')} FROM kunci_products ORDER BY code`)
  return rows.map(fromColumns)
}

export function productStore(db: Database): ProductStore {
  const reads = new Coalescer<void, Product[]>(
    async (callers) => {
      const products = await readProducts(db)
      return callers.map(() => products)
    },
    { maxItems: 1000, lanes: 1 },
  )
  return {
    create: async (product, event) => {
      try {
        const { columns, values } = toColumns(product)
        await db.batch([insertMany('kunci_products', columns, [values]), insertEvents([event])])
        return true
      } catch (error) {
        if (error instanceof DuplicateKeyError) return false
        throw error
      }
    },
    update: (id, changes, event) => {
      const { columns, values } = toColumns(changes)
      const assignments = columns.map((column) => `${column} = ?`).join(', ')
      const statement: Statement = [`UPDATE kunci_products SET ${assignments} WHERE id = ?`, [...values, id]]
      return db.batch([statement, insertEvents([event])])
    },
    all: () => reads.submit(),
  }
}
