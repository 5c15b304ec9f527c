import { hash } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import type { Random } from '../../random.ts'
import type { StreamTicketStore, TicketUse } from '../../store/stream-tickets.ts'
import { isSignedIn, type Sessions, type SignedIn } from '../sessions.ts'

export type { TicketUse }

const TICKET_BYTES = 32
/** 32 bytes in base64url. */
const TICKET = /^[A-Za-z0-9_-]{43}$/
export const TICKET_TTL_S = 30

/** What a ticket opens. */
export type Admission =
  | { readonly kind: 'open'; readonly session: SignedIn; readonly use: TicketUse }
  /** It was one, and its session is over. */
  | { readonly kind: 'over' }
  | { readonly kind: 'refused' }

export type StreamTickets = ReturnType<typeof createStreamTickets>

/** A ticket opens a stream where no header can be set: it may stand in a URL, as a token must not. */
export function createStreamTickets(deps: {
  store: StreamTicketStore
  sessions: Pick<Sessions, 'find'>
  clock: Clock
  random: Random
}) {
  const { store, sessions, clock, random } = deps

  /** @returns the ticket's text, 256 random bits in base64url, which is kept nowhere. */
  async function create({ userId, sessionId }: SignedIn): Promise<string> {
    const ticket = random(TICKET_BYTES).toString('base64url')
    await store.create({ hash: hash('sha256', ticket), userId, sessionId, createdAtMs: clock() })
    return ticket
  }

  /**
   * Opens a stream the first time, within {@link TICKET_TTL_S} seconds; and again for whoever says where he was, as long as
   * the session lives.
   * @throws {StoreError}
   */
  async function redeem(ticket: string, comesBack: boolean): Promise<Admission> {
    if (!TICKET.test(ticket)) return { kind: 'refused' }
    const sinceMs = clock() - TICKET_TTL_S * 1000
    const use = await store.use(hash('sha256', ticket), { sinceMs, again: comesBack })
    if (use === null) return { kind: 'refused' }
    const session = await sessions.find(use.sessionId)
    if (session === null || !isSignedIn(session, clock())) return { kind: 'over' }
    return { kind: 'open', session, use }
  }

  return { create, redeem }
}
