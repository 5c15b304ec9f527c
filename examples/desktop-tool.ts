/**
 * What a desktop program does when it starts, in plain words:
 *
 *   npm run client -- --hwid 1234567890
 *   npm run client -- --hwid 1234567890 --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX --url https://licences.example
 *
 * as the old programs do, by the legacy contract; or by a sealed suite, with the server's keys pinned:
 *
 *   npm run client -- --pins pins.json --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX --hw board=PF2ABCDE --hw disk=S4EWNX0M
 *
 * It ends with 0 when the tool may run, 1 when it may not, 2 when there is no answer, and 64 when it was called wrongly.
 */
import { parseArgs } from 'node:util'
import { legacy } from '../src/sdk/index.ts'
import { checkSealed, UsageError } from './sealed-check.ts'

const USAGE = `Usage: npm run client -- --hwid <hardware id> [--licence <key>] [--url <server>]
   or: npm run client -- --pins <file> --licence <key> --hw <type>=<value> …
       [--suite S1|S2|S3] [--tool <code>] [--server <server>] [--lease <file>]
       and in place of --pins: --pin <kid>:<pub> … [--lease-key <kid>:<x>:<y>]
`
const NO_ANSWER = 2
const WRONG_USAGE = 64

function say(line: string): void {
  process.stdout.write(`${new Date().toISOString()} | ${line}\n`)
}

function explain({ httpStatus, supportCode, body }: legacy.LegacyReply): number {
  say(`The server answered (HTTP ${httpStatus}): ${body.message}`)
  if (body.status === 'success') {
    say(`Licensed to ${body.user} until ${body.expiry_date}, that is ${body.days_remaining} more days.`)
    say('The tool may run.')
    return 0
  }
  say(`The tool may not run. If you think it should, tell the vendor this support code: ${supportCode}`)
  return 1
}

async function checkLegacy(url: string, hwid: string, licence: string | undefined): Promise<number> {
  try {
    const session = await legacy.requestSessionKey(url)
    say(`Session key obtained from ${url}; it lives ${session.expiresInS} seconds.`)
    say('JWT token parsed: a 256-bit AES key and a 128-bit IV.')
    const encrypted = await legacy.encryptHwid(session, hwid)
    say(`The hardware id is encrypted under the session key: ${encrypted}`)
    return explain(await legacy.checkLicence(url, session, encrypted, licence))
  } catch (error) {
    const { message, cause } = error as Error
    say(`No answer from ${url}: ${message}${cause instanceof Error ? ` (${cause.message})` : ''}`)
    say('Is the server running? Start it with: npm start')
    return NO_ANSWER
  }
}

function readArguments() {
  const several = { type: 'string', multiple: true, default: [] as string[] } as const
  return parseArgs({
    options: {
      hwid: { type: 'string' },
      licence: { type: 'string' },
      url: { type: 'string', default: process.env.KUNCI_URL ?? 'http://127.0.0.1:3000' },
      server: { type: 'string' },
      suite: { type: 'string' },
      pins: { type: 'string' },
      pin: several,
      'lease-key': several,
      lease: { type: 'string' },
      tool: { type: 'string', default: 'demo' },
      hw: several,
      help: { type: 'boolean', default: false },
    },
  }).values
}

async function main(): Promise<number> {
  const values = readArguments()
  const server = values.server ?? values.url
  const suite = values.suite ?? (values.pins !== undefined || values.pin.length > 0 ? 'S1' : 'legacy')
  if (!values.help && suite !== 'legacy') return checkSealed({ ...values, server, suite })
  if (!values.help && values.hwid !== undefined) return checkLegacy(server, values.hwid, values.licence)
  process.stdout.write(USAGE)
  return values.help ? 0 : NO_ANSWER
}

try {
  process.exitCode = await main()
} catch (error) {
  const { code = '', message, stack } = error as Error & { code?: string }
  const isUsage = error instanceof UsageError || code.startsWith('ERR_PARSE_ARGS')
  process.stderr.write(isUsage ? `${message}\n${USAGE}` : `${stack}\n`)
  process.exitCode = isUsage ? WRONG_USAGE : NO_ANSWER
}
