import type { Licence } from '../../store/licences.ts'
import type { Customer } from './customers.ts'
import { type Finding, finding } from './findings.ts'

const TEXTS = { sk: 'sk', sck: 'sck', maintenance: 'maintenance', status1Text: 'status1-text' } as const

function endOf({ expiresAtMs }: Customer): number {
  return expiresAtMs ?? Number.POSITIVE_INFINITY
}

/** The customers of a source, each machine once: of two rows the one that ends later, of equal ones the first. */
export class Customers {
  readonly #byDigest = new Map<string, Customer>()
  readonly #losers: Customer[] = []

  add(customer: Customer): void {
    const rival = this.#byDigest.get(customer.digest)
    const wins = rival === undefined || endOf(customer) > endOf(rival)
    if (wins) this.#byDigest.set(customer.digest, customer)
    const loser = wins ? rival : customer
    if (loser !== undefined) this.#losers.push(loser)
  }

  /** Those that are taken, in the order of the source. */
  taken(): Customer[] {
    const taken = [...this.#byDigest.values()]
    return this.#losers.length === 0 ? taken : taken.sort((a, b) => a.row - b.row)
  }

  duplicates(): Finding[] {
    return this.#losers.map(({ row, name, digest }) =>
      finding('duplicate', row, {
        ...{ customer: name, hash: digest },
        detail: `row ${this.#byDigest.get(digest)?.row} is taken`,
      }),
    )
  }
}

/** Notes customers whose name an earlier row has too: one person with two machines, or two of one name. */
export function sameNames(customers: readonly Customer[]): Finding[] {
  const firstRows = new Map<string, number>()
  return customers.flatMap(({ row, name, digest }) => {
    const first = firstRows.get(name)
    if (first === undefined) firstRows.set(name, row)
    return first === undefined
      ? []
      : [finding('same_customer', row, { customer: name, hash: digest, detail: `as row ${first}` })]
  })
}

/** The commands that would make a licence what its row in the old server is now; none when it is. */
function mendingCommands(customer: Customer, licence: Licence): string[] {
  const { expiresAtMs } = customer
  const expiry = expiresAtMs === null ? '--perpetual' : `--expires ${new Date(expiresAtMs).toISOString()}`
  const names = Object.keys(TEXTS) as (keyof typeof TEXTS)[]
  const options = [
    ...(customer.name === licence.customer ? [] : ['--customer NAME']),
    ...names
      .filter((name) => customer[name] !== licence[name])
      .map((name) => (customer[name] === null ? `--inherit ${TEXTS[name]}` : `--${TEXTS[name]} TEXT`)),
  ]
  return [
    ...(expiresAtMs === licence.expiresAtMs ? [] : [`kunci licences renew ${licence.id} ${expiry}`]),
    ...(options.length === 0 ? [] : [`kunci licences update ${licence.id} ${options.join(' ')}`]),
  ]
}

/** What there is to say of a customer who has a licence already. */
export function compare(customer: Customer, licence: Licence): Finding {
  const facts = { customer: customer.name, hash: customer.digest, licenceId: licence.id }
  const commands = mendingCommands(customer, licence)
  return commands.length === 0
    ? finding('known', customer.row, facts)
    : finding('differs', customer.row, { ...facts, detail: commands.join('; ') })
}
