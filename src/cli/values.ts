/** What the values of options are read as. Each throws an Error whose message ends the sentence "`--<name>` …". */

const LIMIT_MAX = 10_000
const MAXIMUM_MAX = 1000
const DATE_TIME =
  /^(?<date>\d{4}-\d{2}-\d{2})(?:[T ](?<time>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(?<zone>Z|[+-]\d{2}:\d{2})?)?$/

export function asLimit(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (value >= 1 && value <= LIMIT_MAX) return value
  throw new Error(`must be a whole number from 1 to ${LIMIT_MAX}, not "${text}"`)
}

/** How many there may be at once; `null` for any number. */
export function asMaximum(text: string): number | null {
  if (text === 'unlimited') return null
  const value = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (value >= 1 && value <= MAXIMUM_MAX) return value
  throw new Error(`must be unlimited or a whole number from 1 to ${MAXIMUM_MAX}, not "${text}"`)
}

export function asOneOf<const T extends string>(values: readonly T[]): (text: string) => T {
  return (text) => {
    const found = values.find((value) => value === text)
    if (found !== undefined) return found
    throw new Error(`must be one of ${values.join(', ')}, not "${text}"`)
  }
}

const onOrOff = asOneOf(['on', 'off'])

export function asSwitch(text: string): boolean {
  return onOrOff(text) === 'on'
}

/** @returns epoch milliseconds; of a date alone, those of its last second in UTC. A time without zone is UTC too. */
export function asExpiry(text: string): number {
  const { date = '', time, zone = 'Z' } = DATE_TIME.exec(text)?.groups ?? {}
  const ms = Date.parse(time === undefined ? `${date}T23:59:59Z` : `${date}T${time}${zone}`)
  // Date.parse takes 30 February for 2 March.
  const dayMs = Date.parse(`${date}T00:00:00Z`)
  if (!Number.isNaN(ms) && new Date(dayMs).toISOString().startsWith(date)) return ms
  throw new Error(`must be a date such as 2030-12-31 or 2030-12-31T17:00:00+07:00, not "${text}"`)
}

/** The members that are not `undefined`. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
