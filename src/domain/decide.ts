import type { BoundLicence, Licence } from '../store/licences.ts'

/**
 * How a machine stands to a licence: enrolled, known so far by what an old server kept of it, another machine is
 * enrolled, or none yet.
 */
export type Binding = 'same' | 'imported' | 'other' | 'none'

/** A licence a check may be about. */
export type Candidate = { readonly bound: BoundLicence; readonly binding: Binding }

export type Verdict =
  | { readonly kind: 'granted'; readonly candidate: Candidate }
  | { readonly kind: 'expired'; readonly candidate: Candidate }
  | { readonly kind: 'not_found'; readonly reason: NotFoundReason; readonly licence: Licence | null }

export type NotFoundReason = 'unknown' | 'suspended' | 'revoked' | 'other_device'

function expiryOf({ bound }: Candidate): number {
  return bound.licence.expiresAtMs ?? Number.POSITIVE_INFINITY
}

function refusalOf(candidates: readonly Candidate[]): Verdict {
  const [first] = candidates
  if (first === undefined) return { kind: 'not_found', reason: 'unknown', licence: null }
  const { licence } = first.bound
  return { kind: 'not_found', reason: licence.state === 'active' ? 'other_device' : licence.state, licence }
}

/**
 * Decides a check. Of several licences for one machine the active one that expires last counts: a dead licence never
 * shadows a living one. Suspended and revoked licences look like unknown ones from outside; `reason` is for the record.
 */
export function decide(candidates: readonly Candidate[], nowMs: number): Verdict {
  const usable = candidates.filter(
    ({ bound, binding }) => bound.licence.state === 'active' && binding !== 'other',
  )
  const [best] = usable.sort((a, b) => (expiryOf(b) > expiryOf(a) ? 1 : -1))
  if (best === undefined) return refusalOf(candidates)
  return { kind: expiryOf(best) > nowMs ? 'granted' : 'expired', candidate: best }
}
