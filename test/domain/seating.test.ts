import t from 'tap'
import { keepSeat, type Seated, type SeatRules, takeSeat } from '../../src/domain/sealed/seating.ts'
import type { Seat } from '../../src/store/seats.ts'

const NOW = 2_000_000
const RULES: SeatRules = { seats: 1, atLimit: 'refuse', lapseMs: 240_000, nowMs: NOW }

function seat(deviceId: string, seatNo: number | null, facts: Partial<Seat> = {}): Seat {
  return {
    ...{ licenceId: 'lic', deviceId, seatNo, sessionId: `of ${deviceId}` },
    ...{ takenAtMs: NOW - 60_000, renewedAtMs: NOW - 60_000, yieldByMs: null },
    ...facts,
  }
}

const applicant = (deviceId: string, preferredNo = 1) => ({
  ...{ licenceId: 'lic', deviceId, sessionId: 'now', preferredNo },
})

t.test(
  'a device gets its own seat again, whatever session it comes in, and from when it was its own',
  async (t) => {
    const own = seat('a', 1)
    const next = { ...own, sessionId: 'now', renewedAtMs: NOW }
    const seating = { kind: 'seated', seat: next, changes: [{ seen: own, next }], ends: [] }
    t.same(takeSeat([own], applicant('a'), RULES), seating)
    t.same(takeSeat([own], applicant('a'), { ...RULES, atLimit: 'kick' }), seating)
  },
)

t.test('a seat that has lapsed is still its own device’s while nobody took it, from now on', async (t) => {
  const own = seat('a', 1, { renewedAtMs: NOW - 240_000 })
  t.match(takeSeat([own], applicant('a'), RULES), { kind: 'seated', seat: { seatNo: 1, takenAtMs: NOW } })
})

t.test(
  'a seat is taken until two intervals have passed without a word, and not a moment longer',
  async (t) => {
    const held = seat('a', 1, { renewedAtMs: NOW - 239_999 })
    t.match(takeSeat([held], applicant('b'), RULES), { kind: 'full', retryInS: 1 })
    const lapsed = seat('a', 1, { renewedAtMs: NOW - 240_000 })
    t.match(takeSeat([lapsed], applicant('b'), RULES), {
      kind: 'seated',
      changes: [
        { seen: lapsed, next: null },
        { seen: null, next: { deviceId: 'b', seatNo: 1 } },
      ],
      ends: [],
    })
  },
)

t.test('a clock that was set back keeps nobody out for longer than a seat lasts', async (t) => {
  const toCome = seat('a', 1, { renewedAtMs: NOW + 239_999 })
  t.match(takeSeat([toCome], applicant('b'), RULES), { kind: 'full', retryInS: 240 })
  const farOff = seat('a', 1, { renewedAtMs: NOW + 3_600_000 })
  t.match(takeSeat([farOff], applicant('b'), RULES), { kind: 'seated' })
  const askedThen = seat('a', 1, { yieldByMs: NOW + 3_600_000 })
  const ask = takeSeat([askedThen], applicant('b'), { ...RULES, atLimit: 'ask' })
  t.match(ask, { kind: 'full', retryInS: 15, asked: { deviceId: 'a', yieldByMs: NOW + 15_000 } })
})

t.test(
  'devices that come together look for different seats, and find the last one that is free',
  async (t) => {
    const rules = { ...RULES, seats: 3 }
    const numberOf = (seats: Seat[], preferredNo: number) =>
      (takeSeat(seats, applicant('z', preferredNo), rules) as Seated).seat.seatNo
    t.same(
      [1, 2, 3, 4].map((preferredNo) => numberOf([], preferredNo)),
      [1, 2, 3, 1],
    )
    t.equal(numberOf([seat('a', 2), seat('b', 3)], 2), 1)
  },
)

t.test('refuse: nothing changes, and the answer says when the first seat could lapse', async (t) => {
  const rules = { ...RULES, seats: 2 }
  const seats = [seat('a', 1, { renewedAtMs: NOW - 1_000 }), seat('b', 2, { renewedAtMs: NOW - 200_500 })]
  t.same(takeSeat(seats, applicant('c'), rules), {
    ...{ kind: 'full', retryInS: 40, isKicked: false, asked: null, changes: [], ends: [] },
  })
})

t.test('kick: the seat that was renewed longest ago goes to the newcomer', async (t) => {
  const rules = { ...RULES, seats: 2, atLimit: 'kick' } as const
  const [young, old] = [seat('a', 1), seat('b', 2, { renewedAtMs: NOW - 200_000 })]
  t.match(takeSeat([young, old], applicant('c'), rules), {
    kind: 'seated',
    seat: { deviceId: 'c', seatNo: 2, takenAtMs: NOW, renewedAtMs: NOW },
    changes: [
      { seen: old, next: { ...old, seatNo: null } },
      { seen: null, next: { deviceId: 'c', seatNo: 2 } },
    ],
    ends: [{ seat: old, reason: 'kicked' }],
  })
})

t.test('who was kicked is told so before he may kick in turn, and takes what is free at once', async (t) => {
  const rules = { ...RULES, atLimit: 'kick' } as const
  const kicked = seat('a', null)
  const holder = seat('b', 1)
  t.match(takeSeat([kicked, holder], applicant('a'), rules), {
    ...{ kind: 'full', isKicked: true, changes: [{ seen: kicked, next: null }], ends: [] },
  })
  t.match(takeSeat([kicked, holder], applicant('a'), { ...rules, seats: 2 }), {
    kind: 'seated',
    changes: [{ seen: kicked, next: { seatNo: 2 } }],
  })
  const longAgo = seat('a', null, { renewedAtMs: NOW - 240_000 })
  t.match(takeSeat([longAgo, holder], applicant('a'), rules), {
    kind: 'seated',
    ends: [{ seat: holder, reason: 'kicked' }],
  })
})

t.test('ask: the oldest holder has 15 seconds, and whoever comes meanwhile asks nobody else', async (t) => {
  const rules = { ...RULES, seats: 2, atLimit: 'ask' } as const
  const [young, old] = [seat('a', 1), seat('b', 2, { renewedAtMs: NOW - 200_000 })]
  const asked = { ...old, yieldByMs: NOW + 15_000 }
  t.same(takeSeat([young, old], applicant('c'), rules), {
    ...{
      kind: 'full',
      retryInS: 15,
      isKicked: false,
      asked,
      changes: [{ seen: old, next: asked }],
      ends: [],
    },
  })
  t.same(takeSeat([young, asked], applicant('d'), { ...rules, nowMs: NOW + 4_500 }), {
    ...{ kind: 'full', retryInS: 11, isKicked: false, asked: null, changes: [], ends: [] },
  })
  t.match(takeSeat([young, asked], applicant('d'), { ...rules, nowMs: NOW + 15_000 }), {
    kind: 'seated',
    seat: { deviceId: 'd', seatNo: 2 },
    changes: [{ seen: asked, next: { ...asked, seatNo: null } }, {}],
    ends: [{ seat: asked, reason: 'yielded' }],
  })
})

t.test('a holder that works on is still asked; only a word keeps the seat, and one in time', async (t) => {
  const asked = seat('a', 1, { yieldByMs: NOW + 5_000 })
  const stays = { kind: 'seated', seat: { renewedAtMs: NOW, yieldByMs: NOW + 5_000 } }
  t.match(keepSeat(asked, false, RULES), stays)
  t.match(takeSeat([asked], applicant('a'), RULES), stays)
  t.match(keepSeat(asked, true, RULES), { kind: 'seated', seat: { renewedAtMs: NOW, yieldByMs: null } })
  const late = { ...RULES, nowMs: NOW + 5_000 }
  for (const keeps of [true, false])
    t.match(keepSeat(asked, keeps, late), {
      ...{ kind: 'full', isKicked: false, retryInS: 1 },
      ...{ changes: [{ seen: asked, next: null }], ends: [{ seat: asked, reason: 'yielded' }] },
    })
})

t.test(
  'a licence with fewer seats than before takes back the highest ones, unless there is room',
  async (t) => {
    const [first, third] = [seat('a', 1), seat('c', 3)]
    t.match(keepSeat(first, false, RULES), { kind: 'seated', seat: { seatNo: 1 } })
    t.equal(keepSeat(third, false, RULES), null)
    t.match(takeSeat([first, third], applicant('c'), RULES), {
      ...{ kind: 'full', isKicked: false },
      ...{ changes: [{ seen: third, next: null }], ends: [{ seat: third, reason: 'withdrawn' }] },
    })
    t.match(takeSeat([third], applicant('c'), RULES), { changes: [{ seen: third, next: { seatNo: 1 } }] })
  },
)
