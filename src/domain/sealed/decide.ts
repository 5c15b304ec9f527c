import type { EnrolledDevice, Enrolments } from '../../store/enrolments.ts'
import type { Licence } from '../../store/licences.ts'
import { isEnrollable, match, type Parts } from '../matching.ts'

export type Reason = 'unknown' | 'wrong_tool' | 'suspended' | 'revoked'

/** A machine that may run. A binding of the old contract makes way for it. */
type Admission = { readonly licence: Licence; readonly endsDeviceId: string | null }

export type Verdict =
  /** The machine is enrolled. */
  | (Admission & { readonly kind: 'known'; readonly device: EnrolledDevice })
  /** The machine is new and may take this slot. */
  | (Admission & { readonly kind: 'enrol'; readonly slotNo: number })
  /** One answer to a client for every reason, which is for the record. */
  | { readonly kind: 'licence_invalid'; readonly reason: Reason; readonly licence: Licence | null }
  | {
      readonly kind: 'licence_expired' | 'device_limit' | 'device_weak'
      readonly licence: Licence
    }

const LEGACY_SLOT = 0
/** Beyond its seats: machines come and go, and old ones are not released at once. */
const SPARE_DEVICES = 100

function reasonAgainst(found: Enrolments | null, productId: string | null): Reason | null {
  if (found === null) return 'unknown'
  const { licence } = found
  if (licence.productId !== productId) return 'wrong_tool'
  return licence.state === 'active' ? null : licence.state
}

function enrolledAs(parts: Parts, devices: readonly EnrolledDevice[]): EnrolledDevice | undefined {
  return devices.find((device) => device.slotNo !== LEGACY_SLOT && match(device.parts, parts).isSame)
}

/** Whether the machine is enrolled under the licence, be that of use or not. */
export function isEnrolled(found: Enrolments | null, parts: Parts): boolean {
  return enrolledAs(parts, found?.devices ?? []) !== undefined
}

/** On how many machines a licence may be enrolled: on one, unless it counts its seats. */
function maxDevices({ seats }: Licence): number {
  return seats === null ? 1 : seats + SPARE_DEVICES
}

function freeSlot({ licence, devices }: Enrolments): number | null {
  const taken = new Set(devices.map(({ slotNo }) => slotNo))
  for (let slotNo = 1; slotNo <= maxDevices(licence); slotNo++) if (!taken.has(slotNo)) return slotNo
  return null
}

/**
 * Decides whether a machine may run a tool under a licence.
 * @param found the licence that the posted key belongs to, if any.
 * @param productId the product of the tool that asks, if there is one.
 */
export function decide(
  found: Enrolments | null,
  productId: string | null,
  parts: Parts,
  nowMs: number,
): Verdict {
  const reason = reasonAgainst(found, productId)
  if (reason !== null || found === null)
    return { kind: 'licence_invalid', reason: reason ?? 'unknown', licence: found?.licence ?? null }
  const { licence, devices } = found
  if (licence.expiresAtMs !== null && licence.expiresAtMs <= nowMs)
    return { kind: 'licence_expired', licence }
  const endsDeviceId = devices.find(({ slotNo }) => slotNo === LEGACY_SLOT)?.id ?? null
  const device = enrolledAs(parts, devices)
  if (device !== undefined) return { kind: 'known', licence, device, endsDeviceId }
  if (!isEnrollable(parts)) return { kind: 'device_weak', licence }
  const slotNo = freeSlot(found)
  if (slotNo === null) return { kind: 'device_limit', licence }
  return { kind: 'enrol', licence, slotNo, endsDeviceId }
}
