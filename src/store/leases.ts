import { insertMany, type Session } from './engine/database.ts'

/** The newest lease of a device. */
export type StoredLease = {
  /** Grows by one with each lease of the device. */
  readonly seq: number
  /** A hash of everything in it but its times, base64url. */
  readonly basis: string
  /** Compact JWS. */
  readonly lease: string
  readonly issuedAtMs: number
  readonly expiresAtMs: number
}

/** A lease to be put in the place of the one with the number before. */
export type NewLease = StoredLease & { readonly deviceId: string }

const COLUMNS = ['device_id', 'seq', 'basis', 'lease', 'issued_at_ms', 'expires_at_ms']

/**
 * @returns `false` when another lease of the device came first.
 * @throws {DuplicateKeyError} when another first one did.
 */
export async function putLease(tx: Session, lease: NewLease): Promise<boolean> {
  const { deviceId, seq, basis, issuedAtMs, expiresAtMs } = lease
  if (seq === 1) {
    const row = [deviceId, seq, basis, lease.lease, issuedAtMs, expiresAtMs]
    await tx.run(...insertMany('kunci_leases', COLUMNS, [row]))
    return true
  }
  const changed = await tx.run(
    `UPDATE kunci_leases SET seq = ?, basis = ?, lease = ?, issued_at_ms = ?, expires_at_ms = ?
     WHERE device_id = ? AND seq = ?`,
    [seq, basis, lease.lease, issuedAtMs, expiresAtMs, deviceId, seq - 1],
  )
  return changed === 1
}
