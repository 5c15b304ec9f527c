import { componentAtRest, componentDigest, normaliseVolume } from '../crypto/fingerprint.ts'
import { type LicenceKey, licenceKeyAtRest, parseLicenceKey } from '../crypto/licence-key.ts'
import type { Random } from '../random.ts'
import type { NewDevice } from '../store/devices.ts'
import { currentKey, type Keyring, keysOf } from '../store/keyring.ts'
import type { BoundLicence, KeyHash, LicenceStore } from '../store/licences.ts'
import type { Product } from '../store/products.ts'
import type { Candidate } from './decide.ts'
import { newId } from './ids.ts'

const LEGACY_COMPONENT = 'volume'

function bindingOf({ device }: BoundLicence, hashes: readonly string[]): Candidate['binding'] {
  if (device === null) return 'none'
  return hashes.includes(device.h) ? 'same' : 'other'
}

export type Recognition = ReturnType<typeof createRecognition>

/** How a machine and a licence key are known to the database without being in it: as hashes under the peppers. */
export function createRecognition(deps: { store: LicenceStore; keyring: Keyring; random: Random }) {
  const { store, keyring, random } = deps
  const hwidPepper = keyring['hwid-pepper']
  const licencePepper = keyring['licence-pepper']

  /**
   * The hashes a machine of this product may be known by, one for each pepper, the current one's first; none for an id
   * with no letter or digit in it.
   */
  function deviceHashes(product: Product, hwid: string): string[] {
    const norm = normaliseVolume(hwid)
    if (norm === '') return []
    const digest = componentDigest(product.code, LEGACY_COMPONENT, norm)
    return keysOf(hwidPepper).map((pepper) =>
      componentAtRest(pepper, product.code, LEGACY_COMPONENT, digest).toString('hex'),
    )
  }

  function keyHash(key: LicenceKey): KeyHash {
    return {
      hash: licenceKeyAtRest(currentKey(licencePepper), key).toString('hex'),
      pepperId: licencePepper.current,
    }
  }

  function newDevice(licenceId: string, h: string, nowMs: number, lastSeenMs: number | null): NewDevice {
    const id = newId('dev', random)
    return {
      id,
      licenceId,
      type: LEGACY_COMPONENT,
      h,
      pepperId: hwidPepper.current,
      createdAtMs: nowMs,
      lastSeenMs,
    }
  }

  /** The licences of this product that a check may be about. A key that is sent along selects alone. */
  async function candidatesFor(
    product: Product,
    hashes: readonly string[],
    licenceKey: string | undefined,
  ): Promise<Candidate[]> {
    const found = licenceKey === undefined ? await knownBy(hashes) : await selectedBy(licenceKey)
    return found
      .filter(({ licence }) => licence.productId === product.id)
      .map((bound) => ({ bound, binding: bindingOf(bound, hashes) }))
  }

  async function knownBy(hashes: readonly string[]): Promise<BoundLicence[]> {
    return (await Promise.all(hashes.map((h) => store.findByDevice(h)))).flat()
  }

  async function selectedBy(licenceKey: string): Promise<BoundLicence[]> {
    const key = parseLicenceKey(licenceKey)
    if (key === null) return []
    const hashes = keysOf(licencePepper).map((pepper) => licenceKeyAtRest(pepper, key).toString('hex'))
    return (await Promise.all(hashes.map((hash) => store.findByKey(hash)))).filter((bound) => bound !== null)
  }

  return { deviceHashes, keyHash, newDevice, candidatesFor }
}
