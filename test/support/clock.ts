import type { Clock } from '../../src/clock.ts'

export type ManualClock = Clock & { advance(ms: number): void }

/** A clock that stands still until it is told to move. */
export function manualClock(startMs = Date.UTC(2025, 0, 1)): ManualClock {
  let nowMs = startMs
  return Object.assign(() => nowMs, {
    advance: (ms: number) => {
      nowMs += ms
    },
  })
}
