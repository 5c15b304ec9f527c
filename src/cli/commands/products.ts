import type { ProductChanges } from '../../domain/products.ts'
import { AT_LIMIT, type AtLimit } from '../../store/accounts.ts'
import type { Product } from '../../store/products.ts'
import { command, type Option, UsageError } from '../command.ts'
import { facts, isoTime, table } from '../output.ts'
import { asOneOf, asSwitch, given } from '../values.ts'

const CODE = { name: 'code', doc: 'Code of the product, such as demo.' } as const

const CHANGEABLE = {
  sk: { value: 'TEXT', doc: 'The value sk of the old programs.' },
  sck: { value: 'TEXT', doc: 'The value sck of the old programs.' },
  maintenance: { value: 'TEXT', doc: 'The value maintenance of the old programs: no, or what they know.' },
  'status1-text': { value: 'TEXT', doc: 'The announcement that the old programs show.' },
  legacy: { value: 'on|off', doc: 'Whether the old programs are served.', parse: asSwitch },
  'at-seat-limit': {
    value: AT_LIMIT.join('|'),
    doc: 'Where all seats of a licence are taken, one more machine is refused, kicks the one that was not heard for longest, or has it asked to make way.',
    parse: asOneOf(AT_LIMIT),
  },
} as const satisfies Readonly<Record<string, Option>>

const BOUND = 'A session key is good only from the address it was handed out to.'

type Changes = {
  readonly name?: string | undefined
  readonly sk: string | undefined
  readonly sck: string | undefined
  readonly maintenance: string | undefined
  readonly 'status1-text': string | undefined
  readonly legacy: boolean | undefined
  readonly 'at-seat-limit': AtLimit | undefined
  readonly 'bind-address': boolean | undefined
}

function changesOf(args: Changes): ProductChanges {
  const { name, sk, sck, maintenance, legacy: legacyEnabled } = args
  const { 'status1-text': status1Text, 'at-seat-limit': atSeatLimit, 'bind-address': bindAddress } = args
  return given({ name, sk, sck, maintenance, legacyEnabled, status1Text, atSeatLimit, bindAddress })
}

function productView(product: Product) {
  return {
    id: product.id,
    code: product.code,
    name: product.name,
    legacy: product.legacyEnabled,
    bind_address: product.bindAddress,
    at_seat_limit: product.atSeatLimit,
    sk: product.sk,
    sck: product.sck,
    maintenance: product.maintenance,
    status1_text: product.status1Text,
    created_at: isoTime(product.createdAtMs),
    updated_at: isoTime(product.updatedAtMs),
  }
}

function shown(product: Product, sentence?: string) {
  const data = productView(product)
  return { data, text: [sentence ?? [], facts(data)].flat().join('\n') }
}

const create = command({
  path: ['products', 'create'],
  summary: 'Creates a product: a desktop tool whose licences are to be checked.',
  options: {
    code: { value: 'CODE', required: true, doc: 'Short name of a-z, 0-9 and dashes. It never changes.' },
    name: { value: 'NAME', required: true, doc: 'Its name for people.' },
    ...CHANGEABLE,
    'bind-address': { doc: BOUND },
  },
  positionals: [],
  example: 'kunci products create --code demo --name Demo',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const product = await app.products.create(actor, args.code, args.name, changesOf(args))
      return shown(product, 'Created.')
    }),
})

const list = command({
  path: ['products', 'list'],
  summary: 'Lists the products.',
  options: {},
  positionals: [],
  example: 'kunci products list --json',
  run: ({ withApp }) =>
    withApp(async (app) => {
      const data = (await app.products.list()).map(productView)
      const text = table(data, ['code', 'name', 'legacy', 'bind_address', 'created_at'])
      return { data, text: data.length === 0 ? 'There is no product yet.' : text }
    }),
})

const show = command({
  path: ['products', 'show'],
  summary: 'Shows everything about one product.',
  options: {},
  positionals: [CODE],
  example: 'kunci products show demo',
  run: ({ args, withApp }) => withApp(async (app) => shown(await app.products.find(args.code))),
})

const update = command({
  path: ['products', 'update'],
  summary: 'Changes a product; what is not named stays as it is.',
  options: {
    name: { value: 'NAME', doc: 'Its name for people.' },
    ...CHANGEABLE,
    'bind-address': { value: 'on|off', doc: BOUND, parse: asSwitch },
  },
  positionals: [CODE],
  example: 'kunci products update demo --maintenance yes --status1-text "Back at 18:00"',
  run: ({ args, actor, withApp }) => {
    const changes = changesOf(args)
    if (Object.keys(changes).length === 0) throw new UsageError('There is nothing to change.')
    return withApp(async (app) => shown(await app.products.update(actor, args.code, changes), 'Changed.'))
  },
})

export const productCommands = [create, list, show, update]
