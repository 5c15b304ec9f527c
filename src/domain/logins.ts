import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { SessionPolicy } from '../store/accounts.ts'
import type { SessionRow } from '../store/session-rows.ts'
import type { SignInStore } from '../store/sign-ins.ts'
import type { User } from '../store/users.ts'
import type { LoginChecks } from './login-checks.ts'
import type { SessionPolicies } from './session-policies.ts'
import { decideSignIn } from './session-policy.ts'
import type { Sessions } from './sessions.ts'
import { type Admission, type Client, type SignInMoves, takeOverHash } from './sign-in-moves.ts'
import type { Users } from './users.ts'

/** `session_limit`: nobody was ended, `live` are in. `session_asked`: try again in `retryAfterS` seconds. Both with `token`. */
export type LoginResult =
  | { readonly kind: 'opened'; readonly user: User; readonly session: SessionRow }
  | { readonly kind: 'session_limit'; readonly live: readonly SessionRow[]; readonly token: string }
  | { readonly kind: 'session_asked'; readonly retryAfterS: number; readonly token: string }

export type Logins = ReturnType<typeof createLogins>

export function createLogins(deps: {
  signIns: SignInStore
  users: Users
  policies: SessionPolicies
  sessions: Sessions
  checks: LoginChecks
  moveOf: SignInMoves
  /** Told when sessions that were asked to make way will be over, unless they are kept. */
  onAsked: (untilMs: number) => void
  clock: Clock
}) {
  const { signIns, users, policies, sessions, checks, moveOf, onAsked, clock } = deps

  function resultOf({ verdict, opens, token }: Admission, user: User): LoginResult {
    if (opens !== null) return { kind: 'opened', user, session: opens }
    if (verdict.kind === 'full') return { kind: 'session_limit', live: verdict.live, token }
    if (verdict.kind === 'kept') throw new AppError('session_kept')
    if (verdict.kind !== 'ask' && verdict.kind !== 'waiting') throw new AppError('take_over_invalid')
    const retryAfterS = Math.max(1, Math.ceil((verdict.untilMs - clock()) / 1000))
    return { kind: 'session_asked', retryAfterS, token }
  }

  /** Lets a user in whose password was right, as far as his sessions elsewhere let him. */
  async function admit(
    user: User,
    policy: SessionPolicy,
    client: Client,
    come: { readonly back: string | null; readonly chosen: string | null },
  ): Promise<LoginResult> {
    const { back, chosen } = come
    const admission = await sessions.changing(user.id, () =>
      signIns.signIn(user, back === null ? null : takeOverHash(back), (house) => {
        const nowMs = clock()
        const verdict = decideSignIn(house, policy, { comesBack: back !== null, chosen, nowMs })
        return moveOf(verdict, user, client, back, nowMs)
      }),
    )
    // Disabled, or given another password or role, since he proved who he is.
    if (admission === null) throw new AppError('invalid_credentials')
    if (admission.verdict.kind === 'ask') onAsked(admission.verdict.untilMs)
    return resultOf(admission, user)
  }

  return {
    /**
     * Signs somebody in. A full house is no failed login: his password was right.
     * @throws {AppError} `invalid_credentials`, `totp_required`, `too_many_requests` or `server_busy`.
     */
    login: async (
      claimed: { readonly email: string; readonly password: string; readonly code: string | undefined },
      client: Client,
    ): Promise<LoginResult> => {
      const user = await checks.identify(claimed, client.address)
      return admit(user, await policies.of(user), client, { back: null, chosen: null })
    },
    /**
     * Comes back with the token that a full house gave.
     * @param chosen the session whose place is wanted; else those that were used least lately make way.
     * @throws {AppError} `take_over_invalid`, or `session_kept` when its holder said no.
     */
    takeOver: async (token: string, chosen: string | null, client: Client): Promise<LoginResult> => {
      const ownerId = await signIns.ownerOf(takeOverHash(token))
      const user = ownerId === null ? null : await users.findById(ownerId)
      if (user === null) throw new AppError('take_over_invalid')
      return admit(user, await policies.of(user), client, { back: token, chosen })
    },
  }
}
