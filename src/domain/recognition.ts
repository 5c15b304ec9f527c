import { componentAtRest, componentDigest, normaliseVolume } from '../crypto/fingerprint.ts'
import { type LicenceKey, licenceKeyAtRest, parseLicenceKey } from '../crypto/licence-key.ts'
import type { Random } from '../random.ts'
import type { NewDevice } from '../store/devices.ts'
import { currentKey, type Keyring } from '../store/keyring.ts'
import type { BoundLicence, KeyHash, LicenceStore } from '../store/licences.ts'
import type { Product } from '../store/products.ts'
import type { Candidate } from './decide.ts'
import { newId } from './ids.ts'

const LEGACY_COMPONENT = 'volume'

export type Recognition = ReturnType<typeof createRecognition>

/** How a machine and a licence key are known to the database without being in it: as hashes under the peppers. */
export function createRecognition(deps: { store: LicenceStore; keyring: Keyring; random: Random }) {
  const { store, keyring, random } = deps
  const hwidPepper = keyring['hwid-pepper']
  const licencePepper = keyring['licence-pepper']

  /** The hash a machine of this product is known by, or `null` for an id with no letter or digit in it. */
  function deviceHash(product: Product, hwid: string): string | null {
    const norm = normaliseVolume(hwid)
    if (norm === '') return null
    const digest = componentDigest(product.code, LEGACY_COMPONENT, norm)
    return componentAtRest(currentKey(hwidPepper), product.code, LEGACY_COMPONENT, digest).toString('hex')
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
    h: string,
    licenceKey: string | undefined,
  ): Promise<Candidate[]> {
    const ofProduct = (bound: BoundLicence | null): bound is BoundLicence =>
      bound?.licence.productId === product.id
    if (licenceKey === undefined)
      return (await store.findByDevice(h)).filter(ofProduct).map((bound) => ({ bound, binding: 'same' }))
    const key = parseLicenceKey(licenceKey)
    const bound = key === null ? null : await store.findByKey(keyHash(key).hash)
    if (!ofProduct(bound)) return []
    if (bound.device === null) return [{ bound, binding: 'none' }]
    return [{ bound, binding: bound.device.h === h ? 'same' : 'other' }]
  }

  return { deviceHash, keyHash, newDevice, candidatesFor }
}
