import { sqlitePath } from '../config.ts'
import { legacyProductAmong } from '../domain/products.ts'
import { AppError } from '../errors.ts'
import { advice, command, setting } from '../remedy.ts'
import { type Product, readProducts } from '../store/products.ts'
import { type Finding, failed, notChecked, ok, warning } from './finding.ts'
import type { Patient, Room } from './patient.ts'

function usable({ mistakes }: Patient): Finding {
  const id = 'settings'
  if (mistakes.length === 0) return ok(id, 'Every setting can be used.')
  return failed(
    id,
    mistakes.map(({ env, problem }) => `${env} ${problem}.`).join(' '),
    'The server and every command that needs its settings stop at once.',
    [advice('Correct them in .env or in the environment. What each may be:'), command('kunci config --help')],
  )
}

function inUse({ values, dialect, databaseName }: Patient): Finding {
  const id = 'settings.database'
  if (values.databaseUrl !== undefined) {
    const { hostname, port, username } = new URL(values.databaseUrl)
    const user = decodeURIComponent(username)
    return ok(id, `MySQL or MariaDB: ${databaseName} on ${hostname}:${port || 3306}, as ${user}.`)
  }
  if (dialect === 'mysql' || values.dataDir === undefined)
    return notChecked(id, 'DATABASE_URL cannot be understood')
  return ok(id, `SQLite: ${sqlitePath({ dataDir: values.dataDir })}, as DATABASE_URL is not set.`)
}

export const settingsRoom: Room = {
  ids: () => ['settings', 'settings.database'],
  needs: 'nothing',
  look: (patient) => [usable(patient), inUse(patient)],
}

function legacyFinding(products: readonly Product[], legacyProduct: string | undefined): Finding {
  const id = 'settings.legacy_product'
  try {
    const product = legacyProductAmong(products, legacyProduct)
    if (product !== null) return ok(id, `The old programs are served as those of ${product.code}.`)
    return ok(id, 'There is no product yet: every licence check is answered with NOT_FOUND.')
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    if (error.code === 'legacy_disabled')
      return warning(
        id,
        `The old programs are switched off for ${legacyProduct ?? 'the only product'}.`,
        'Both of their addresses answer 503. That is as it should be if nobody uses them any more.',
        [command((error.detail ?? '').replace('run: ', ''))],
      )
    const codes = products.map(({ code }) => code)
    return failed(
      id,
      legacyProduct === undefined
        ? `There are several products (${codes.join(', ')}), and LEGACY_PRODUCT is not set.`
        : `LEGACY_PRODUCT names ${legacyProduct}, and there is no such product.`,
      'It is not settled whose customers the old programs are: both of their addresses answer 503.',
      [
        ...(codes.length > 1 ? [advice('Choose one of these, and start the server again.')] : []),
        ...codes.map((code) => setting(`LEGACY_PRODUCT=${code}`)),
      ],
    )
  }
}

export const legacyProductRoom: Room = {
  ids: () => ['settings.legacy_product'],
  needs: 'database',
  look: async (db, { values, mistakes }) => {
    if (mistakes.some(({ env }) => env === 'LEGACY_PRODUCT'))
      return [notChecked('settings.legacy_product', 'LEGACY_PRODUCT cannot be understood')]
    return [legacyFinding(await readProducts(db), values.legacyProduct)]
  },
}
