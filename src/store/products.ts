import { Coalescer } from './engine/coalescer.ts'
import { type Database, DuplicateKeyError, insertMany, type Row } from './engine/database.ts'
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
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

export type ProductStore = {
  /** @returns `false` when the code is taken. */
  create(product: Product, event: EventRow): Promise<boolean>
  update(product: Product, event: EventRow): Promise<void>
  all(): Promise<Product[]>
}

const COLUMNS = [
  'id',
  'code',
  'name',
  'legacy_enabled',
  'bind_address',
  'sk',
  'sck',
  'maintenance',
  'status1_text',
  'created_at_ms',
  'updated_at_ms',
]

function toColumns(product: Product) {
  return [
    product.id,
    product.code,
    product.name,
    Number(product.legacyEnabled),
    Number(product.bindAddress),
    product.sk,
    product.sck,
    product.maintenance,
    product.status1Text,
    product.createdAtMs,
    product.updatedAtMs,
  ]
}

function fromColumns(row: Row): Product {
  return {
    id: String(row.id),
    code: String(row.code),
    name: String(row.name),
    legacyEnabled: row.legacy_enabled === 1,
    bindAddress: row.bind_address === 1,
    sk: String(row.sk),
    sck: String(row.sck),
    maintenance: String(row.maintenance),
    status1Text: String(row.status1_text),
    createdAtMs: Number(row.created_at_ms),
    updatedAtMs: Number(row.updated_at_ms),
  }
}

export function productStore(db: Database): ProductStore {
  const reads = new Coalescer<void, Product[]>(
    async (callers) => {
      const rows = await db.all(`SELECT ${COLUMNS.join(', ')} FROM kunci_products ORDER BY code`)
      const products = rows.map(fromColumns)
      return callers.map(() => products)
    },
    { maxItems: 1000, lanes: 1 },
  )
  return {
    create: async (product, event) => {
      try {
        await db.batch([insertMany('kunci_products', COLUMNS, [toColumns(product)]), insertEvents([event])])
        return true
      } catch (error) {
        if (error instanceof DuplicateKeyError) return false
        throw error
      }
    },
    update: (product, event) => {
      const changes = COLUMNS.slice(2)
      const sql = `UPDATE kunci_products SET ${changes.map((column) => `${column} = ?`).join(', ')} WHERE id = ?`
      return db.batch([[sql, [...toColumns(product).slice(2), product.id]], insertEvents([event])])
    },
    all: () => reads.submit(),
  }
}
