import type { CheckRequest } from './check-request.ts'
import { utf8 } from './encoding.ts'
import { type Heartbeat, type HeartbeatOptions, startHeartbeat } from './heartbeat.ts'
import { assemble, type ClientOptions, type Parts } from './options.ts'
import type { Answer } from './records.ts'
import { type Reason, UnavailableError } from './unavailable.ts'
import {
  type CheckResult,
  deniedOf,
  type IssueResult,
  type LicenceData,
  retryInOf,
  type Unavailable,
  verdictOf,
} from './verdict.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Nothing that comes from outside makes a method throw. */
export type Client = {
  /** Asks whether the tool may run; where there is no answer, asks the lease. */
  check(request: CheckRequest): Promise<CheckResult>
  /** Asks for a lease that is signed for this very request, and keeps it. @throws {RangeError} without `leaseKeys`. */
  issueLease(request: CheckRequest): Promise<IssueResult>
  /** Asks again for as long as the tool runs, after a `check` that allowed it. It ends with `close`. */
  startHeartbeat(request: CheckRequest, options?: HeartbeatOptions): Heartbeat
  /** Whether the server answers, proven by its key. */
  ping(): Promise<boolean>
  /** Writes a line into the server's log. @throws {RangeError} for a text of more than 2,048 bytes. */
  log(level: LogLevel, text: string): Promise<boolean>
  /** Ends the session, if there is one, and waits for nobody. */
  close(): Promise<void>
}

type None = { readonly reason: Reason; readonly retryIn: number | null }

const LOG_TEXT_MAX_BYTES = 2048
/** Until the server has said how often it wants to be asked. */
const CHECK_AGAIN_AFTER_S = 120

function dataOf({ licence, tool, ver, hwid, lang }: CheckRequest): object {
  return { licence, tool, ver, hwid, ...(lang === undefined ? {} : { lang }) }
}

/** An answer, or why there is none. Mistakes of the caller are thrown on. */
async function answerOr<A extends Answer | null>(asked: Promise<A>): Promise<A | None> {
  try {
    return await asked
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error
    return { reason: error.reason, retryIn: null }
  }
}

const noneOf = ({ code, data }: Answer): None => ({ reason: code, retryIn: retryInOf(data) })

const unavailable = (none: None, lease: Unavailable['lease']): Unavailable => ({
  ...{ outcome: 'unavailable', code: null, ...none, lease },
})

async function withoutServer({ keeper }: Parts, request: CheckRequest, none: None): Promise<CheckResult> {
  if (keeper === null) return unavailable(none, null)
  const offline = await keeper.offline(request)
  if (!('lease' in offline)) return unavailable(none, offline.verdict)
  const { verdict: state, lease } = offline
  const code = state === 'ok' ? 'lease' : 'grace'
  return { outcome: 'allowed', source: 'lease', code, state, lease, reason: none.reason }
}

async function check(parts: Parts, request: CheckRequest): Promise<CheckResult> {
  const answer = await answerOr(parts.calls.call('licence.check', dataOf(request)))
  if ('reason' in answer) return withoutServer(parts, request, answer)
  const verdict = verdictOf(answer)
  const said: LicenceData = answer.data
  if (verdict === 'denied') return deniedOf(answer)
  if (verdict === null) return withoutServer(parts, request, noneOf(answer))
  const lease = await parts.keeper?.keep(answer, request)
  return { ...said, outcome: 'allowed', source: 'server', code: 'ok', leaseKept: Boolean(lease) }
}

async function issueLease({ calls, keeper }: Parts, request: CheckRequest): Promise<IssueResult> {
  if (keeper === null) throw new RangeError('issueLease needs leaseKeys')
  const answer = await answerOr(calls.call('lease.issue', dataOf(request)))
  if ('reason' in answer) return unavailable(answer, null)
  if (verdictOf(answer) === 'denied') return deniedOf(answer)
  if (answer.code !== 'ok') return unavailable(noneOf(answer), null)
  const lease = await keeper.keep(answer, request, answer.nonce)
  return lease === null ? unavailable({ reason: 'lease', retryIn: null }, null) : { outcome: 'issued', lease }
}

async function isOk(asked: Promise<Answer>): Promise<boolean> {
  const answer = await answerOr(asked)
  return 'code' in answer && (answer.code === 'ok' || verdictOf(answer) === 'denied')
}

/**
 * Makes a client for one server and one suite.
 * @throws {RangeError} for pins or keys that are none. @throws {Error} where the platform cannot do the suite.
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const parts = await assemble(options)
  const { calls } = parts
  const heartbeats = new Set<Heartbeat>()
  let againAfterS = CHECK_AGAIN_AFTER_S
  const checkOnce = async (request: CheckRequest) => {
    const result = await check(parts, request)
    if ('check_again_after_s' in result) againAfterS = result.check_again_after_s ?? againAfterS
    return result
  }
  return {
    check: checkOnce,
    issueLease: (request) => issueLease(parts, request),
    startHeartbeat: (request, options = {}) => {
      const own = { calls, check: checkOnce, checkAgainAfterS: () => againAfterS }
      const heartbeat = startHeartbeat(own, request, options)
      heartbeats.add(heartbeat)
      return heartbeat
    },
    ping: () => isOk(calls.call('ping', {})),
    log: async (level, text) => {
      if (utf8(text).length > LOG_TEXT_MAX_BYTES)
        throw new RangeError(`a line of the log has at most ${LOG_TEXT_MAX_BYTES} bytes`)
      return isOk(calls.call('log.push', { level, text }))
    },
    close: async () => {
      for (const heartbeat of heartbeats) heartbeat.stop()
      heartbeats.clear()
      await answerOr(calls.callLast('session.close', {}))
    },
  }
}
