import type { SealedSuite } from '../../src/crypto/suites.ts'
import type { Outcome } from '../clients/client.ts'
import type { GenuineServer, Twist } from '../genuine/server.ts'
import { CALL, type Exchange, type Reply, type Request, SESSION, type Spectacle } from '../http.ts'
import type { Customer, Pins, Vendor } from '../parties.ts'

export const EVERY_SUITE: readonly SealedSuite[] = ['S1', 'S2', 'S3']

/** Stands between client and genuine server and answers in its place. */
export type Adversary = (request: Request, server: GenuineServer) => Reply | Spectacle

export type Course = {
  /** Where it differs from what the attack expects of its other ways. */
  readonly expect?: Outcome
  /** What the client stored in the honest run is still there. */
  readonly remembers?: boolean
  readonly clockOffsetS?: number
  /** Where they are not the vendor's. */
  readonly pins?: Pins
}

/** What an attack is played on: one client, one vendor, one genuine server whose sessions last as long as the attack. */
export type Stage = {
  readonly suite: SealedSuite
  readonly vendor: Vendor
  readonly customer: Customer
  readonly server: GenuineServer
  /** The time-out that the client gives each request. */
  readonly timeoutMs: number
  /** What went over the wire in the honest run that every attack begins with. */
  readonly recorded: readonly Exchange[]
  /** All that the client sent or printed in the attacks on this suite so far, and in which. */
  readonly overheard: readonly { readonly attack: string; readonly bytes: Buffer }[]
  /** What the client printed in the honest run; `undefined` where the client is no program. */
  readonly said: string | undefined
  /**
   * Starts the client with the adversary in the server's place. `way` names this variant in the report.
   * @throws {Flaw} for another outcome than the expected.
   */
  play(way: string, adversary: Adversary, course?: Course): Promise<readonly Exchange[]>
}

/** One row of the table. */
export type Attack = {
  readonly name: string
  /** What the attacker does: one line. */
  readonly title: string
  readonly suites: readonly SealedSuite[]
  /** What a sound client makes of it. */
  readonly expect: Outcome
  /** It judges what was overheard in all others, and so comes after them. */
  readonly isLast?: true
  play(stage: Stage): Promise<void>
}

/** A client did what it must not do. */
export class Flaw extends Error {
  /** For the table: an outcome, or a few words. */
  readonly got: string

  constructor(got: string, detail: string) {
    super(detail)
    this.got = got
  }
}

/** The client cannot be put into this situation here. */
export class NotPlayed extends Error {}

export type Json = Readonly<Record<string, unknown>>

export function jsonOf({ body }: Pick<Reply, 'body'>): Json {
  return body as Json
}

/** What the first request to an address was replied. */
export function repliedTo(path: string, exchanges: readonly Exchange[]): Reply {
  const found = exchanges.find(({ request }) => request.path === path)
  if (found === undefined || typeof found.reply === 'function')
    throw new Error(`nothing was replied to ${path}`)
  return found.reply
}

/** In the order in which they came. */
export function requestsTo(path: string, exchanges: readonly Exchange[]): Request[] {
  return exchanges.filter(({ request }) => request.path === path).map(({ request }) => request)
}

/** The genuine server, or whoever holds its keys and does a thing otherwise. */
export function serverWith(twist: Twist = {}): Adversary {
  return (request, server) => server.answer(request, twist)
}

/** Lets everything pass but what goes to one address. */
export function at(path: string, adversary: Adversary): Adversary {
  return (request, server) => (request.path === path ? adversary(request, server) : server.answer(request))
}

/** Gives this reply in place of the one to the handshake, or in place of the one to a call. */
export const insteadOfHello = (reply: Reply | Spectacle): Adversary => at(SESSION, () => reply)
export const insteadOfCall = (reply: Reply | Spectacle): Adversary => at(CALL, () => reply)

/** Changes members of the genuine reply on its way. A member set to `undefined` is left out. */
function changed(path: string, change: (reply: Json, request: Request) => Json): Adversary {
  return at(path, (request, server) => {
    const reply = server.answer(request)
    const body = jsonOf(reply)
    return reply.status === 200 ? { ...reply, body: { ...body, ...change(body, request) } } : reply
  })
}

export const changedHello = (change: (reply: Json, request: Request) => Json) => changed(SESSION, change)
export const changedCall = (change: (reply: Json, request: Request) => Json) => changed(CALL, change)
