import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { LegacyTexts, Product, ProductStore } from '../store/products.ts'
import type { Actor, Events } from './events.ts'
import { newId } from './ids.ts'
import { requireTexts } from './texts.ts'

export type ProductChanges = Partial<
  LegacyTexts & Pick<Product, 'name' | 'legacyEnabled' | 'bindAddress' | 'atSeatLimit'>
>

/** Every request asks for the product; what another process changed about it is seen within this time. */
export const PRODUCTS_KNOWN_FOR_MS = 250
const CODE = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/

export type Products = ReturnType<typeof createProducts>

/**
 * The product whose customers the old programs are, or `null` while there is none at all.
 * @throws {AppError} `legacy_product_unset` when several products exist and LEGACY_PRODUCT names none of them,
 *   `legacy_disabled` when the old contract is switched off for it.
 */
export function legacyProductAmong(
  products: readonly Product[],
  legacyProduct: string | undefined,
): Product | null {
  if (products.length === 0) return null
  const product =
    legacyProduct === undefined && products.length === 1
      ? products[0]
      : products.find(({ code }) => code === legacyProduct)
  if (product === undefined)
    throw new AppError('legacy_product_unset', {
      detail: `set LEGACY_PRODUCT to one of: ${products.map(({ code }) => code).join(', ')}`,
    })
  if (!product.legacyEnabled)
    throw new AppError('legacy_disabled', {
      detail: `run: kunci products update ${product.code} --legacy on`,
    })
  return product
}

export function createProducts(deps: {
  store: ProductStore
  events: Events
  clock: Clock
  random: Random
  legacyProduct: string | undefined
}) {
  const { store, events, clock, random, legacyProduct } = deps
  let known: { readonly sinceMs: number; readonly products: Promise<readonly Product[]> } | undefined

  /** The products as they were at most {@link PRODUCTS_KNOWN_FOR_MS} ago, or since this process changed one. */
  function recent(): Promise<readonly Product[]> {
    const nowMs = performance.now()
    if (known !== undefined && nowMs - known.sinceMs < PRODUCTS_KNOWN_FOR_MS) return known.products
    const products = store.all()
    const reading = { sinceMs: nowMs, products }
    known = reading
    products.catch(() => {
      if (known === reading) known = undefined
    })
    return products
  }

  /** @throws {AppError} `invalid_argument` for a bad code, `product_exists` for a taken one. */
  async function create(
    actor: Actor,
    code: string,
    name: string,
    changes: ProductChanges = {},
  ): Promise<Product> {
    if (!CODE.test(code))
      throw new AppError('invalid_argument', {
        detail: `"${code}" is not a product code: 1 to 32 of a-z, 0-9 and dashes, such as my-tool`,
      })
    requireTexts({ name, ...changes })
    const nowMs = clock()
    const product: Product = {
      ...{ sk: '', sck: '', maintenance: 'no', status1Text: '', legacyEnabled: true, bindAddress: false },
      atSeatLimit: 'refuse',
      ...changes,
      ...{ id: newId('prd', random), code, name, createdAtMs: nowMs, updatedAtMs: nowMs },
    }
    const event = events.build('product_created', actor, { productId: product.id, detail: { code } })
    const isCreated = await store.create(product, event)
    known = undefined
    if (!isCreated)
      throw new AppError('product_exists', { detail: `there is a product with the code "${code}" already` })
    return product
  }

  async function update(actor: Actor, code: string, changes: ProductChanges): Promise<Product> {
    requireTexts(changes)
    const { id } = await find(code)
    const changed = Object.keys(changes).join(' ')
    const event = events.build('product_updated', actor, { productId: id, detail: { changed } })
    await store.update(id, { ...changes, updatedAtMs: clock() }, event)
    known = undefined
    return find(code)
  }

  /** @throws {AppError} `product_not_found`, with the codes there are. */
  async function find(code: string): Promise<Product> {
    const products = await store.all()
    const product = products.find((candidate) => candidate.code === code)
    if (product !== undefined) return product
    const codes = products.map((candidate) => candidate.code).join(', ')
    throw new AppError('product_not_found', {
      detail: `no product has the code "${code}"; ${codes === '' ? 'there is none yet' : `there are: ${codes}`}`,
    })
  }

  /** @throws {AppError} as {@link legacyProductAmong}. */
  async function legacy(): Promise<Product | null> {
    return legacyProductAmong(await recent(), legacyProduct)
  }

  /** The product of a tool that asks, or `null` where none has this code. */
  async function ofTool(code: string): Promise<Product | null> {
    return (await recent()).find((product) => product.code === code) ?? null
  }

  return { create, update, find, legacy, ofTool, list: () => store.all() }
}
