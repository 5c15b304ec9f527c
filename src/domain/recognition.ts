import {
  componentAtRest,
  componentDigest,
  importSeed,
  normaliseVolume,
  oldHwidAtRest,
  oldHwidDigest,
} from '../crypto/fingerprint.ts'
import { type LicenceKey, licenceKeyAtRest, parseLicenceKey } from '../crypto/licence-key.ts'
import type { Random } from '../random.ts'
import type { NewComponent, NewDevice } from '../store/devices.ts'
import type { Keyring } from '../store/keyring.ts'
import type { BoundLicence, KeyHash, LicenceStore } from '../store/licences.ts'
import type { Product } from '../store/products.ts'
import { currentKey, keysOf, type Ring } from '../store/ring.ts'
import type { Binding, Candidate } from './decide.ts'
import { importedDeviceId, importedLicenceId, newId } from './ids.ts'

const LEGACY_COMPONENT = 'volume'
const OLD_COMPONENT = 'old_hwid'

/** The hashes a machine may be known by: of each kind one for each pepper, the current one's first. */
export type Machine = {
  readonly volume: readonly string[]
  readonly oldHwid: readonly string[]
  /** Of the pepper that made the first of each. */
  readonly pepperId: string
}

/** By what a row of an old server is known again at a second import. */
export type ImportedIdentity = {
  readonly licenceId: string
  readonly hashes: readonly string[]
  readonly pepperId: string
}

function bindingOf({ device, isEnrolled }: BoundLicence, { volume, oldHwid }: Machine): Binding {
  // Where a machine is enrolled by a sealed suite, this contract, which anybody can forge, brings in no second one.
  if (device === null) return isEnrolled ? 'other' : 'none'
  const isKnownBy = (hashes: readonly string[]) => device.hashes.some((h) => hashes.includes(h))
  if (isKnownBy(volume)) return 'same'
  return isKnownBy(oldHwid) ? 'imported' : 'other'
}

/** @param digest the 32 bytes that an old server kept of a hardware id. */
function oldHwidHashes(peppers: Ring, product: Product, digest: Uint8Array): string[] {
  return keysOf(peppers).map((pepper) => oldHwidAtRest(pepper, product.code, digest).toString('hex'))
}

export type Recognition = ReturnType<typeof createRecognition>

/** How a machine and a licence key are known to the database without being in it: as hashes under the peppers. */
export function createRecognition(deps: { store: LicenceStore; keyring: Keyring; random: Random }) {
  const { store, keyring, random } = deps

  /** A machine as this product knows it, or `null` for an id with no letter or digit in it. */
  function machineOf(product: Product, hwid: string): Machine | null {
    const norm = normaliseVolume(hwid)
    if (norm === '') return null
    const digest = componentDigest(product.code, LEGACY_COMPONENT, norm)
    const peppers = keyring['hwid-pepper']
    const volume = keysOf(peppers).map((pepper) =>
      componentAtRest(pepper, product.code, LEGACY_COMPONENT, digest).toString('hex'),
    )
    const oldHwid = oldHwidHashes(peppers, product, oldHwidDigest(norm))
    return { volume, oldHwid, pepperId: peppers.current }
  }

  function keyHash(key: LicenceKey): KeyHash {
    const peppers = keyring['licence-pepper']
    return { hash: licenceKeyAtRest(currentKey(peppers), key).toString('hex'), pepperId: peppers.current }
  }

  function newDevice(
    licenceId: string,
    machine: Machine,
    nowMs: number,
    lastSeenMs: number | null,
  ): NewDevice {
    const id = newId('dev', random)
    return { id, licenceId, component: volumeOf(id, machine, nowMs), createdAtMs: nowMs, lastSeenMs }
  }

  /** The private form of a machine that is known to a device by what an old server kept. */
  function volumeOf(deviceId: string, { volume: [h = ''], pepperId }: Machine, nowMs: number): NewComponent {
    return { deviceId, type: LEGACY_COMPONENT, h, pepperId, firstSeenMs: nowMs }
  }

  /** @param digest the 32 bytes that the old server kept of a hardware id. */
  function importedAs(product: Product, digest: Uint8Array): ImportedIdentity {
    const peppers = keyring['hwid-pepper']
    const licenceId = importedLicenceId(importSeed(currentKey(peppers), product.code, digest))
    return { licenceId, hashes: oldHwidHashes(peppers, product, digest), pepperId: peppers.current }
  }

  /** The device of a licence that is imported. */
  function importedDevice(
    { licenceId, hashes: [h = ''], pepperId }: ImportedIdentity,
    nowMs: number,
    lastSeenMs: number | null,
  ): NewDevice {
    const deviceId = importedDeviceId(licenceId)
    const component = { deviceId, type: OLD_COMPONENT, h, pepperId, firstSeenMs: nowMs }
    return { id: deviceId, licenceId, component, createdAtMs: nowMs, lastSeenMs }
  }

  /** The licences of this product that a check may be about. A key that is sent along selects alone. */
  async function candidatesFor(
    product: Product,
    machine: Machine,
    licenceKey: string | undefined,
  ): Promise<Candidate[]> {
    const found =
      licenceKey === undefined
        ? await store.findByDevice([...machine.volume, ...machine.oldHwid])
        : await selectedBy(licenceKey)
    return found
      .filter(({ licence }) => licence.productId === product.id)
      .map((bound) => ({ bound, binding: bindingOf(bound, machine) }))
  }

  async function selectedBy(licenceKey: string): Promise<BoundLicence[]> {
    const key = parseLicenceKey(licenceKey)
    if (key === null) return []
    const found = await Promise.all(keyHashesOf(key).map((hash) => store.findByKey(hash)))
    return found.filter((bound) => bound !== null)
  }

  /** What the database may know a licence key by: one hash for each pepper. */
  function keyHashesOf(key: LicenceKey): string[] {
    return keysOf(keyring['licence-pepper']).map((pepper) => licenceKeyAtRest(pepper, key).toString('hex'))
  }

  return { machineOf, keyHash, keyHashesOf, newDevice, importedAs, importedDevice, volumeOf, candidatesFor }
}
