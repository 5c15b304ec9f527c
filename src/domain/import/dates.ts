import type { TimeKind } from '../../store/old-server/old-table.ts'
import { type InstantsOf, instantsIn } from './local-time.ts'

/** What an old server's cell says of a time. */
export type OldTime =
  | { readonly ms: number }
  | { readonly fault: 'missing' | 'unreadable' | 'nonexistent' | 'ambiguous' }

export type ReadTime = (text: string | null, kind: TimeKind) => OldTime

const DATE_TIME =
  /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?)?(Z|[+-]\d{2}(?::?\d{2})?)?$/
const ZERO = /^0000-00-00(?:[ T]00:00(?::00(?:\.0+)?)?)?$/
const YEAR_MIN = 1000
/** From 2000 to 9999: milliseconds, and counters that are no times, lie outside. */
const UNIX_S = { min: 946_684_800, max: 253_402_300_799 }
/** West of UTC the last hours of 9999 are of a year with five digits, which few programs can read. */
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
const REMEMBERED_MAX = 10_000

/** Milliseconds of a date and time as if they were UTC, or NaN where the calendar has no such day or the clock no such time. */
function calendarMs(date: string, minutes = '00:00', seconds = '00', fraction = ''): number {
  const ms = Date.parse(`${date}T${minutes}:${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}Z`)
  // JavaScript takes 30 February for 2 March, and 24:00 for the next day.
  const isReal = !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(`${date}T${minutes}`)
  return isReal && Number(date.slice(0, 4)) >= YEAR_MIN ? ms : Number.NaN
}

function offsetMs(zone: string): number {
  if (zone === 'Z') return 0
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(3).replace(':', ''))]
  const isReal = hours <= 14 && minutes < 60
  return isReal ? (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000 : Number.NaN
}

function readUnix(text: string): OldTime {
  const seconds = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
  if (seconds === 0) return { fault: 'missing' }
  const isPlausible = seconds >= UNIX_S.min && seconds <= UNIX_S.max
  return isPlausible ? { ms: seconds * 1000 } : { fault: 'unreadable' }
}

function instant(ms: number): OldTime {
  return { ms: Math.min(ms, LAST_MS) }
}

function readText(text: string, kind: TimeKind, instantsOf: InstantsOf): OldTime {
  const [, date = '', minutes, seconds, fraction, zone] = DATE_TIME.exec(text) ?? []
  const ms = calendarMs(date, minutes, seconds, fraction)
  // An offset belongs to a time of day: with a date alone nobody knows what it means.
  const shiftMs = zone === undefined ? 0 : minutes === undefined ? Number.NaN : offsetMs(zone)
  if (Number.isNaN(ms - shiftMs)) return { fault: 'unreadable' }
  if (zone !== undefined || kind === 'instant') return instant(ms - shiftMs)
  const [first, second] = instantsOf(ms)
  if (first === undefined) return { fault: 'nonexistent' }
  return second === undefined ? instant(first) : { fault: 'ambiguous' }
}

/**
 * Reads the times of an old server: `YYYY-MM-DD[ HH:MM[:SS[.ffffff]]]`, also with `T`, an offset or `Z`. A date alone
 * is its midnight, as it was to the old server. Whatever could mean two things is not guessed.
 * @param timeZone of what names no offset and is no instant by its column.
 */
export function timeReader(timeZone: string): ReadTime {
  const instantsOf = instantsIn(timeZone)
  // Many licences end on the same days, and a time zone is slow to ask.
  const remembered = new Map<string, OldTime>()
  return (cell, kind) => {
    const text = cell?.trim() ?? ''
    if (text === '' || ZERO.test(text)) return { fault: 'missing' }
    if (kind === 'unix') return readUnix(text)
    const key = `${kind} ${text}`
    const known = remembered.get(key)
    if (known !== undefined) return known
    const time = readText(text, kind, instantsOf)
    if (remembered.size >= REMEMBERED_MAX) remembered.clear()
    if (text.length < 40) remembered.set(key, time)
    return time
  }
}
