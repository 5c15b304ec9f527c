import type { Clock } from '../../clock.ts'
import type { Random } from '../../random.ts'
import { isLogData } from '../../wire/sealed.ts'
import { addressKey } from '../addresses.ts'
import type { Events } from '../events.ts'
import type { Leases } from '../leases.ts'
import type { Limits } from '../limits.ts'
import { textsFor } from '../texts.ts'
import type { Admitted, Judge } from './admission.ts'
import { type Answer, answered, type Caller, MINUTE_S, type Outcome, refused, slowDown } from './outcomes.ts'
import type { Presence } from './presence.ts'
import { textOf } from './texts.ts'

const LOG_TEXT_MAX_BYTES = 2048
/** Logs are read on terminals, where other control characters could pretend to be something else. */
const LOG_TEXT = /^(?:[^\p{Cc}]|[\n\t])*$/u
const JITTER = 0.1

/** @param data what the client sent, unchecked. */
type Operation = (caller: Caller, data: Readonly<Record<string, unknown>>) => Promise<Outcome>

export type Operations = ReturnType<typeof createOperations>

/** What a sealed message can ask for, by name. */
export function createOperations(deps: {
  judge: Judge
  presence: Presence
  leases: Leases
  limits: Limits
  events: Events
  clock: Clock
  random: Random
  checkAgainAfterS: number
}) {
  const { judge, presence, leases, limits, events, clock, random } = deps

  /** Tools that were started together shall not ask together for ever. */
  function checkAgainAfterS(): number {
    const between = random(2).readUInt16BE() / 0xffff
    return Math.round(deps.checkAgainAfterS * (1 + JITTER * (2 * between - 1)))
  }

  function grant(
    { supportCode }: Caller,
    { data, licence, product, deviceId, seat }: Admitted,
    lease: string,
  ) {
    const { sk, sck, maintenance, status1Text } = textsFor(licence, product)
    return {
      ...{ valid: true, lease, check_again_after_s: checkAgainAfterS(), support_code: supportCode },
      message: textOf('ok', data.lang),
      device: { id: deviceId },
      entitlements: [],
      variables: { sk, sck, maintenance, status1_text: status1Text },
      ...(seat === null ? {} : { seat }),
    }
  }

  function subjectOf({ licence, data, deviceId, machine }: Admitted) {
    return { licence, tool: data.tool, deviceId, machine }
  }

  const check: Operation = async (caller, data) => {
    const admitted = await judge('licence.check', caller, data)
    if (admitted.kind !== 'admitted') return admitted
    const { lease: stored, effects, isNew } = admitted
    const usable = leases.usable(subjectOf(admitted), stored)
    const lease = usable === null ? leases.next(subjectOf(admitted), stored, caller.nonce) : undefined
    const reason = isNew ? 'device_enrolled' : 'known_device'
    return answered(grant(caller, admitted, (usable ?? lease)?.lease ?? ''), {
      ...effects,
      events: [...effects.events, admitted.eventOf('licence_check_allowed', { reason })],
      lease,
    })
  }

  /** Always a new lease: its nonce proves to the client that it is fresh. */
  const issueLease: Operation = async (caller, data) => {
    const admitted = await judge('lease.issue', caller, data)
    if (admitted.kind !== 'admitted') return admitted
    const { effects, licence } = admitted
    const lease = leases.next(subjectOf(admitted), admitted.lease, caller.nonce)
    const result = { lease: lease.lease }
    return answered(result, {
      ...effects,
      events: [...effects.events, admitted.eventOf('lease_issued', { seq: lease.seq })],
      lease,
      idempotent: idempotent(caller, licence.id, 'lease.issue', result),
    })
  }

  const pushLog: Operation = async (caller, data) => {
    if (!isLogData(data)) return refused(400, 'bad_data')
    const { level, text } = data
    const isFit = Buffer.byteLength(text) <= LOG_TEXT_MAX_BYTES && text.isWellFormed() && LOG_TEXT.test(text)
    if (!isFit) return refused(400, 'bad_data')
    const { address, supportCode, suite } = caller
    // Anybody may begin sessions, as many as he likes, and the record is kept.
    if (!limits.allows('client_log', addressKey(address))) {
      events.refuse('excess_rate_limit_exceeded', address)
      return slowDown(MINUTE_S)
    }
    const detail = { contract: suite, level, text }
    const event = events.build('client_log', { name: 'client', address }, { supportCode, detail })
    return answered({}, { events: [event], idempotent: idempotent(caller, 'log', 'log.push', {}) })
  }

  function idempotent({ nonce }: Caller, scope: string, op: string, result: Answer['data']) {
    return { scope, nonce, op, result: JSON.stringify(result), createdAtMs: clock() }
  }

  return new Map<string, Operation>([
    ['licence.check', check],
    ['lease.issue', issueLease],
    ['log.push', pushLog],
    ['ping', presence.ping],
    ['session.close', presence.close],
  ])
}
