import { fromB64u } from '../../crypto/encoding.ts'
import { componentAtRest, fingerprintOf } from '../../crypto/fingerprint.ts'
import type { Components } from '../../crypto/lease.ts'
import type { NewComponent } from '../../store/devices.ts'
import type { Keyring } from '../../store/keyring.ts'
import { keysOf } from '../../store/ring.ts'
import type { CheckData } from '../../wire/sealed.ts'
import type { Parts } from '../matching.ts'

/** A machine as a client describes it. */
export type SeenMachine = {
  /** Component digests, 32 bytes each, as they came. */
  readonly digests: Components
  /** What the database may know it by: of each digest one hash for each pepper, the current one's first. */
  readonly parts: Parts
  /** For the record and for equality alone, 64 hex. */
  readonly fingerprint: string
}

export type Machines = ReturnType<typeof createMachines>

/** How a machine is known to the database without being in it: as hashes of its components under the pepper. */
export function createMachines({ keyring }: { keyring: Keyring }) {
  function hashesOf(tool: string, type: string, digest: Uint8Array): string[] {
    return keysOf(keyring['hwid-pepper']).map((pepper) =>
      componentAtRest(pepper, tool, type, digest).toString('hex'),
    )
  }

  /** @returns `null` where a digest is not the base64url of 32 bytes, or stands twice under its type. */
  function seen(tool: string, { c }: CheckData['hwid']): SeenMachine | null {
    const digests: Record<string, Buffer[]> = {}
    for (const [type, texts = []] of Object.entries(c)) {
      const own = texts.map(fromB64u).filter((digest) => digest !== null)
      if (own.length !== texts.length || new Set(texts).size !== texts.length) return null
      digests[type] = own
    }
    const parts = Object.entries(digests).map(([type, own]): [string, string[]] => [
      type,
      own.flatMap((digest) => hashesOf(tool, type, digest)),
    ])
    return { digests, parts: new Map(parts), fingerprint: fingerprintOf(digests).toString('hex') }
  }

  /** What a device is to be known by from now on, under the current pepper. */
  function componentsOf(
    deviceId: string,
    tool: string,
    { digests }: SeenMachine,
    nowMs: number,
  ): NewComponent[] {
    const pepperId = keyring['hwid-pepper'].current
    return Object.entries(digests).flatMap(([type, own]) =>
      own.map((digest) => {
        const [h = ''] = hashesOf(tool, type, digest)
        return { deviceId, type, h, pepperId, firstSeenMs: nowMs }
      }),
    )
  }

  return { seen, componentsOf }
}
