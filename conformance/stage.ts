import type { SealedSuite } from '../src/crypto/suites.ts'
import { type Attack, type Course, Flaw, NotPlayed, type Stage } from './attacks/attack.ts'
import { type Answer, type Client, isOutcome, type Outcome, type Run } from './clients/client.ts'
import { type GenuineServer, genuineServer } from './genuine/server.ts'
import { CALL, type Exchange, openFront } from './http.ts'
import type { Customer, Vendor } from './parties.ts'

/** What the attacks on one suite of a client have in common. */
export type Theatre = {
  readonly client: Client
  readonly suite: SealedSuite
  readonly vendor: Vendor
  readonly customer: Customer
  readonly timeoutMs: number
  readonly overheard: { attack: string; bytes: Buffer }[]
}

/** One line of the table. */
export type Row = {
  readonly suite: SealedSuite
  readonly case: string
  /** What the attacker does. */
  readonly title: string
  readonly expected: Outcome
  /** An outcome, or what the client did that it must not do. */
  readonly got: string
  /** `not_played`: the client cannot be put into this situation here. */
  readonly verdict: 'passed' | 'failed' | 'not_played'
  /** Of a row that has not passed: which variant, and why. */
  readonly detail: string | null
}

/** No attack keeps a client longer than a time-out or two; a program needs a while to start. */
const STARTING_MS = 20_000
const TIMEOUTS = 5

async function ask(client: Client, run: Run, limitMs: number): Promise<Answer> {
  const signal = AbortSignal.timeout(limitMs)
  const overdue = new Promise<Answer>((resolve) => {
    const note = `no outcome after ${limitMs / 1000} s`
    signal.addEventListener('abort', () => resolve({ outcome: 'broken', note }))
  })
  const answer = client(run, signal).catch(
    (error): Answer => ({ outcome: 'broken', note: `${error instanceof Error ? error.message : error}` }),
  )
  return Promise.race([answer, overdue])
}

type Played = { readonly answer: Answer; readonly exchanges: readonly Exchange[] }

/** The end of what a program said, its reason among it. The report has a line for it all. */
const SAID_CHARS = 500

/** What server and client have said about a run that went wrong. */
function cluesIn({ answer, exchanges }: Played): string {
  const complaints = exchanges.map(({ reply }) => (typeof reply === 'function' ? undefined : reply.complaint))
  const last = complaints.findLast((complaint) => complaint !== undefined)
  const said = answer.said?.trim().replace(/\s*\n/g, ' | ')
  return [
    last === undefined ? '' : `; the server minded: ${last}`,
    said ? `; it said: ${said.slice(-SAID_CHARS)}` : '',
  ].join('')
}

function isSealedReply({ request, reply }: Exchange): boolean {
  return request.path === CALL && typeof reply === 'object' && reply.status === 200
}

/** @throws {Flaw} where the client did not come to the expected outcome. */
function demand(expected: Outcome, way: string, played: Played): void {
  const { outcome, note } = played.answer
  if (outcome === expected) return
  if (!isOutcome(outcome)) throw new Flaw(outcome, `${way}: ${note ?? outcome}`)
  throw new Flaw(outcome, `${way}: ${outcome} instead of ${expected}${cluesIn(played)}`)
}

type Tell = (way: string) => void

function startsOf(theatre: Theatre, attack: Pick<Attack, 'name'>, server: GenuineServer, tell: Tell) {
  const { client, suite, vendor, customer, timeoutMs, overheard } = theatre
  let count = 0
  return async (way: string, adversary: Parameters<Stage['play']>[1], course: Course): Promise<Played> => {
    tell(way)
    await using front = await openFront((request) => adversary(request, server))
    const name = `${suite}-${attack.name}`
    const run: Run = {
      ...{ case: attack.name, serverUrl: front.url, suite, pins: course.pins ?? vendor.pins, ...customer },
      clockOffsetS: course.clockOffsetS ?? 0,
      state: course.remembers ? name : `${name}-${++count}`,
    }
    const answer = await ask(client, run, TIMEOUTS * timeoutMs + STARTING_MS)
    overheard.push({ attack: attack.name, bytes: front.received() })
    if (answer.said !== undefined) overheard.push({ attack: attack.name, bytes: Buffer.from(answer.said) })
    return { answer, exchanges: [...front.exchanges] }
  }
}

async function perform(theatre: Theatre, attack: Attack, tell: Tell): Promise<void> {
  const { suite, vendor, customer, timeoutMs, overheard } = theatre
  const server = genuineServer(vendor, customer)
  const start = startsOf(theatre, attack, server, tell)
  const honest = await start('the honest run', (request) => server.answer(request), { remembers: true })
  if (honest.answer.outcome !== 'allowed') {
    const { outcome, note } = honest.answer
    const why = note === undefined ? '' : ` (${note})`
    throw new Flaw('no honest run', `the honest run before: ${outcome}${why}${cluesIn(honest)}`)
  }
  if (!honest.exchanges.some(isSealedReply))
    throw new Flaw('no honest run', 'the honest run before: allowed, but the server was never asked')
  await attack.play({
    ...{ suite, vendor, customer, server, timeoutMs, overheard },
    ...{ recorded: honest.exchanges, said: honest.answer.said },
    play: async (way, adversary, course = {}) => {
      const played = await start(way, adversary, course)
      if (played.answer.outcome === 'unsupported') throw new NotPlayed(`${way}: ${played.answer.note}`)
      demand(course.expect ?? attack.expect, way, played)
      return played.exchanges
    },
  })
}

/** Whether the client can be asked for this suite at all: one honest run says it. */
export async function isSupported(theatre: Theatre): Promise<boolean> {
  const server = genuineServer(theatre.vendor, theatre.customer)
  const start = startsOf(theatre, { name: 'suites' }, server, () => {})
  const { answer } = await start('the honest run', (request) => server.answer(request), {})
  return answer.outcome !== 'unsupported'
}

/** Plays one attack in all its ways, up to the first that succeeds. @param tell hears the name of each way. */
export async function rowOf(theatre: Theatre, attack: Attack, tell: Tell): Promise<Row> {
  const { name, title, expect } = attack
  const row = { suite: theatre.suite, case: name, title, expected: expect }
  try {
    await perform(theatre, attack, tell)
    return { ...row, got: expect, verdict: 'passed', detail: null }
  } catch (error) {
    if (error instanceof Flaw) return { ...row, got: error.got, verdict: 'failed', detail: error.message }
    if (error instanceof NotPlayed)
      return { ...row, got: 'not played', verdict: 'not_played', detail: error.message }
    throw error
  }
}
