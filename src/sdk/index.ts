/** The client of the sealed suites, for programs in any JavaScript runtime. */
export type { Backend, Curve, KeyPair } from './backend.ts'
export { type Forge, forgeBackend } from './backend-forge.ts'
export type { CheckRequest } from './check-request.ts'
export { type Client, createClient, type LogLevel } from './client.ts'
export type { Bytes } from './encoding.ts'
export type { Pin } from './handshake.ts'
export type { Heartbeat, HeartbeatOptions } from './heartbeat.ts'
export {
  type ComponentType,
  type Hwid,
  hwidFingerprint,
  hwidOf,
  normalise,
  type RawHardware,
} from './hwid.ts'
export { type Lease, LeaseError, type LeaseFault, type LeaseKey, verifyLease } from './lease.ts'
export {
  acceptLease,
  hearServer,
  type LeaseState,
  type LeaseStep,
  type LeaseVerdict,
  stepLease,
} from './lease-state.ts'
export { type LeaseStore, memoryStore } from './lease-store.ts'
export * as legacy from './legacy.ts'
export type { ClientOptions } from './options.ts'
export type { SealedSuite } from './suites.ts'
export type { Reason } from './unavailable.ts'
export type {
  Allowed,
  AllowedByLease,
  CheckResult,
  Denied,
  Issued,
  IssueResult,
  SeatFacts,
  Unavailable,
} from './verdict.ts'
