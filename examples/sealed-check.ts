/** The check of a desktop program by a sealed suite: `desktop-tool.ts` reads the arguments for it. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileStore } from '../src/sdk/file-store.ts'
import {
  type CheckResult,
  type ClientOptions,
  createClient,
  hwidOf,
  type LeaseKey,
  type Pin,
  type RawHardware,
  type SealedSuite,
} from '../src/sdk/index.ts'

/** What somebody typed makes no sense. */
export class UsageError extends Error {}

type Wish = {
  readonly server: string
  readonly suite: string
  readonly tool: string
  readonly licence?: string | undefined
  /** What `kunci keys pins` printed, in a file. */
  readonly pins?: string | undefined
  /** `<kid>:<pub>`, in place of a file. */
  readonly pin: readonly string[]
  /** `<kid>:<x>:<y>`. */
  readonly 'lease-key': readonly string[]
  readonly lease?: string | undefined
  /** `<type>=<value>`. */
  readonly hw: readonly string[]
}

type Pinned = { readonly pins: readonly Pin[]; readonly leaseKeys: readonly LeaseKey[] }

const VERSION = '1.0.0'
const STATE_KEY_BYTES = 32
const EXIT_CODE = { allowed: 0, denied: 1, unavailable: 2 } as const

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function suiteOf(name: string): SealedSuite {
  if (name === 'S1' || name === 'S2' || name === 'S3') return name
  throw new UsageError(`no suite: ${name}`)
}

function misused(error: Error): never {
  throw new UsageError(error.message)
}

function readPins(file: string, suite: SealedSuite): Pinned {
  try {
    const list = JSON.parse(readFileSync(file, 'utf8'))
    return { pins: list[suite] ?? [], leaseKeys: list.lease ?? [] }
  } catch (error) {
    return misused(error as Error)
  }
}

function pinnedOf(wish: Wish, suite: SealedSuite): Pinned {
  if (wish.pins !== undefined) return readPins(wish.pins, suite)
  const pins = wish.pin.map((text) => {
    const [kid = '', pub = ''] = text.split(':')
    return { kid, pub }
  })
  const leaseKeys = wish['lease-key'].map((text): LeaseKey => {
    const [kid = '', x = '', y = ''] = text.split(':')
    return { kty: 'EC', crv: 'P-256', kid, x, y }
  })
  return { pins, leaseKeys }
}

function hardwareOf(hw: readonly string[]): RawHardware {
  const raw: Record<string, string[]> = {}
  for (const text of hw) {
    const [, type = '', value = ''] = /^([a-z]+)=(.*)$/s.exec(text) ?? []
    if (type === '') throw new UsageError(`no --hw <type>=<value>: ${text}`)
    raw[type] = [...(raw[type] ?? []), value]
  }
  return raw
}

/** The key that guards the lease's state. A real tool keeps it in the system's keychain and not beside the lease. */
function stateKeyOf(file: string): Buffer {
  if (!existsSync(file)) writeFileSync(file, randomBytes(STATE_KEY_BYTES), { mode: 0o600, flag: 'wx' })
  return readFileSync(file)
}

function explain(result: CheckResult): void {
  if (result.outcome === 'unavailable') {
    say(`There is no answer that can be trusted (${result.reason}), so nothing is known of the licence.`)
  } else if (result.outcome === 'denied') {
    say(`The server says: ${result.message}`)
    say(`The tool may not run. If you think it should, tell the vendor this code: ${result.support_code}`)
  } else if (result.source === 'server') {
    say(`The server says: ${result.message}`)
    say('The tool may run.')
  } else {
    const until = new Date(result.lease.exp * 1000).toISOString()
    say(`There is no answer (${result.reason}), but the server signed a lease that lasts until ${until}.`)
    say(result.state === 'ok' ? 'The tool may run.' : 'It has run out: the tool may run, but not for long.')
  }
}

function lastLineOf(result: CheckResult): string {
  const { outcome, code } = result
  const supportCode = 'support_code' in result ? result.support_code : null
  return JSON.stringify({ outcome, code, support_code: supportCode })
}

/** @returns the exit code. @throws {UsageError} */
export async function checkSealed(wish: Wish): Promise<number> {
  const { server: serverUrl, licence, tool, lease, hw } = wish
  const suite = suiteOf(wish.suite)
  if (licence === undefined || hw.length === 0) throw new UsageError('--licence and --hw are needed')
  const waits = process.env.KUNCI_RETRY_MS
  const options: ClientOptions = {
    ...{ serverUrl, suite, ...pinnedOf(wish, suite) },
    ...(waits === undefined ? {} : { retryMs: waits.split(',').map(Number) }),
    ...(lease === undefined ? {} : { store: fileStore({ file: lease, key: stateKeyOf(`${lease}-key`) }) }),
    onSession: ({ expiresInS }) => {
      say('Session key obtained')
      say('JWT token parsed')
      say('Using dynamic encryption keys from session')
      say(`The session lives ${expiresInS} seconds; its key was never sent.`)
    },
  }
  const client = await createClient(options).catch(misused)
  const hwid = await hwidOf(tool, hardwareOf(hw)).catch(misused)
  say(`Asking ${serverUrl} by ${suite}, with digests of ${Object.keys(hwid.c).length} parts of this machine.`)
  const result = await client.check({ licence, tool, ver: VERSION, hwid })
  await client.close()
  explain(result)
  say(lastLineOf(result))
  return EXIT_CODE[result.outcome]
}
