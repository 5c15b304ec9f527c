import type { LeaseState } from './lease-state.ts'

/** Where a tool keeps its lease: one for each tool on a machine. */
export type LeaseStore = {
  /** @returns `state: null` when it is missing or somebody else wrote it; `lease: null` when there is none. */
  load(): Promise<{ readonly lease: string | null; readonly state: LeaseState | null }>
  /** Keeps a lease, a compact JWS, in place of the earlier one. @throws {Error} when it cannot. */
  saveLease(lease: string): Promise<void>
  /** Keeps the state, all of it or none. @throws {Error} when it cannot. */
  saveState(state: LeaseState): Promise<void>
}

/** Keeps a lease until the process ends. */
export function memoryStore(): LeaseStore {
  let lease: string | null = null
  let state: LeaseState | null = null
  return {
    load: async () => ({ lease, state }),
    saveLease: async (next) => {
      lease = next
    },
    saveState: async (next) => {
      state = next
    },
  }
}
