import t from 'tap'
import { createEvents } from '../../src/domain/events.ts'
import { eventIdAfter } from '../../src/domain/ids.ts'
import type { EventStore } from '../../src/store/events.ts'
import { manualClock } from '../support/clock.ts'

const ACTOR = { name: 'test' }
const NO_STORE: EventStore = { list: async () => [], addRefusals: async () => {} }

t.test('events of one millisecond sort in the order in which they were made', (t) => {
  const clock = manualClock()
  const bytes = (n: number) => Buffer.alloc(10, n)
  // The highest id there is, then lower ones.
  const drawn = [bytes(0x7f), bytes(0xfe), bytes(0), bytes(0), bytes(0x80)]
  const random = () => drawn.shift() ?? bytes(0)
  const events = createEvents({ store: NO_STORE, clock, random, onError: t.error })
  t.teardown(() => events.close())
  const ids = [1, 2, 3, 4, 5].map(() => events.build('session_created', ACTOR).id)
  t.same(ids, ids.toSorted())
  t.equal(new Set(ids).size, ids.length)
  clock.advance(1)
  const later = events.build('session_created', ACTOR).id
  t.ok(later > (ids.at(-1) ?? ''))
  clock.advance(-1000)
  t.ok(
    events.build('session_created', ACTOR).id < (ids[0] ?? ''),
    'an id begins with its time, whatever was before',
  )
  t.end()
})

t.test('the id after another is the next in their order', (t) => {
  t.equal(eventIdAfter('00000AAA'), '00000AAB')
  t.equal(eventIdAfter('00000A9Z'), '00000AA0')
  t.equal(eventIdAfter('0000HZZZ'), '0000J000', 'I is none of the symbols')
  t.end()
})
