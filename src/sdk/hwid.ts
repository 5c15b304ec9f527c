import type { Backend } from './backend.ts'
import { type Bytes, concat, lp, toB64u, toHex } from './encoding.ts'
import { JUNK_VALUES } from './junk-values.ts'
import { anyBackend } from './platform.ts'

/**
 * What a machine is recognised by.
 * `tpm`: SHA-256 of the endorsement public key, as hex. `board`: maker and serial of the main board, left out where
 * {@link normalise} takes the serial alone for nothing. `bios`: the SMBIOS UUID. `disk`: serial of the system disk.
 * `mac`: the addresses of physical adapters. `osid`: MachineGuid or machine-id. `cpu`: ProcessorId.
 */
export type ComponentType = 'tpm' | 'board' | 'bios' | 'disk' | 'mac' | 'osid' | 'cpu'

/** Raw values as the system reports them. They do not leave the machine. */
export type RawHardware = Readonly<Partial<Record<ComponentType, string | readonly string[]>>>

/** A machine as it is sent: of each value a digest of 32 bytes, in base64url. */
export type Hwid = {
  readonly c: Readonly<Partial<Record<ComponentType, readonly string[]>>>
  readonly v: 1
}

/** How much a component that fits says (all of them: 18). */
export const WEIGHTS: Readonly<Record<ComponentType, number>> = {
  ...{ tpm: 4, board: 3, bios: 3, disk: 3, mac: 2, osid: 2, cpu: 1 },
}

/** In the order in which RFC 8785 sorts them. */
const TYPES = (Object.keys(WEIGHTS) as ComponentType[]).sort()
const NORMAL_MAX = 128
const NORMAL_MIN = 4
const MAC = /^[0-9A-F]{12}$/
const MULTICAST = 0x01
const LOCALLY_ADMINISTERED = 0x02

/** Whether an address is one that a maker burnt into a card. */
function isUniversal(mac: string): boolean {
  const first = Number.parseInt(mac.slice(0, 2), 16)
  return MAC.test(mac) && (first & (MULTICAST | LOCALLY_ADMINISTERED)) === 0
}

/**
 * The normal form of a value: NFKC, upper case, only A to Z and 0 to 9, the first 128 characters.
 * @returns `null` for a value that tells no machine from another: shorter than four characters, one character
 *   repeated, known to stand for nothing; of `mac` also what no maker gave to a card.
 */
export function normalise(type: ComponentType, raw: string): string | null {
  const value = raw
    .normalize('NFKC')
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, '')
    .slice(0, NORMAL_MAX)
  if (value.length < NORMAL_MIN || /^(.)\1*$/.test(value) || JUNK_VALUES.has(value)) return null
  return type !== 'mac' || isUniversal(value) ? value : null
}

/**
 * The digest of a value: 32 bytes of SHA-256 over tool, type and normal form, so that nobody can tell by it that two
 * tools run on one machine.
 * @param tool the product's code.
 * @param normal from {@link normalise}.
 */
export function componentDigest(
  backend: Backend,
  tool: string,
  type: ComponentType,
  normal: string,
): Promise<Bytes> {
  return backend.sha256(concat(lp('dsk1/hwid'), lp(tool), lp(type), lp(normal)))
}

/**
 * Describes a machine to one tool's server.
 * @param tool the product's code.
 * @throws {RangeError} for a type that there is not.
 */
export async function hwidOf(tool: string, raw: RawHardware, backend = anyBackend()): Promise<Hwid> {
  const unknown = Object.keys(raw).find((type) => !Object.hasOwn(WEIGHTS, type))
  if (unknown !== undefined) throw new RangeError(`no type of hardware: ${unknown}`)
  const c: Partial<Record<ComponentType, readonly string[]>> = {}
  for (const type of TYPES) {
    const values = [raw[type] ?? []].flat().map((value) => normalise(type, value))
    const normal = [...new Set(values.filter((value) => value !== null))].sort()
    const digests = await Promise.all(normal.map((value) => componentDigest(backend, tool, type, value)))
    if (digests.length > 0) c[type] = digests.map(toB64u)
  }
  return { c, v: 1 }
}

/** The RFC 8785 form: types sorted, no spaces. */
export function canonicalHwid({ c, v }: Hwid): string {
  const sorted = TYPES.flatMap((type) => (c[type] === undefined ? [] : [[type, c[type]]]))
  return JSON.stringify({ c: Object.fromEntries(sorted), v })
}

/** The fingerprint, for logs and to see that two machines are one: 64 hex characters. */
export async function hwidFingerprint(hwid: Hwid, backend = anyBackend()): Promise<string> {
  return toHex(await backend.sha256(concat(lp('dsk1/hwid-fp'), lp(canonicalHwid(hwid)))))
}
