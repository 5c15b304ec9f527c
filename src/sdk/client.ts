import { utf8 } from './encoding.ts'
import type { Hwid } from './hwid.ts'
import { assemble, type ClientOptions, type Parts } from './options.ts'
import type { Answer } from './records.ts'
import { type Reason, UnavailableError } from './unavailable.ts'
import {
  type CheckResult,
  type IssueResult,
  type LicenceData,
  retryInOf,
  type Unavailable,
  verdictOf,
} from './verdict.ts'

export type CheckRequest = {
  readonly licence: string
  /** The product's code. */
  readonly tool: string
  /** The tool's version. */
  readonly ver: string
  /** From `hwidOf` for the same tool. */
  readonly hwid: Hwid
  /** The language of `message`. */
  readonly lang?: 'en' | 'id' | undefined
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Nothing that comes from outside makes a method throw. */
export type Client = {
  /** Asks whether the tool may run; where there is no answer, asks the lease. */
  check(request: CheckRequest): Promise<CheckResult>
  /** Asks for a lease that is signed for this very request, and keeps it. @throws {RangeError} without `leaseKeys`. */
  issueLease(request: CheckRequest): Promise<IssueResult>
  /** Whether the server answers, proven by its key. */
  ping(): Promise<boolean>
  /** Writes a line into the server's log. @throws {RangeError} for a text of more than 2,048 bytes. */
  log(level: LogLevel, text: string): Promise<boolean>
  /** Ends the session, if there is one, and waits for nobody. */
  close(): Promise<void>
}

type None = { readonly reason: Reason; readonly retryIn: number | null }

const LOG_TEXT_MAX_BYTES = 2048

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
  if (verdict === 'denied') return { ...said, outcome: 'denied', source: 'server', code: answer.code }
  if (verdict === null) return withoutServer(parts, request, noneOf(answer))
  const lease = await parts.keeper?.keep(answer, request)
  return { ...said, outcome: 'allowed', source: 'server', code: 'ok', leaseKept: Boolean(lease) }
}

async function issueLease({ calls, keeper }: Parts, request: CheckRequest): Promise<IssueResult> {
  if (keeper === null) throw new RangeError('issueLease needs leaseKeys')
  const answer = await answerOr(calls.call('lease.issue', dataOf(request)))
  if ('reason' in answer) return unavailable(answer, null)
  const said: LicenceData = answer.data
  if (verdictOf(answer) === 'denied')
    return { ...said, outcome: 'denied', source: 'server', code: answer.code }
  if (answer.code !== 'ok') return unavailable(noneOf(answer), null)
  const lease = await keeper.keep(answer, request, answer.nonce)
  return lease === null ? unavailable({ reason: 'lease', retryIn: null }, null) : { outcome: 'issued', lease }
}

async function isOk(asked: Promise<Answer>): Promise<boolean> {
  const answer = await answerOr(asked)
  return 'code' in answer && answer.code === 'ok'
}

/**
 * Makes a client for one server and one suite.
 * @throws {RangeError} for pins or keys that are none. @throws {Error} where the platform cannot do the suite.
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const parts = await assemble(options)
  const { calls } = parts
  return {
    check: (request) => check(parts, request),
    issueLease: (request) => issueLease(parts, request),
    ping: () => isOk(calls.call('ping', {})),
    log: async (level, text) => {
      if (utf8(text).length > LOG_TEXT_MAX_BYTES)
        throw new RangeError(`a line of the log has at most ${LOG_TEXT_MAX_BYTES} bytes`)
      return isOk(calls.call('log.push', { level, text }))
    },
    close: async () => {
      await answerOr(calls.callLast('session.close', {}))
    },
  }
}
