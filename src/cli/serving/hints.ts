import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { App } from '../../app.ts'
import type { Config } from '../../config.ts'

/** Where the demo client asks when it is not told. */
const CLIENT_DEFAULT_URL = 'http://127.0.0.1:3000'

/** What is typed for `kunci` in a clone of the project. */
export const FROM_CLONE = 'npm run -s kunci --'

/** The address as a client on this machine would use it. */
function localUrl(url: string): string {
  const local = new URL(url)
  if (local.protocol === 'https:') local.hostname = 'localhost'
  else if (['0.0.0.0', '[::]'].includes(local.hostname)) local.hostname = '127.0.0.1'
  return local.origin
}

function clientCommand(url: string, { tlsCert }: Config): string {
  const authority = tlsCert === undefined ? '' : join(dirname(tlsCert), 'ca.pem')
  const trust = authority !== '' && existsSync(authority) ? `NODE_EXTRA_CA_CERTS=${authority} ` : ''
  const where = url === CLIENT_DEFAULT_URL ? '' : ` --url ${url}`
  return `${trust}npm run client -- --hwid 1234567890${where}`
}

/** What a newcomer does next, to be pasted. */
export async function hints(app: App, url: string): Promise<string> {
  const local = localUrl(url)
  const greeting = `\nKunci listens on ${local} until you press Ctrl-C. What it offers: ${local}/docs\n`
  if ((await app.products.list()).length > 0) return greeting
  return `${greeting}
There is no product yet. To see a licence check, paste this into another terminal, in this folder:

  ${FROM_CLONE} products create --code demo --name Demo
  ${FROM_CLONE} licences create --product demo --customer "Budi" --hwid 1234567890
  ${clientCommand(local, app.config)}
`
}

/**
 * How the first superadmin comes to be. On stderr and not in the log, which others may read.
 * @param program what is typed for `kunci` where it was started.
 */
export async function setupHint({ setup }: App, url: string, program: string): Promise<string> {
  const code = await setup.newCode()
  if (code === null) return ''
  return `\nThere is no superadmin yet. Run "${program} users create --role superadmin …", or within an hour and once:
  POST ${localUrl(url)}/api/setup {"code":"${code}","email":"…","fullName":"…","password":"…"}\n`
}
