import { StoreError } from '../errors.ts'
import type { OwnedSession, SessionStore } from '../store/sessions.ts'

/** Other processes end sessions too: what was read longer ago is read again. */
const FRESH_MS = 900
const USERS_MAX = 100_000
const TRIES_MAX = 20

type Known = { readonly session: OwnedSession; readonly readAtMs: number }

/** What is known of one user. Once it is forgotten, what still waits for the database on its behalf is read again. */
type Entry = {
  readonly sessions: Map<string, Known>
  readonly reading: Map<string, Promise<OwnedSession | null>>
  isForgotten: boolean
}

/** What a token names. */
export type NamedSession = { readonly userId: number; readonly sessionId: string }

/**
 * The sessions whose rows were read within the last second, by user. An end in this process counts from its commit on:
 * while one is under way nothing is remembered, and afterwards nothing that was read before it.
 */
export class SessionCache {
  readonly #store: Pick<SessionStore, 'find'>
  /** The latest used last. */
  readonly #users = new Map<number, Entry>()
  /** How many changes of a user's sessions are under way. */
  readonly #changing = new Map<number, number>()

  constructor(store: Pick<SessionStore, 'find'>) {
    this.#store = store
  }

  /** The row of a session, live or not, where it was read within the last second; `undefined` where it has to be read. */
  known({ userId, sessionId }: NamedSession): OwnedSession | undefined {
    const known = this.#users.get(userId)?.sessions.get(sessionId)
    return known !== undefined && performance.now() - known.readAtMs < FRESH_MS ? known.session : undefined
  }

  /**
   * The row of a session as it was at most a second ago, live or not; `null` where there is none, or it is another user's.
   * @throws {StoreError} when it cannot be read: what is remembered is worth a second and no more.
   */
  async find(named: NamedSession): Promise<OwnedSession | null> {
    return this.known(named) ?? this.#read(named)
  }

  /** Changes sessions of users: from the commit of `work` on nobody is let through by what was known before. */
  async changing<T>(userIds: Iterable<number>, work: () => Promise<T>): Promise<T> {
    const users = [...userIds]
    for (const userId of users) this.#count(userId, 1)
    try {
      return await work()
    } finally {
      for (const userId of users) this.#count(userId, -1)
    }
  }

  #count(userId: number, step: 1 | -1): void {
    const under = (this.#changing.get(userId) ?? 0) + step
    if (under === 0) this.#changing.delete(userId)
    else this.#changing.set(userId, under)
    this.#forget(userId)
  }

  #forget(userId: number): void {
    const entry = this.#users.get(userId)
    if (entry === undefined) return
    entry.isForgotten = true
    this.#users.delete(userId)
  }

  async #read({ userId, sessionId }: NamedSession): Promise<OwnedSession | null> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const entry = this.#entryOf(userId)
      const readAtMs = performance.now()
      const isChanging = this.#changing.has(userId)
      // A read that began before a change may end after it: none is shared while one is under way.
      const session = await (isChanging ? this.#store.find(sessionId) : this.#shared(entry, sessionId))
      if (entry.isForgotten) continue
      if (session?.userId !== userId) return null
      if (!isChanging) entry.sessions.set(sessionId, { session, readAtMs })
      return session
    }
    throw new StoreError('the sessions of one user change without end')
  }

  #shared(entry: Entry, sessionId: string): Promise<OwnedSession | null> {
    const known = entry.reading.get(sessionId)
    if (known !== undefined) return known
    const reading = this.#store.find(sessionId).finally(() => entry.reading.delete(sessionId))
    entry.reading.set(sessionId, reading)
    return reading
  }

  #entryOf(userId: number): Entry {
    const entry: Entry = this.#users.get(userId) ?? {
      ...{ sessions: new Map(), reading: new Map(), isForgotten: false },
    }
    this.#users.delete(userId)
    this.#users.set(userId, entry)
    const [oldest] = this.#users.keys()
    if (this.#users.size > USERS_MAX && oldest !== undefined) this.#forget(oldest)
    return entry
  }
}
