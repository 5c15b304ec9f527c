import type { Backend } from './backend.ts'
import { finishHandshake, type PinnedKey, type Session, startHandshake } from './handshake.ts'
import { parseObject } from './json.ts'
import type { Post } from './transport.ts'
import { UnavailableError } from './unavailable.ts'

/** A place in a session: its number is used once. */
export type Slot = { readonly session: Session; readonly seq: number }

export type Sessions = {
  /** The next place in the living session, or in a new one. @throws {UnavailableError} */
  take(): Promise<Slot>
  /** Forgets a session, so that the next place is in a new one. */
  drop(session: Session): void
  /** The next place in the living session, if there is one. */
  takeLiving(): Slot | null
}

export type SessionsOptions = {
  readonly backend: Backend
  readonly pinned: readonly PinnedKey[]
  readonly post: Post
  /** Milliseconds of a timer that nobody sets. */
  readonly monotonic: () => number
  /** Told of each new session. */
  readonly onSession: (session: Session) => void
}

/** A request needs time to arrive: a session this near its end is not begun another request in. */
const MARGIN_MS = 30_000

type Live = { readonly session: Session; readonly untilMs: number; seq: number }

/** Keeps one session alive and hands out its numbers. Callers that come together wait for the same handshake. */
export function createSessions({ backend, pinned, post, monotonic, onSession }: SessionsOptions): Sessions {
  let live: Live | null = null
  let opening: Promise<Live> | null = null

  async function shakeHands(key: PinnedKey): Promise<Live | null> {
    const startedMs = monotonic()
    const hello = await startHandshake(backend, key)
    const { status, text } = await post('/v1/session', hello.body)
    // Which of the pinned keys is in use may be hinted at by anybody: it decides nothing but what is tried next.
    if (status === 400 && parseObject(text)?.error === 'kex') return null
    if (status !== 200) throw new UnavailableError('refused')
    const session = await finishHandshake(backend, hello, text)
    onSession(session)
    return { session, untilMs: startedMs + session.expiresInS * 1000 - MARGIN_MS, seq: 0 }
  }

  async function open(): Promise<Live> {
    for (const key of pinned) {
      live = await shakeHands(key)
      if (live !== null) return live
    }
    throw new UnavailableError('kex')
  }

  function next(from: Live | null): Slot | null {
    if (from === null || from.seq >= from.session.maxSeq) return null
    from.seq += 1
    return { session: from.session, seq: from.seq }
  }

  const takeLiving = () => (live !== null && monotonic() < live.untilMs ? next(live) : null)

  return {
    takeLiving,
    take: async () => {
      for (;;) {
        const slot = takeLiving()
        if (slot !== null) return slot
        opening ??= open().finally(() => {
          opening = null
        })
        // Its first request goes out even if the session is so short that it would not be begun another one in.
        const fresh = next(await opening)
        if (fresh !== null) return fresh
      }
    },
    drop: (session) => {
      if (live?.session === session) live = null
    },
  }
}
