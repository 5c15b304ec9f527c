import {
  formatLicenceKey,
  type LicenceKey,
  licenceKeyFrom,
  normaliseLicenceKey,
} from '../crypto/licence-key.ts'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { Licence, LicenceStore } from '../store/licences.ts'
import type { Actor, Events } from './events.ts'
import type { Recognition } from './recognition.ts'

const KEY_BYTES = 15
const GUESS_PREFIX_SYMBOLS = 5

/** What the guesses of one licence key have in common, however it is typed. */
export function guessPrefixOf(text: string): string {
  return normaliseLicenceKey(text).slice(0, GUESS_PREFIX_SYMBOLS)
}

export function newLicenceKey(random: Random): LicenceKey {
  return licenceKeyFrom(random(KEY_BYTES))
}

/** @throws {AppError} `licence_state` for a licence that is over for good. */
export function refuseRevoked({ id, state }: Licence): void {
  if (state === 'revoked')
    throw new AppError('licence_state', { detail: `${id} is revoked for good; create a new licence` })
}

/** What two who change one licence at the same moment are told: the second of them. */
export function changedMeanwhile(id: string): AppError {
  return new AppError('licence_state', { detail: `somebody else changed ${id} just now; look at it again` })
}

export function createLicenceKeys(deps: {
  store: LicenceStore
  /** @throws {AppError} `licence_not_found`. */
  find: (id: string) => Promise<Licence>
  events: Events
  recognition: Recognition
  random: Random
}) {
  const { store, find, events, recognition, random } = deps

  /**
   * Makes a key for a licence that has none, as an imported one has.
   * @param replace make one also where there is a key already, which is void from then on.
   * @returns the licence and its key, which is kept nowhere and cannot be shown again.
   * @throws {AppError} `licence_not_found`, `licence_key_exists`, or `licence_state` for a revoked licence and for one
   *   that somebody else changed at the same moment.
   */
  async function issue(
    actor: Actor,
    id: string,
    { replace }: { replace: boolean },
  ): Promise<{ licence: Licence; key: string }> {
    const seen = await find(id)
    refuseRevoked(seen)
    const replaced = await store.hasKey(id)
    if (replaced && !replace)
      throw new AppError('licence_key_exists', {
        detail: `${id} has a key; with --replace it gets another, and that one is void`,
      })
    const key = newLicenceKey(random)
    const facts = { productId: seen.productId, licenceId: id, detail: { replaced } }
    const event = events.build('licence_key_issued', actor, facts)
    const licence = { ...seen, updatedAtMs: Math.max(event.atMs, seen.updatedAtMs + 1) }
    if (!(await store.setKey(licence, seen, recognition.keyHash(key), event))) throw changedMeanwhile(id)
    return { licence, key: formatLicenceKey(key) }
  }

  return { issue }
}
