import { availableParallelism } from 'node:os'
import type { SealedSuite } from '../src/crypto/suites.ts'
import { ATTACKS } from './attacks/all.ts'
import { type Attack, EVERY_SUITE } from './attacks/attack.ts'
import type { Client } from './clients/client.ts'
import { newCustomer, newVendor } from './parties.ts'
import { isSupported, type Row, rowOf, type Theatre } from './stage.ts'

/** The conformance kit as a library: it plays every attack against a client and says what came of each. */

export type { Answer, Client, Outcome, Run } from './clients/client.ts'
export { harnessClient } from './clients/harness.ts'
export { programClient, wordsOf } from './clients/program.ts'
export type { Row } from './stage.ts'

export type Options = {
  readonly client: Client
  /** If left out, those that the client does not call unsupported. */
  readonly suites?: readonly SealedSuite[]
  /** The name of one attack. */
  readonly only?: string
  /** The time-out that the client gives each request. Default: 10 s, as the protocol has it. */
  readonly timeoutMs?: number
  /** How many attacks are played at the same time. Default: one a core. */
  readonly jobs?: number
  /** Hears which variant of which attack begins. */
  readonly onProgress?: (suite: SealedSuite, attack: string, way: string) => void
  /** Hears each row as soon as it is known. */
  readonly onRow?: (row: Row) => void
}

const DEFAULT_TIMEOUT_MS = 10_000

export const ATTACK_NAMES: readonly string[] = ATTACKS.map(({ name }) => name)

/** Does the work on all items, so many at the same time. The results are in the items' order. */
async function inParallel<T, R>(
  items: readonly T[],
  jobs: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const left = [...items.entries()]
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift())
      results[next[0]] = await work(next[1])
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  return results
}

async function attackIn(theatre: Theatre, attacks: readonly Attack[], options: Options): Promise<Row[]> {
  const { jobs = availableParallelism(), onProgress, onRow } = options
  const play = async (attack: Attack) => {
    const row = await rowOf(theatre, attack, (way) => onProgress?.(theatre.suite, attack.name, way))
    onRow?.(row)
    return row
  }
  const [last = [], others = []] = [true, false].map((isLast) =>
    attacks.filter((attack) => (attack.isLast ?? false) === isLast),
  )
  return [...(await inParallel(others, jobs, play)), ...(await inParallel(last, jobs, play))]
}

/**
 * Plays the attacks in each suite, against keys, licence and machine made for this call alone.
 * @returns a row an attack and suite; none where the client has no suite for it.
 */
export async function attack(options: Options): Promise<Row[]> {
  const { client, only, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const vendor = newVendor()
  const customer = newCustomer()
  const rows: Row[] = []
  for (const suite of options.suites ?? EVERY_SUITE) {
    const theatre = { client, suite, vendor, customer, timeoutMs, overheard: [] }
    if (options.suites === undefined && !(await isSupported(theatre))) continue
    const attacks = ATTACKS.filter(
      ({ name, suites }) => suites.includes(suite) && (only === undefined || name === only),
    )
    rows.push(...(await attackIn(theatre, attacks, options)))
  }
  return rows
}
