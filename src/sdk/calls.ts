import type { Backend } from './backend.ts'
import { toB64u } from './encoding.ts'
import { type Answer, openReply, sealRequest } from './records.ts'
import type { Sessions, Slot } from './sessions.ts'
import type { Post } from './transport.ts'
import { UnavailableError } from './unavailable.ts'

const NONCE_BYTES = 16
const SALT_BYTES = 16
const OK = 200
const UNAUTHORIZED = 401
const CONFLICT = 409

/** That many random bytes. */
export type Random = (length: number) => Uint8Array<ArrayBuffer>

export type CallsOptions = {
  readonly backend: Backend
  readonly sessions: Sessions
  readonly post: Post
  readonly random: Random
  /** Given each opened reply, before its caller. */
  readonly onAnswer: (answer: Answer) => Promise<void>
}

export type Calls = {
  /**
   * One request, in the living session or, once, in a new one. It keeps its nonce (base64url of 16 bytes), by which the
   * server knows it again and does nothing twice.
   * @throws {UnavailableError}
   */
  call(op: string, data: object): Promise<Answer & { readonly nonce: string }>
  /**
   * One request in the living session and in no other; `null` when there is none, or it is no more.
   * @throws {UnavailableError}
   */
  callLiving(op: string, data: object): Promise<Answer | null>
  /**
   * The last request in the living session, tried once; `null` when there is none, or it is no more.
   * @throws {UnavailableError}
   */
  callLast(op: string, data: object): Promise<Answer | null>
}

type Request = { readonly op: string; readonly data: object; readonly nonce: Uint8Array<ArrayBuffer> }

export function createCalls({ backend, sessions, post, random, onAnswer }: CallsOptions): Calls {
  /** @returns `null` when the session is no more: another may be tried. */
  async function callIn({ session, seq }: Slot, request: Request, waitsMs?: readonly number[]) {
    const sealed = await sealRequest(backend, session, { ...request, seq, salt: random(SALT_BYTES) })
    const reply = await post('/v1/call', sealed.body, session.token, waitsMs)
    // Anybody can claim that a session is no more. It costs a handshake and proves nothing.
    if (reply.status === UNAUTHORIZED) return null
    if (reply.status !== OK) throw new UnavailableError('refused')
    const answer = await openReply(backend, session, sealed, reply.text)
    await onAnswer(answer)
    if (answer.status === CONFLICT) sessions.drop(session)
    return answer.code === 'session_expired' ? null : answer
  }

  const requestOf = (op: string, data: object): Request => ({ op, data, nonce: random(NONCE_BYTES) })

  return {
    call: async (op, data) => {
      const request = requestOf(op, data)
      const nonce = toB64u(request.nonce)
      const first = await sessions.take()
      const answer = await callIn(first, request).catch((error: unknown) => {
        // All tries ran out: what does not come through in this session may in a new one.
        if (error instanceof UnavailableError && error.reason === 'no_reply') return null
        throw error
      })
      if (answer !== null) return { ...answer, nonce }
      sessions.drop(first.session)
      const second = await sessions.take()
      const again = await callIn(second, request)
      if (again !== null) return { ...again, nonce }
      sessions.drop(second.session)
      throw new UnavailableError('session_expired')
    },
    callLiving: async (op, data) => {
      const slot = sessions.takeLiving()
      if (slot === null) return null
      const answer = await callIn(slot, requestOf(op, data))
      if (answer === null) sessions.drop(slot.session)
      return answer
    },
    callLast: async (op, data) => {
      const slot = sessions.takeLiving()
      if (slot === null) return null
      sessions.drop(slot.session)
      return callIn(slot, requestOf(op, data), [])
    },
  }
}
