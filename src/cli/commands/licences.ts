import type { App } from '../../app.ts'
import type { Actor } from '../../domain/events.ts'
import type { LicenceTexts } from '../../domain/licences.ts'
import type { TakenSeat } from '../../domain/seats.ts'
import type { Licence } from '../../store/licences.ts'
import { command, type Option, UsageError } from '../command.ts'
import { facts, isoTime, table } from '../output.ts'
import { asExpiry, asLimit, asMaximum, asOneOf, given } from '../values.ts'

const ID = { name: 'id', doc: 'Id of the licence, such as lic_7Q2M9KXH4C0T8RWB.' } as const

const TEXTS = {
  sk: { value: 'TEXT', doc: 'Instead of the sk of the product.' },
  sck: { value: 'TEXT', doc: 'Instead of the sck of the product.' },
  maintenance: { value: 'TEXT', doc: 'Instead of the maintenance of the product.' },
  'status1-text': { value: 'TEXT', doc: 'Instead of the announcement of the product.' },
} as const satisfies Readonly<Record<string, Option>>

const EXPIRES = {
  value: 'DATE',
  doc: 'When it expires, in ISO 8601: a date means its last second in UTC, a date-time may name its zone.',
  parse: asExpiry,
} as const satisfies Option

const SEATS = {
  value: 'N|unlimited',
  doc: 'On how many machines it may run at once; unlimited: that is not counted, and it is bound to one machine.',
  parse: asMaximum,
} as const satisfies Option

const REASON = { value: 'TEXT', doc: 'Why, for the record.' } as const satisfies Option

const asState = asOneOf(['active', 'suspended', 'revoked'])

type Texts = { readonly [K in keyof typeof TEXTS]: string | undefined }

function textsOf({ sk, sck, maintenance, 'status1-text': status1Text }: Texts): LicenceTexts {
  return given({ sk, sck, maintenance, status1Text })
}

function licenceView(licence: Licence, productCode: string | null) {
  return {
    id: licence.id,
    product: productCode,
    product_id: licence.productId,
    customer: licence.customer,
    state: licence.state,
    state_reason: licence.stateReason,
    expires_at: isoTime(licence.expiresAtMs),
    seats: licence.seats,
    sk: licence.sk,
    sck: licence.sck,
    maintenance: licence.maintenance,
    status1_text: licence.status1Text,
    created_at: isoTime(licence.createdAtMs),
    updated_at: isoTime(licence.updatedAtMs),
  }
}

async function productCodes(app: App): Promise<(productId: string) => string | null> {
  const codes = new Map((await app.products.list()).map(({ id, code }) => [id, code]))
  return (productId) => codes.get(productId) ?? null
}

/** How its end reads to people. */
function expiryText({ expiresAtMs }: Licence, nowMs: number): string {
  if (expiresAtMs === null) return 'perpetual'
  return `${isoTime(expiresAtMs)}${expiresAtMs <= nowMs ? ' (expired)' : ''}`
}

async function shown(app: App, licence: Licence, sentence?: string) {
  const data = licenceView(licence, (await productCodes(app))(licence.productId))
  const seats = licence.seats ?? 'unlimited'
  const text = facts({ ...data, expires_at: expiryText(licence, app.clock()), seats })
  return { data, text: [sentence ?? [], text].flat().join('\n') }
}

/** The one time that a key is seen. */
async function shownWithKey(app: App, licence: Licence, key: string, sentence: string) {
  const { data, text } = await shown(app, licence)
  const { id, ...rest } = data
  return {
    data: { id, key, ...rest },
    text: `${sentence} This is its key; it is shown this once and kept nowhere:\n\n${key}\n\n${text}`,
  }
}

const create = command({
  path: ['licences', 'create'],
  summary: 'Creates a licence and shows its key, which is kept nowhere and cannot be shown again.',
  options: {
    product: { value: 'CODE', required: true, doc: 'Code of the product.' },
    customer: { value: 'NAME', required: true, doc: 'Whose licence it is; the old programs show it.' },
    hwid: { value: 'HWID', doc: 'The machine to bind at once, as the old program names it.' },
    expires: { ...EXPIRES, doc: `${EXPIRES.doc} Left out: never.` },
    seats: { ...SEATS, fallback: 'unlimited' },
    ...TEXTS,
  },
  positionals: [],
  example: 'kunci licences create --product demo --customer "Budi" --hwid 1234567890 --expires 2030-12-31',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const { product: productCode, customer, hwid, expires: expiresAtMs = null, seats } = args
      const wish = { productCode, customer, hwid, expiresAtMs, seats, ...textsOf(args) }
      const { licence, key } = await app.licences.create(actor, wish)
      return shownWithKey(app, licence, key, 'Created.')
    }),
})

const issueKey = command({
  path: ['licences', 'issue-key'],
  summary: 'Makes a key for a licence that was imported without one, and shows it, this once.',
  options: { replace: { doc: 'Also where there is a key already: the old one is void from then on.' } },
  positionals: [ID],
  example: 'kunci licences issue-key lic_7Q2M9KXH4C0T8RWB',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const { licence, key } = await app.licenceKeys.issue(actor, args.id, { replace: args.replace === true })
      return shownWithKey(app, licence, key, 'Issued.')
    }),
})

const list = command({
  path: ['licences', 'list'],
  summary: 'Lists licences, the newest first.',
  options: {
    product: { value: 'CODE', doc: 'Only those of this product.' },
    state: {
      value: 'STATE',
      doc: 'Only those that are active, suspended or revoked.',
      parse: asState,
    },
    limit: { value: 'N', fallback: '100', doc: 'How many at most.', parse: asLimit },
  },
  positionals: [],
  example: 'kunci licences list --product demo --state active',
  run: ({ args, withApp, json, note }) =>
    withApp(async (app) => {
      const { product, state, limit } = args
      const productId = product === undefined ? undefined : (await app.products.find(product)).id
      const licences = await app.licences.list({ productId, state, limit })
      const codeOf = await productCodes(app)
      const data = licences.map((licence) => licenceView(licence, codeOf(licence.productId)))
      const rows = licences.map((licence, i) => ({
        ...licenceView(licence, data[i]?.product ?? null),
        expires: expiryText(licence, app.clock()),
      }))
      if (!json && data.length === limit) note(`There may be more than these ${limit}: see --limit.`)
      const text = table(rows, ['id', 'product', 'customer', 'state', 'expires'])
      return { data, text: data.length === 0 ? 'There is no such licence.' : text }
    }),
})

const show = command({
  path: ['licences', 'show'],
  summary: 'Shows everything about one licence but its key, which nobody has kept.',
  options: {},
  positionals: [ID],
  example: 'kunci licences show lic_7Q2M9KXH4C0T8RWB',
  run: ({ args, withApp }) => withApp(async (app) => shown(app, await app.licences.find(args.id))),
})

const suspend = command({
  path: ['licences', 'suspend'],
  summary: 'Suspends a licence until it is resumed: from the next check on its machine may not run.',
  options: { reason: REASON },
  positionals: [ID],
  example: 'kunci licences suspend lic_7Q2M9KXH4C0T8RWB --reason "Payment is due"',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) =>
      shown(app, await app.licences.suspend(actor, args.id, args.reason ?? null), 'Suspended.'),
    ),
})

const resume = command({
  path: ['licences', 'resume'],
  summary: 'Lifts the suspension of a licence.',
  options: {},
  positionals: [ID],
  example: 'kunci licences resume lic_7Q2M9KXH4C0T8RWB',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => shown(app, await app.licences.resume(actor, args.id), 'Resumed.')),
})

const revoke = command({
  path: ['licences', 'revoke'],
  summary: 'Revokes a licence for good: from the next check on its machine may never run again.',
  options: { reason: REASON },
  positionals: [ID],
  example: 'kunci licences revoke lic_7Q2M9KXH4C0T8RWB --reason "Refunded"',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) =>
      shown(app, await app.licences.revoke(actor, args.id, args.reason ?? null), 'Revoked.'),
    ),
})

async function renewTo(app: App, actor: Actor, id: string, expiresAtMs: number | null) {
  const licence = await app.licences.renew(actor, id, expiresAtMs)
  const isOver = expiresAtMs !== null && expiresAtMs <= app.clock()
  return shown(app, licence, isOver ? 'Changed. That date is past: the licence has expired.' : 'Renewed.')
}

const renew = command({
  path: ['licences', 'renew'],
  summary: 'Changes when a licence expires.',
  options: { expires: EXPIRES, perpetual: { doc: 'It never expires.' } },
  positionals: [ID],
  example: 'kunci licences renew lic_7Q2M9KXH4C0T8RWB --expires 2031-12-31',
  run: ({ args, actor, withApp }) => {
    const { id, expires, perpetual } = args
    if ((expires === undefined) === !perpetual)
      throw new UsageError('Either --expires or --perpetual says what is meant, and not both.')
    return withApp((app) => renewTo(app, actor, id, expires ?? null))
  },
})

const INHERITABLE = ['sk', 'sck', 'maintenance', 'status1-text'] as const
const asInheritable = asOneOf(INHERITABLE)

function inherited(names: readonly (typeof INHERITABLE)[number][]): LicenceTexts {
  return Object.fromEntries(names.map((name) => [name === 'status1-text' ? 'status1Text' : name, null]))
}

const update = command({
  path: ['licences', 'update'],
  summary: 'Changes the customer, the seats or the texts of a licence; what is not named stays as it is.',
  options: {
    customer: { value: 'NAME', doc: 'Whose licence it is.' },
    seats: SEATS,
    ...TEXTS,
    inherit: {
      value: 'NAME',
      multiple: true,
      doc: `Takes a text from the product again: ${INHERITABLE.join(', ')}.`,
      parse: asInheritable,
    },
  },
  positionals: [ID],
  example: 'kunci licences update lic_7Q2M9KXH4C0T8RWB --customer "Budi Santoso" --inherit maintenance',
  run: ({ args, actor, withApp }) => {
    const { customer, seats } = args
    const named = { ...textsOf(args), ...given({ customer, seats }) }
    const twice = args.inherit.find((name) => args[name] !== undefined)
    if (twice !== undefined) throw new UsageError(`--${twice} and --inherit ${twice} contradict each other.`)
    const changes = { ...named, ...inherited(args.inherit) }
    if (Object.keys(changes).length === 0) throw new UsageError('There is nothing to change.')
    return withApp(async (app) => shown(app, await app.licences.update(actor, args.id, changes), 'Changed.'))
  },
})

function seatView({ licenceId, deviceId, seatNo, takenAtMs, renewedAtMs, lapsesAtMs, yieldByMs }: TakenSeat) {
  return {
    seat_no: seatNo,
    device_id: deviceId,
    licence_id: licenceId,
    taken_at: isoTime(takenAtMs),
    renewed_at: isoTime(renewedAtMs),
    lapses_at: isoTime(lapsesAtMs),
    yield_by: isoTime(yieldByMs),
  }
}

const SEAT_COLUMNS = ['seat_no', 'device_id', 'taken_at', 'renewed_at', 'lapses_at', 'yield_by'] as const

const seats = command({
  path: ['licences', 'seats'],
  summary: 'Lists the machines that hold a seat of a licence now, since when, and when each was last heard.',
  options: {},
  positionals: [ID],
  example: 'kunci licences seats lic_7Q2M9KXH4C0T8RWB',
  run: ({ args, withApp }) =>
    withApp(async (app) => {
      const licence = await app.licences.find(args.id)
      const data = (await app.seats.taken(args.id)).map(seatView)
      if (licence.seats === null) return { data, text: 'The seats of this licence are not counted.' }
      const sentence = `${data.length} of ${licence.seats} seats are taken.`
      return { data, text: data.length === 0 ? sentence : `${sentence}\n${table(data, SEAT_COLUMNS)}` }
    }),
})

export const licenceCommands = [create, list, show, suspend, resume, revoke, renew, update, seats, issueKey]
