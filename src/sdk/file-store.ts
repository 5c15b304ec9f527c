import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { LeaseState } from './lease-state.ts'
import type { LeaseStore } from './lease-store.ts'

export type FileStoreOptions = {
  /** Where the lease lies, such as `<tool>.lease`; its state lies beside it. The folder is made if it is not there. */
  readonly file: string
  /**
   * 32 bytes that make the state's MAC. Who has them can write himself any state, so they belong in what the system has
   * for secrets (DPAPI, Keychain, libsecret) and not beside the files.
   */
  readonly key: Uint8Array
}

const KEY_BYTES = 32
const FILE_MODE = 0o600

/** In base64url: 43 characters. */
function macOf(key: Uint8Array, line: string): string {
  return createHmac('sha256', key).update('kunci/lease-state\n').update(line).digest('base64url')
}

async function textOf(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
}

/** Beside its place first, so that no crash leaves half a file. */
async function replace(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  const temporary = `${file}.${randomBytes(6).toString('hex')}`
  try {
    const handle = await open(temporary, 'wx', FILE_MODE)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

function stateOf(key: Uint8Array, text: string): LeaseState | null {
  const [line = '', mark = ''] = text.split('\n')
  const mac = Buffer.from(mark)
  const expected = Buffer.from(macOf(key, line))
  if (mac.length !== expected.length || !timingSafeEqual(mac, expected)) return null
  return JSON.parse(line) as LeaseState
}

/**
 * Keeps a lease in files, for Node: the lease as one line, and in a file with `-state` behind its name the state as a
 * line of JSON and a line with its HMAC-SHA-256.
 * @throws {RangeError} for a key of another length.
 */
export function fileStore({ file, key }: FileStoreOptions): LeaseStore {
  if (key.length !== KEY_BYTES) throw new RangeError(`the key has ${key.length} bytes, not ${KEY_BYTES}`)
  const stateFile = `${file}-state`
  return {
    load: async () => {
      const [lease, state] = await Promise.all([textOf(file), textOf(stateFile)])
      return { lease: lease?.trim() ?? null, state: state === null ? null : stateOf(key, state) }
    },
    saveLease: (lease) => replace(file, `${lease}\n`),
    saveState: (state) => {
      const line = JSON.stringify(state)
      return replace(stateFile, `${line}\n${macOf(key, line)}\n`)
    },
  }
}
