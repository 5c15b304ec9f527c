const DAY_MS = 86_400_000
/** What the old programs are told of a licence that never ends. */
const PERPETUAL = { text: '9999-12-31 23:59:59', ms: Date.UTC(9999, 11, 31, 23, 59, 59) }

/** Writes times as `YYYY-MM-DD HH:MM:SS` in one time zone. */
export function legacyDates(timeZone: string): (ms: number) => string {
  if (timeZone === 'UTC') return (ms) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ')
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' })
  return (ms) => format.format(ms)
}

/** When a licence ends, and how many whole days from now, as the old programs read it. */
export function legacyExpiry(expiresAtMs: number | null, nowMs: number, write: (ms: number) => string) {
  // The last day of year 9999 is how operators write "for ever"; in some zones it would have five digits.
  const endMs = Math.min(expiresAtMs ?? PERPETUAL.ms, PERPETUAL.ms)
  return {
    expiry_date: endMs > PERPETUAL.ms - DAY_MS ? PERPETUAL.text : write(endMs),
    days_remaining: Math.floor((endMs - nowMs) / DAY_MS),
  }
}
