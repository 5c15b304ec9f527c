/**
 * What the old desktop program does when it starts, in plain words:
 *
 *   npm run client -- --hwid 1234567890
 *   npm run client -- --hwid 1234567890 --licence XXXXX-XXXXX-XXXXX-XXXXX-XXXXX --url https://licences.example
 *
 * It ends with 0 when the tool may run, 1 when it may not, and 2 when there is no answer.
 */
import { parseArgs } from 'node:util'
import { checkLicence, encryptHwid, type LegacyReply, requestSessionKey } from '../src/sdk/legacy.ts'

const { values } = parseArgs({
  options: {
    hwid: { type: 'string' },
    licence: { type: 'string' },
    url: { type: 'string', default: process.env.KUNCI_URL ?? 'http://127.0.0.1:3000' },
    help: { type: 'boolean', default: false },
  },
})

function say(line: string): void {
  process.stdout.write(`${new Date().toISOString()} | ${line}\n`)
}

function explain({ httpStatus, supportCode, body }: LegacyReply): number {
  say(`The server answered (HTTP ${httpStatus}): ${body.message}`)
  if (body.status === 'success') {
    say(`Licensed to ${body.user} until ${body.expiry_date}, that is ${body.days_remaining} more days.`)
    say('The tool may run.')
    return 0
  }
  say(`The tool may not run. If you think it should, tell the vendor this support code: ${supportCode}`)
  return 1
}

async function main(): Promise<number> {
  if (values.help || values.hwid === undefined) {
    process.stdout.write('Usage: npm run client -- --hwid <hardware id> [--licence <key>] [--url <server>]\n')
    return values.help ? 0 : 2
  }
  try {
    const session = await requestSessionKey(values.url)
    say(`Session key obtained from ${values.url}; it lives ${session.expiresInS} seconds.`)
    say('JWT token parsed: a 256-bit AES key and a 128-bit IV.')
    const encrypted = await encryptHwid(session, values.hwid)
    say(`The hardware id is encrypted under the session key: ${encrypted}`)
    return explain(await checkLicence(values.url, session, encrypted, values.licence))
  } catch (error) {
    const { message, cause } = error as Error
    say(`No answer from ${values.url}: ${message}${cause instanceof Error ? ` (${cause.message})` : ''}`)
    say('Is the server running? Start it with: npm start')
    return 2
  }
}

process.exitCode = await main()
