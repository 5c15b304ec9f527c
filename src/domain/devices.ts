import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { Device, DeviceStore } from '../store/devices.ts'
import type { Actor, Events } from './events.ts'
import type { Licences } from './licences.ts'

const LISTED_MAX = 1000
const SEEN_EVERY_MS = 60_000

/** Whether it is worth a write that a device is seen now. */
export function isSeenAnew(lastSeenMs: number | null, nowMs: number): boolean {
  return (lastSeenMs ?? 0) < nowMs - SEEN_EVERY_MS
}

export type Devices = ReturnType<typeof createDevices>

export function createDevices(deps: {
  store: DeviceStore
  licences: Licences
  events: Events
  clock: Clock
}) {
  const { store, licences, events, clock } = deps

  /**
   * Releases the machines of a licence, so that the next one may be enrolled.
   * @param deviceId one device only; every one of the licence where it is left out.
   * @returns the devices that were released.
   * @throws {AppError} `licence_not_found`, `device_not_found`.
   */
  async function reset(actor: Actor, licenceId: string, deviceId: string | undefined): Promise<Device[]> {
    const licence = await licences.find(licenceId)
    const bound = (await store.list({ licenceId, limit: LISTED_MAX })).filter(
      (device) => device.slotNo !== null && (deviceId === undefined || device.id === deviceId),
    )
    if (deviceId !== undefined && bound.length === 0)
      throw new AppError('device_not_found', { detail: `${licenceId} has no device ${deviceId} in use` })
    const released: Device[] = []
    for (const device of bound) {
      const facts = { productId: licence.productId, licenceId, deviceId: device.id }
      const nowMs = clock()
      if (await store.release(device, nowMs, events.build('device_reset', actor, facts)))
        released.push({ ...device, slotNo: null, releasedAtMs: nowMs })
    }
    return released
  }

  return { reset, list: (filter: Parameters<DeviceStore['list']>[0]) => store.list(filter) }
}
