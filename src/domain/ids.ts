import { CROCKFORD, toCrockford } from '../crypto/licence-key.ts'
import type { Random } from '../random.ts'

const TIME_SYMBOLS = 10
const RANDOM_BYTES = 10

/** A public id: a three-letter kind and 80 random bits, such as `lic_7Q2M9KXH4C0T8RWB`. */
export function newId(kind: 'prd' | 'lic' | 'dev' | 'tok', random: Random): string {
  return `${kind}_${toCrockford(random(RANDOM_BYTES))}`
}

/** The id of a licence that is the same at each import. @param seed at least ten bytes, uniformly distributed. */
export function importedLicenceId(seed: Uint8Array): string {
  return `lic_${toCrockford(seed.subarray(0, RANDOM_BYTES))}`
}

/** The id of the device that an imported licence comes with. */
export function importedDeviceId(licenceId: string): string {
  return licenceId.replace('lic_', 'dev_')
}

/** The first ten symbols of every event id of this millisecond. */
export function eventIdPrefix(ms: number): string {
  let text = ''
  for (let rest = ms, i = 0; i < TIME_SYMBOLS; i++, rest = Math.floor(rest / 32))
    text = CROCKFORD.charAt(rest % 32) + text
  return text
}

/** 26 symbols: 50 bits of time, 80 random bits. Ids sort as their times do. */
export function newEventId(ms: number, random: Random): string {
  return eventIdPrefix(ms) + toCrockford(random(RANDOM_BYTES))
}

/** The id that sorts next after this one. */
export function eventIdAfter(id: string): string {
  return id.replace(
    /([^Z])(Z*)$/,
    (_, symbol: string, rest: string) =>
      CROCKFORD.charAt(CROCKFORD.indexOf(symbol) + 1) + '0'.repeat(rest.length),
  )
}

const NUMBERED_SINCE_MS = Date.UTC(2024, 0, 1)
const NUMBERS_A_MS = 4096

/** A number below 2^53, as older clients want ids to be: it grows with time; its last 12 bits are random. */
export function newNumericId(ms: number, random: Random): number {
  return (ms - NUMBERED_SINCE_MS) * NUMBERS_A_MS + (random(2).readUInt16BE() % NUMBERS_A_MS)
}

/** 16 symbols, 80 random bits: names one request in the log. */
export function newRequestId(random: Random): string {
  return toCrockford(random(RANDOM_BYTES))
}

/** What a customer reads out to the operator: the first ten symbols of the request's id, `XXXXX-XXXXX`. */
export function supportCodeOf(requestId: string): string {
  return `${requestId.slice(0, 5)}-${requestId.slice(5, 10)}`
}
