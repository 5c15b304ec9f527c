import type { Clock } from '../clock.ts'
import type { Role, SessionPolicy } from '../store/accounts.ts'
import type { SessionPolicyStore } from '../store/session-policies.ts'
import type { User } from '../store/users.ts'
import type { Actor, Events } from './events.ts'

export { AT_LIMIT, ROLES } from '../store/accounts.ts'

export type SessionPolicies = ReturnType<typeof createSessionPolicies>

/** How many sessions users may have at once. */
export function createSessionPolicies(deps: { store: SessionPolicyStore; events: Events; clock: Clock }) {
  const { store, events, clock } = deps
  return {
    /** What holds for a user: what was said of him, else what was said of his role, else no limit. */
    of: async ({ role, maxSessions, atLimit }: User): Promise<SessionPolicy> => {
      const ofRole = await store.find(role)
      return { maxSessions: maxSessions ?? ofRole.maxSessions, atLimit: atLimit ?? ofRole.atLimit }
    },
    list: () => store.list(),
    set: (actor: Actor, role: Role, policy: SessionPolicy) => {
      const detail = { role, max_sessions: policy.maxSessions, at_limit: policy.atLimit }
      return store.set(role, policy, clock(), events.build('session_policies_changed', actor, { detail }))
    },
  }
}
