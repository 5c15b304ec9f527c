import type { Remedy } from '../remedy.ts'

/** `not_checked`: something else is in the way, and has a finding of its own; or it is not to be learned. */
export type State = 'ok' | 'warning' | 'failed' | 'not_checked'

/** What one check found. */
export type Finding = {
  /** Stable: scripts may ask for it. */
  readonly id: string
  readonly state: State
  /** What is, in a sentence. It never holds a secret. */
  readonly what: string
  /** What follows from it, where all is not well. */
  readonly why: string | null
  readonly mend: readonly Remedy[]
}

export function ok(id: string, what: string): Finding {
  return { id, state: 'ok', what, why: null, mend: [] }
}

export function notChecked(id: string, because: string): Finding {
  return { id, state: 'not_checked', what: `because ${because}`, why: null, mend: [] }
}

/** What is not well, but nothing depends on. */
export function warning(id: string, what: string, why: string, mend: readonly Remedy[]): Finding {
  return { id, state: 'warning', what, why, mend }
}

/** What keeps Kunci from working, or will. */
export function failed(id: string, what: string, why: string, mend: readonly Remedy[]): Finding {
  return { id, state: 'failed', what, why, mend }
}
