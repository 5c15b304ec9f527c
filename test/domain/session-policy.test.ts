import fc from 'fast-check'
import t from 'tap'
import { decideSignIn, overReason, type SignInVerdict, YIELD_MS } from '../../src/domain/session-policy.ts'
import type { AtLimit } from '../../src/store/accounts.ts'
import { isLive, type SessionRow } from '../../src/store/session-rows.ts'
import type { TakeOver } from '../../src/store/sign-ins.ts'
import { holds } from '../support/properties.ts'

const NOW = Date.UTC(2031, 0, 1)
const HOUR_MS = 60 * 60_000
const DAY_MS = 24 * HOUR_MS

function session(id: number, facts: Partial<SessionRow> = {}): SessionRow {
  return {
    ...{ id, userId: 1, sessionId: `s${id}`, ipAddress: '', userAgent: '' },
    ...{ firstIpAddress: '', firstUserAgent: '', deviceType: 'desktop', deviceName: '', country: null },
    ...{ isActive: true, lastActivityMs: NOW - id * 1000, loginAtMs: NOW - HOUR_MS, logoutAtMs: null },
    ...{ idleMs: DAY_MS, expiresAtMs: NOW + DAY_MS, yieldByMs: null, endReason: null, endedBy: null },
    ...facts,
  }
}

function takeOver(facts: Partial<TakeOver> = {}): TakeOver {
  return {
    ...{ tokenHash: 'h', userId: 1, kind: 'refuse', createdAtMs: NOW - 1000 },
    ...{ expiresAtMs: NOW + 1000, usedAtMs: null, refusedAtMs: null },
    ...facts,
  }
}

type Come = {
  sessions?: SessionRow[]
  back?: TakeOver | null | undefined
  chosen?: string | null
  nowMs?: number
}

/** @param back the take-over it comes back with; `null`: one that is not there; left out: it comes anew. */
function decide(atLimit: AtLimit, maxSessions: number | null, { sessions = [], back, chosen, nowMs }: Come) {
  const come = { comesBack: back !== undefined, chosen: chosen ?? null, nowMs: nowMs ?? NOW }
  return decideSignIn({ sessions, takeOver: back ?? null }, { maxSessions, atLimit }, come)
}

const ids = (sessions: readonly SessionRow[]) => sessions.map(({ sessionId }) => sessionId)
const ended = (verdict: SignInVerdict) =>
  verdict.kind === 'open' ? ids(verdict.ends.map(({ session }) => session)) : []

t.test('where there is room, or no limit, one more is let in and nobody goes', async (t) => {
  for (const atLimit of ['kick', 'refuse', 'ask'] as const) {
    const crowd = [session(1), session(2)]
    t.same(decide(atLimit, null, { sessions: crowd }), { kind: 'open', ends: [], uses: false, over: [] })
    t.same(ended(decide(atLimit, 3, { sessions: crowd })), [])
    t.match(decide(atLimit, 1, { sessions: [] }), { kind: 'open', ends: [] })
  }
})

t.test('without a limit a thousand are in, and then one goes for each that comes', async (t) => {
  const crowd = (size: number) => Array.from({ length: size }, (_, i) => session(i + 1))
  for (const atLimit of ['kick', 'refuse', 'ask'] as const) {
    t.same(ended(decide(atLimit, null, { sessions: crowd(999) })), [], atLimit)
    const verdict = decide(atLimit, null, { sessions: crowd(1000) })
    t.match(verdict, { kind: 'open', ends: [{ session: { sessionId: 's1000' }, reason: 'kicked' }] })
    t.equal(ended(decide(atLimit, null, { sessions: crowd(1002) })).length, 3)
  }
})

t.test(
  'kick: those go that were used least lately, the elder first of those used at the same time',
  async (t) => {
    const sessions = [session(1), session(3), session(2)]
    t.same(ended(decide('kick', 3, { sessions })), ['s3'])
    t.same(ended(decide('kick', 1, { sessions })), ['s3', 's2', 's1'], 'more than one where the limit fell')
    const alike = [5, 4, 6].map((id) => session(id, { lastActivityMs: NOW }))
    t.same(ended(decide('kick', 3, { sessions: alike })), ['s4'])
    const verdict = decide('kick', 1, { sessions: [session(1)] })
    t.match(verdict, { ends: [{ reason: 'kicked' }], uses: false })
  },
)

t.test('refuse: nobody goes, and all who are in are listed; over ones are none of them', async (t) => {
  const [one, two, over] = [session(1), session(2), session(3, { expiresAtMs: NOW })]
  t.same(decide('refuse', 2, { sessions: [one, two, over] }), {
    ...{ kind: 'full', live: [one, two] },
    over: [{ session: over, reason: 'expired' }],
  })
})

t.test(
  'a take-over ends the one that was chosen, else the one used least lately, and is used up',
  async (t) => {
    const sessions = [session(1), session(2), session(3)]
    const back = takeOver()
    t.match(decide('refuse', 3, { sessions, back }), { uses: true, ends: [{ reason: 'taken_over' }] })
    t.same(ended(decide('refuse', 3, { sessions, back })), ['s3'])
    t.same(ended(decide('refuse', 3, { sessions, back, chosen: 's1' })), ['s1'])
    t.same(ended(decide('refuse', 2, { sessions, back, chosen: 's1' })), ['s1', 's3'])
    t.same(ended(decide('refuse', 3, { sessions, back, chosen: 'of somebody else' })), ['s3'])
    t.same(ended(decide('refuse', 4, { sessions, back, chosen: 's1' })), [], 'there is room by now')
    t.same(ended(decide('refuse', 3, { sessions, chosen: 's1' })), [], 'a choice alone chooses nothing')
  },
)

t.test('a take-over that was used, is over, was refused or never was lets nobody in', async (t) => {
  for (const sessions of [[], [session(1)]]) {
    const kind = (back: TakeOver | null) => decide('refuse', 1, { sessions, back }).kind
    t.equal(kind(null), 'void')
    t.equal(kind(takeOver({ usedAtMs: NOW - 1 })), 'void')
    t.equal(kind(takeOver({ expiresAtMs: NOW })), 'void')
    t.equal(kind(takeOver({ kind: 'ask', refusedAtMs: NOW - 1 })), 'kept')
    t.equal(kind(takeOver({ expiresAtMs: NOW + 1 })), 'open')
  }
})

t.test('ask: the holder has fifteen seconds, who comes meanwhile waits for the same answer', async (t) => {
  const held = session(1)
  const untilMs = NOW + YIELD_MS
  t.same(decide('ask', 1, { sessions: [held] }), { kind: 'ask', asks: [held], untilMs, over: [] })
  const asked = { ...held, yieldByMs: untilMs }
  const later = { sessions: [asked], nowMs: NOW + 5000 }
  t.same(decide('ask', 1, later), { kind: 'ask', asks: [], untilMs, over: [] }, 'nobody is asked twice')
  const back = takeOver({ kind: 'ask', expiresAtMs: NOW + HOUR_MS })
  t.same(decide('ask', 1, { ...later, back }), { kind: 'waiting', untilMs, over: [] })
  const silent = decide('ask', 1, { sessions: [asked], back, nowMs: untilMs })
  t.match(silent, { kind: 'open', ends: [], uses: true, over: [{ reason: 'yielded' }] }, 'silence is a yes')
  const another = decide('ask', 1, { sessions: [session(2)], back })
  t.match(another, { kind: 'ask', asks: [{ sessionId: 's2' }] }, 'who came in between is asked too')
  t.match(
    decide('ask', 1, { sessions: [session(2)], back: takeOver() }),
    { kind: 'open' },
    'a policy that changed',
  )
})

t.test('what ended a session that nobody ended is what came first', async (t) => {
  const over = (facts: Partial<SessionRow>) => overReason(session(1, facts))
  t.equal(over({ expiresAtMs: NOW - 2, lastActivityMs: NOW - 1 - DAY_MS }), 'expired')
  t.equal(over({ expiresAtMs: NOW - 1, lastActivityMs: NOW - 2 - DAY_MS }), 'idle')
  t.equal(over({ expiresAtMs: NOW - 1, yieldByMs: NOW - 2 }), 'yielded')
  t.equal(over({ expiresAtMs: NOW - 2, yieldByMs: NOW - 1 }), 'expired')
})

const aSession = fc.record({
  isActive: fc.boolean(),
  lastActivityMs: fc.integer({ min: NOW - 2 * DAY_MS, max: NOW }),
  expiresAtMs: fc.integer({ min: NOW - 2, max: NOW + 2 }),
  yieldByMs: fc.option(fc.integer({ min: NOW - 2, max: NOW + 2 })),
})
const aHouse = fc.array(aSession, { maxLength: 8 }).map((all) => all.map((facts, i) => session(i + 1, facts)))
const aTakeOver = fc.record({
  kind: fc.constantFrom('refuse' as const, 'ask' as const),
  expiresAtMs: fc.integer({ min: NOW - 1, max: NOW + 1 }),
  usedAtMs: fc.option(fc.constant(NOW - 1)),
  refusedAtMs: fc.option(fc.constant(NOW - 1)),
})
const aSignIn = fc.record({
  sessions: aHouse,
  maxSessions: fc.integer({ min: 1, max: 4 }),
  atLimit: fc.constantFrom<AtLimit>('kick', 'refuse', 'ask'),
  back: fc.option(fc.option(aTakeOver.map(takeOver)), { nil: undefined }),
  chosen: fc.option(fc.constantFrom('s1', 's2', 's9')),
})

t.test('whatever the house is like', async (t) => {
  type Wish = Come & { sessions: SessionRow[]; maxSessions: number; atLimit: AtLimit }
  const always = (name: string, rule: (verdict: SignInVerdict, wish: Wish) => boolean) => {
    const judged = (wish: Wish) => rule(decide(wish.atLimit, wish.maxSessions, wish), wish)
    holds(t, fc.property(aSignIn, judged), name, 2000)
  }
  const liveOf = (sessions: readonly SessionRow[]) => sessions.filter((session) => isLive(session, NOW))

  always('no more than the limit are in after a let-in, and nobody goes without need', (verdict, wish) => {
    if (verdict.kind !== 'open') return true
    const before = liveOf(wish.sessions).length
    const after = before - verdict.ends.length + 1
    return after <= wish.maxSessions && (verdict.ends.length === 0 || after === wish.maxSessions)
  })
  always('only the living are ended, asked or listed, each once', (verdict, wish) => {
    const touched = [
      ...ended(verdict),
      ...(verdict.kind === 'ask' ? ids(verdict.asks) : []),
      ...(verdict.kind === 'full' ? ids(verdict.live) : []),
    ]
    const live = new Set(ids(liveOf(wish.sessions)))
    return new Set(touched).size === touched.length && touched.every((id) => live.has(id))
  })
  always('those who go were used no later than those who stay, but for the chosen one', (verdict, wish) => {
    if (verdict.kind !== 'open' || verdict.ends.length === 0) return true
    const going = verdict.ends
      .map(({ session }) => session)
      .filter(({ sessionId }) => sessionId !== wish.chosen)
    const staying = liveOf(wish.sessions).filter(({ sessionId }) => !ended(verdict).includes(sessionId))
    return going.every((gone) => staying.every(({ lastActivityMs }) => gone.lastActivityMs <= lastActivityMs))
  })
  always('what is over is written down as over, each once, whatever else happens', (verdict, wish) => {
    const over = wish.sessions.filter((session) => !isLive(session, NOW))
    return ids(verdict.over.map(({ session }) => session)).join() === ids(over).join()
  })
  always('a living session goes under refuse and ask only to a take-over that is good', (verdict, wish) => {
    if (wish.atLimit === 'kick' || ended(verdict).length === 0) return true
    const { back } = wish
    return (
      back?.kind === 'refuse' && back.usedAtMs === null && back.refusedAtMs === null && back.expiresAtMs > NOW
    )
  })
  always('who comes with a take-over uses it up as he is let in, and not before', (verdict, wish) => {
    return verdict.kind !== 'open' || verdict.uses === (wish.back !== undefined)
  })
  always('a take-over that is not good lets nobody in, be the house empty', (verdict, { back }) => {
    if (back === undefined) return verdict.kind !== 'void' && verdict.kind !== 'kept'
    const isGood =
      back !== null && back.usedAtMs === null && back.refusedAtMs === null && back.expiresAtMs > NOW
    return isGood || verdict.kind === 'void' || verdict.kind === 'kept'
  })
})
