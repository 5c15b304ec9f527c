import { isUtf8 } from 'node:buffer'
import type { Clock } from '../../clock.ts'
import { fromB64u, toB64u } from '../../crypto/encoding.ts'
import { StoreError } from '../../errors.ts'
import type { Idempotent, Message, MessageStore } from '../../store/messages.ts'
import { type CallReply, type CallRequest, isPlaintext } from '../../wire/sealed.ts'
import type { Limits } from '../limits.ts'
import type { Envelopes, Opened } from './envelopes.ts'
import type { TokenClaims } from './handshakes.ts'
import type { Operations } from './operations.ts'
import { type Answer, type Caller, MINUTE_S, type Outcome, refused, slowDown } from './outcomes.ts'

/** Of devices that come at once and kick each other, one gets through at a time. */
const TRIES_MAX = 32
const CONFLICT: Answer = { status: 409, code: 'seq_conflict', data: {} }
const EXPIRED: Answer = { status: 401, code: 'session_expired', data: {} }
/** For the log alone: what the stored box says is not looked at again. */
const REPLAYED: Answer = { status: 200, code: 'replayed', data: {} }

export type CallResult =
  | {
      readonly kind: 'sealed'
      readonly reply: CallReply
      /** What the log may know of it. */
      readonly facts: { readonly op: string; readonly status: number; readonly code: string }
    }
  /** `request`: its form; `session`: one answer for everything that did not authenticate. */
  | { readonly kind: 'refused'; readonly refusal: 'request' | 'session' }

export type Calls = ReturnType<typeof createCalls>

export function createCalls(deps: {
  envelopes: Envelopes
  messages: MessageStore
  operations: Operations
  limits: Limits
  clock: Clock
  onError: (error: unknown) => void
}) {
  const { envelopes, messages, operations, limits, clock, onError } = deps

  function sealed(opened: Opened, answer: Answer, reply = envelopes.seal(opened, answer)): CallResult {
    const { status, code } = answer
    return { kind: 'sealed', reply, facts: { op: opened.request.op, status, code } }
  }

  /** The reply that these very bytes got before; `conflict` where others have used up the number, `null` where none have. */
  async function replay(opened: Opened): Promise<CallResult | 'conflict' | null> {
    const { session_id, seq } = opened.request
    const stored = await messages.find(session_id, seq)
    if (stored === null) return null
    if (stored.requestHash !== toB64u(opened.requestHash)) return 'conflict'
    const [salt = '', box = ''] = stored.reply.split('.')
    return sealed(opened, REPLAYED, { v: 1, session_id, seq, salt, box })
  }

  /** Runs the operation. What it did not foresee is told as `internal`, and nothing comes of it. */
  async function run(opened: Opened, caller: Omit<Caller, 'nonce'>): Promise<Outcome> {
    const operation = operations.get(opened.request.op)
    const said = plaintextIn(opened.plaintext)
    if (said === null) return refused(400, 'bad_data')
    if (operation === undefined) return refused(404, 'unknown_op')
    try {
      return await operation({ ...caller, nonce: said.nonce }, said.data)
    } catch (error) {
      if (error instanceof StoreError) throw error
      onError(error)
      return refused(500, 'internal', null)
    }
  }

  /** The answer that this nonce got in another session: nothing is done twice. */
  async function repeat({ scope, nonce, op }: Idempotent): Promise<Outcome> {
    const before = await messages.findIdempotent(scope, nonce)
    if (before === null || before.op !== op) return refused(400, 'bad_data')
    const answer = { status: 200, code: 'ok', data: JSON.parse(before.result) }
    return { kind: 'answered', answer, effects: { events: [] } }
  }

  /** Executes a message and commits all that comes of it together with its claim and its reply. */
  async function execute(opened: Opened, caller: Omit<Caller, 'nonce'>): Promise<CallResult> {
    let repeated: Outcome | undefined
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const outcome = repeated ?? (await run(opened, caller))
      if (outcome.kind === 'foreign_address') return { kind: 'refused', refusal: 'session' }
      const { answer, effects } = outcome
      const reply = envelopes.seal(opened, answer)
      if (effects === null) return sealed(opened, answer, reply)
      const recorded = await messages.record({ ...effects, message: messageOf(opened, reply) })
      if (recorded === 'recorded') {
        await outcome.onceRecorded?.()
        return sealed(opened, answer, reply)
      }
      const before = recorded === 'duplicate' ? await replay(opened) : null
      if (before !== null) return before === 'conflict' ? sealed(opened, CONFLICT) : before
      if (recorded === 'repeated') repeated = await repeat(effects.idempotent as Idempotent)
    }
    throw new StoreError('too many messages change the same licence at once')
  }

  /**
   * Answers a message: executed once, however often and wherever it is sent.
   * @param bearer the token, its signature verified.
   * @throws {StoreError} when nothing was done and the same bytes may be sent again.
   */
  async function call(
    request: CallRequest,
    bearer: { readonly claims: TokenClaims; readonly token: string },
    { address, supportCode }: { readonly address: string; readonly supportCode: string },
  ): Promise<CallResult> {
    const [salt, box] = [fromB64u(request.salt), fromB64u(request.box)]
    if (salt === null || box === null) return { kind: 'refused', refusal: 'request' }
    const opened = await envelopes.open(request, salt, box, bearer)
    if (opened === null) return { kind: 'refused', refusal: 'session' }
    const { row, keys } = opened
    if (row.expiresAtMs <= clock()) {
      const before = await replay(opened)
      return before === null || before === 'conflict' ? sealed(opened, EXPIRED) : before
    }
    if (!limits.allows('session_call', row.sessionId)) return sealed(opened, slowDown(MINUTE_S).answer)
    const { sessionId, clientIp: sessionAddress } = row
    return execute(opened, { suite: keys.suite, sessionId, address, sessionAddress, supportCode })
  }

  return { call }
}

function messageOf({ request, row, requestHash }: Opened, { salt, box }: CallReply): Message {
  return {
    ...{ sessionId: request.session_id, seq: request.seq, requestHash: toB64u(requestHash) },
    ...{ reply: `${salt}.${box}`, expiresAtMs: row.expiresAtMs },
  }
}

function plaintextIn(bytes: Buffer): { nonce: string; data: Record<string, unknown> } | null {
  if (!isUtf8(bytes)) return null
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return isPlaintext(value) && fromB64u(value.nonce) !== null ? value : null
  } catch {
    return null
  }
}
