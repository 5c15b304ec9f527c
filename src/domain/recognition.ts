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
import { currentKey, type Keyring, keysOf } from '../store/keyring.ts'
import type { BoundLicence, KeyHash, LicenceStore } from '../store/licences.ts'
import type { Product } from '../store/products.ts'
import type { Binding, Candidate } from './decide.ts'
import { importedDeviceId, importedLicenceId, newId } from './ids.ts'

const LEGACY_COMPONENT = 'volume'
const OLD_COMPONENT = 'old_hwid'

/** The hashes a machine may be known by: of each kind one for each pepper, the current one's first. */
export type Machine = { readonly volume: readonly string[]; readonly oldHwid: readonly string[] }

function bindingOf({ device }: BoundLicence, { volume, oldHwid }: Machine): Binding {
  if (device === null) return 'none'
  const isKnownBy = (hashes: readonly string[]) => device.hashes.some((h) => hashes.includes(h))
  if (isKnownBy(volume)) return 'same'
  return isKnownBy(oldHwid) ? 'imported' : 'other'
}

export type Recognition = ReturnType<typeof createRecognition>

/** How a machine and a licence key are known to the database without being in it: as hashes under the peppers. */
export function createRecognition(deps: { store: LicenceStore; keyring: Keyring; random: Random }) {
  const { store, keyring, random } = deps
  const hwidPepper = keyring['hwid-pepper']
  const licencePepper = keyring['licence-pepper']

  /** A machine as this product knows it, or `null` for an id with no letter or digit in it. */
  function machineOf(product: Product, hwid: string): Machine | null {
    const norm = normaliseVolume(hwid)
    if (norm === '') return null
    const digest = componentDigest(product.code, LEGACY_COMPONENT, norm)
    const volume = keysOf(hwidPepper).map((pepper) =>
      componentAtRest(pepper, product.code, LEGACY_COMPONENT, digest).toString('hex'),
    )
    return { volume, oldHwid: oldHwidHashes(product, oldHwidDigest(norm)) }
  }

  /** @param digest the 32 bytes that an old server kept of a hardware id. */
  function oldHwidHashes(product: Product, digest: Uint8Array): string[] {
    return keysOf(hwidPepper).map((pepper) => oldHwidAtRest(pepper, product.code, digest).toString('hex'))
  }

  function keyHash(key: LicenceKey): KeyHash {
    return {
      hash: licenceKeyAtRest(currentKey(licencePepper), key).toString('hex'),
      pepperId: licencePepper.current,
    }
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
  function volumeOf(deviceId: string, { volume: [h = ''] }: Machine, nowMs: number): NewComponent {
    return { deviceId, type: LEGACY_COMPONENT, h, pepperId: hwidPepper.current, firstSeenMs: nowMs }
  }

  /**
   * By what a row of an old server is known again at a second import.
   * @param digest the 32 bytes that the old server kept of a hardware id.
   */
  function importedAs(product: Product, digest: Uint8Array): { licenceId: string; hashes: string[] } {
    const seed = importSeed(currentKey(hwidPepper), product.code, digest)
    return { licenceId: importedLicenceId(seed), hashes: oldHwidHashes(product, digest) }
  }

  /** The device of a licence that is imported. @param h the first hash of {@link importedAs}. */
  function importedDevice(licenceId: string, h: string, nowMs: number, lastSeenMs: number | null): NewDevice {
    const deviceId = importedDeviceId(licenceId)
    const component = {
      ...{ deviceId, type: OLD_COMPONENT, h },
      ...{ pepperId: hwidPepper.current, firstSeenMs: nowMs },
    }
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
    const hashes = keysOf(licencePepper).map((pepper) => licenceKeyAtRest(pepper, key).toString('hex'))
    return (await Promise.all(hashes.map((hash) => store.findByKey(hash)))).filter((bound) => bound !== null)
  }

  return { machineOf, keyHash, newDevice, importedAs, importedDevice, volumeOf, candidatesFor }
}
