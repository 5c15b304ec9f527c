const DAY_MS = 86_400_000

/** Of a local time: the instants at which clocks of the zone show it. None in a gap, two where clocks are put back. */
export type InstantsOf = (localMs: number) => number[]

/** How far a zone's clocks are ahead of UTC at an instant. */
function offsetReader(timeZone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    era: 'short',
    ...{ year: 'numeric', month: 'numeric', day: 'numeric' },
    ...{ hour: 'numeric', minute: 'numeric', second: 'numeric' },
  })
  return (ms) => {
    const wholeMs = Math.floor(ms / 1000) * 1000
    const parts: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {}
    for (const { type, value } of format.formatToParts(wholeMs)) parts[type] = Number(value)
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts
    return Date.UTC(year, month - 1, day, hour, minute, second) - wholeMs
  }
}

/** @param timeZone a name that Intl knows, such as `Asia/Jakarta`. */
export function instantsIn(timeZone: string): InstantsOf {
  if (timeZone === 'UTC') return (localMs) => [localMs]
  const offsetAt = offsetReader(timeZone)
  return (localMs) => {
    // No offset is a day: what held a day before and holds a day after are all that can hold at this time.
    const offsets = new Set([-DAY_MS, 0, DAY_MS].map((shiftMs) => offsetAt(localMs + shiftMs)))
    return [...offsets].map((offset) => localMs - offset).filter((ms) => localMs - offsetAt(ms) === ms)
  }
}
