import t from 'tap'
import { legacyDates, legacyExpiry } from '../../src/http/legacy-date.ts'

t.test('no zone makes a date of another length than the old programs read', async (t) => {
  const ends = [Date.UTC(9999, 11, 31, 23, 59, 59), Date.UTC(9999, 11, 31, 12), Date.UTC(12_000, 0), null]
  for (const zone of ['UTC', 'Asia/Jakarta', 'America/Los_Angeles'])
    for (const end of ends) {
      const { expiry_date } = legacyExpiry(end, 0, legacyDates(zone))
      t.match(expiry_date, /^9999-12-31 \d\d:\d\d:\d\d$/, `${zone} ${end}`)
    }
  t.equal(legacyDates('Asia/Jakarta')(Date.UTC(2026, 0, 1, 17, 5, 9)), '2026-01-02 00:05:09')
  t.equal(
    legacyDates('America/New_York')(Date.UTC(2026, 6, 1, 4)),
    '2026-07-01 00:00:00',
    'midnight is not 24',
  )
})
