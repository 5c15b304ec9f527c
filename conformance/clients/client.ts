import type { SealedSuite } from '../../src/crypto/suites.ts'
import type { Pins } from '../parties.ts'

/** What a client makes of a check. Only a reply that it has opened may lead to one of the first two. */
export type Outcome = 'allowed' | 'denied' | 'unavailable'

/** One start of a client: everything it is told. */
export type Run = {
  /** Of the attack, for the client's own log. */
  readonly case: string
  /** No slash at its end. */
  readonly serverUrl: string
  readonly suite: SealedSuite
  readonly pins: Pins
  readonly licence: string
  /** The product's code. */
  readonly tool: string
  /** Serial numbers as a machine says them, by component type. */
  readonly hardware: Readonly<Record<string, string>>
  /** How far the client's clock shall be from the true one. */
  readonly clockOffsetS: number
  /** Names what the client keeps from run to run: the same name, the same stored lease. */
  readonly state: string
}

export type Answer = {
  /** `broken`: it crashed, hung or contradicted itself. `unsupported`: it cannot be asked for this. */
  readonly outcome: Outcome | 'broken' | 'unsupported'
  /** Why it is broken or unsupported. */
  readonly note?: string
  /** All that it printed. */
  readonly said?: string
}

/** Starts a client once. What it throws counts as `broken`. @param signal the time for this run is over. */
export type Client = (run: Run, signal: AbortSignal) => Promise<Answer>

const OUTCOMES: readonly unknown[] = ['allowed', 'denied', 'unavailable'] satisfies Outcome[]

export function isOutcome(value: unknown): value is Outcome {
  return OUTCOMES.includes(value)
}
