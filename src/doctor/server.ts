import { isLoopback } from '../loopback.ts'
import { advice, setting } from '../remedy.ts'
import type { ServerFacts } from '../store/inspection/server.ts'
import { type Finding, notChecked, ok, warning } from './finding.ts'
import type { Room } from './patient.ts'

/** The oldest that is tested, as major and minor version. */
const OLDEST = { MariaDB: [10, 6], MySQL: [8, 4] } as const

function versionFinding({ product, version }: ServerFacts): Finding {
  const id = 'database.version'
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  const [oldestMajor, oldestMinor] = OLDEST[product]
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor))
    return ok(id, `${product} ${version}.`)
  return warning(
    id,
    `${product} ${version} is older than ${product} ${oldestMajor}.${oldestMinor}.`,
    'Kunci is not tested with it, and most such versions get no security fixes any more.',
    [advice(`Upgrade the database server to ${product} ${oldestMajor}.${oldestMinor} or newer.`)],
  )
}

function tlsFinding(databaseUrl: string, { isEncrypted }: ServerFacts): Finding {
  const id = 'database.tls'
  const url = new URL(databaseUrl)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isEncrypted) return ok(id, 'The connection to the database is encrypted.')
  if (isLoopback(host)) return ok(id, 'The database is on this machine: nothing crosses a network.')
  if (isEncrypted === null)
    return notChecked(id, 'the server does not say whether the connection is encrypted')
  url.password = url.password === '' ? '' : 'PASSWORD'
  url.search = '?ssl=true'
  return warning(
    id,
    `The connection to the database on ${host} is not encrypted.`,
    'Anybody on the way can read and change what passes: wrapped keys, names, addresses, licences. Inside one machine or a private network of containers that may be acceptable.',
    [
      advice(
        'Give the database server a certificate that this machine trusts, and in .env, with the password put in:',
      ),
      setting(`DATABASE_URL=${url.href}`),
    ],
  )
}

export const serverRoom: Room = {
  ids: () => ['database.version', 'database.tls'],
  needs: 'server',
  look: async (_db, facts, { values }) => [
    versionFinding(facts),
    tlsFinding(values.databaseUrl ?? '', facts),
  ],
}
