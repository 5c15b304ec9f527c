import type { Clock } from '../clock.ts'
import type { ImportedLicence, ImportStore } from '../store/imports.ts'
import type { OldServer } from '../store/old-server/old-server.ts'
import type { SourceAddress } from '../store/old-server/open.ts'
import type { Product } from '../store/products.ts'
import type { Actor, Events } from './events.ts'
import { inBatches, type Sorted, writeBatch } from './import/batches.ts'
import type { Customer } from './import/customers.ts'
import { FINDINGS, type Finding, finding } from './import/findings.ts'
import { compare, sameNames } from './import/plan.ts'
import { type Read, type ReadingWish, readAll, type Tell } from './import/read.ts'
import type { OldSessionKey } from './import/session-keys.ts'
import type { Products } from './products.ts'
import type { ImportedIdentity, Recognition } from './recognition.ts'
import type { SessionKeys } from './session-keys.ts'

export type ImportWish = ReadingWish & { readonly source: SourceAddress; readonly productCode: string }

/** A customer who is to become a licence. */
type NewCustomer = Customer & ImportedIdentity

/** What an import would do: everything was read and judged, nothing written. */
export type ImportPlan = {
  readonly product: Product
  readonly customers: readonly NewCustomer[]
  readonly sessionKeys: readonly OldSessionKey[]
  /** What there is to say of all other rows, and beside. */
  readonly findings: readonly Finding[]
  readonly notes: readonly string[]
  readonly rowsRead: number
}

export type Imports = ReturnType<typeof createImports>

function licenceOf(customer: NewCustomer, product: Product, nowMs: number): ImportedLicence['licence'] {
  const { licenceId: id, name, expiresAtMs, sk, sck, maintenance, status1Text } = customer
  return {
    ...{ id, productId: product.id, customer: name, expiresAtMs, state: 'active', stateReason: null },
    ...{ sk, sck, maintenance, status1Text, createdAtMs: nowMs, updatedAtMs: nowMs },
    seats: null,
  }
}

function importedCustomer({ row, name, digest, licenceId, expiresAtMs }: NewCustomer): Finding {
  const detail = expiresAtMs === null ? 'never expires' : `expires ${new Date(expiresAtMs).toISOString()}`
  return finding('imported', row, { customer: name, hash: digest, licenceId, detail })
}

function importedKey({ row, sessionId }: OldSessionKey): Finding {
  return finding('session_key_imported', row, { hash: sessionId })
}

/** Brings the customers and living session keys of an old server into Kunci. */
export function createImports(deps: {
  store: ImportStore
  openSource: (address: SourceAddress) => Promise<OldServer>
  products: Products
  recognition: Recognition
  sessionKeys: SessionKeys
  events: Events
  clock: Clock
}) {
  const { store, openSource, products, recognition, sessionKeys, events, clock } = deps

  async function sortCustomers(
    product: Product,
    batch: readonly Customer[],
  ): Promise<Sorted<NewCustomer, Finding>> {
    const identified: NewCustomer[] = batch.map((customer) => ({
      ...customer,
      ...recognition.importedAs(product, Buffer.from(customer.digest, 'hex')),
    }))
    const hashes = identified.flatMap((customer) => customer.hashes)
    const ids = identified.map(({ licenceId }) => licenceId)
    const there = await store.known(product.id, hashes, ids)
    const licences = new Map(there.map(({ by, licence }) => [by, licence]))
    const fresh: NewCustomer[] = []
    const findings: Finding[] = []
    for (const customer of identified) {
      const licence = [...customer.hashes, customer.licenceId]
        .map((by) => licences.get(by))
        .find((found) => found !== undefined)
      if (licence === undefined) fresh.push(customer)
      else findings.push(compare(customer, licence))
    }
    return { fresh, findings }
  }

  async function sortSessionKeys(batch: readonly OldSessionKey[]): Promise<Sorted<OldSessionKey, Finding>> {
    const known = new Set(await store.knownSessions(batch.map(({ sessionId }) => sessionId)))
    const isKnown = ({ sessionId }: OldSessionKey) => known.has(sessionId)
    return {
      fresh: batch.filter((key) => !isKnown(key)),
      findings: batch
        .filter(isKnown)
        .map(({ row, sessionId }) => finding('session_key_known', row, { hash: sessionId })),
    }
  }

  async function readSource(wish: ImportWish, tell: Tell): Promise<Read & { notes: readonly string[] }> {
    const source = await openSource(wish.source)
    try {
      return { ...(await readAll(source, wish, clock(), tell)), notes: source.notes }
    } finally {
      await source.close()
    }
  }

  /**
   * Reads a source and works out what an import would do. Nothing is written.
   * @throws {AppError} `product_not_found`, `import_source`, or `invalid_argument` for what undated rows are taken for.
   */
  async function plan(wish: ImportWish, tell: Tell): Promise<ImportPlan> {
    const product = await products.find(wish.productCode)
    const read = await readSource(wish, tell)
    const taken = read.customers.taken()
    const customers = await inBatches(
      taken,
      (batch) => sortCustomers(product, batch),
      (rows, fraction) => tell({ phase: 'comparing', rows, fraction }),
    )
    const keys = await inBatches(read.sessionKeys, sortSessionKeys)
    // In the order of the keys that are written: scattered over large indexes the same rows take many times as long.
    const inOrder = customers.fresh.toSorted((a, b) => (a.licenceId < b.licenceId ? -1 : 1))
    const findings = [read.findings, read.customers.duplicates(), sameNames(taken)]
    return {
      ...{ product, customers: inOrder, sessionKeys: keys.fresh },
      ...{ notes: read.notes, rowsRead: read.rowsRead },
      findings: [...findings, customers.findings, keys.findings].flat(),
    }
  }

  /** What would become of every row. */
  function foresee(plan: ImportPlan): Finding[] {
    return [plan.customers.map(importedCustomer), plan.sessionKeys.map(importedKey), plan.findings].flat()
  }

  /**
   * Does what was planned, each batch in one transaction with its count in the record. Cut off at any moment it goes on
   * when the import is run again.
   * @param outcome takes up what became of every row, batch after batch: where this throws it holds what was done.
   */
  async function apply(actor: Actor, planned: ImportPlan, tell: Tell, outcome: Finding[]): Promise<void> {
    const { product } = planned
    for (const found of planned.findings) outcome.push(found)
    const gathered = <T>(sorted: Sorted<T, Finding>, imported: (item: T) => Finding) => {
      outcome.push(...sorted.fresh.map(imported), ...sorted.findings)
      return sorted
    }
    const leftOut = planned.findings.filter(({ finding }) => FINDINGS[finding][0] === 'out').length
    const detail = { rows_read: planned.rowsRead, left_out: leftOut }
    const event = events.build('licences_imported', actor, { productId: product.id, detail })
    const write = (customers: readonly NewCustomer[]) => {
      const nowMs = clock()
      const imported = customers.map((customer) => ({
        licence: licenceOf(customer, product, nowMs),
        device: recognition.importedDevice(customer, nowMs, customer.lastSeenMs),
      }))
      return store.write(imported, { ...event, count: imported.length })
    }
    const sort = (items: readonly NewCustomer[]) => sortCustomers(product, items)
    await inBatches(
      planned.customers,
      async (batch) => gathered(await writeBatch(batch, write, sort), importedCustomer),
      (rows, fraction) => tell({ phase: 'writing', rows, fraction }),
    )
    const writeKeys = (keys: readonly OldSessionKey[]) => store.writeSessions(keys.map(sessionKeys.adopt))
    await inBatches(planned.sessionKeys, async (batch) =>
      gathered(await writeBatch(batch, writeKeys, sortSessionKeys), importedKey),
    )
  }

  return { plan, foresee, apply }
}
