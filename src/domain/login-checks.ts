import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { User, UserStore } from '../store/users.ts'
import { normalEmail } from './emails.ts'
import type { Events } from './events.ts'
import type { LoginBackoff } from './login-backoff.ts'
import { type OneTimeCodes, recoveryCodeHash } from './one-time-codes.ts'
import type { Passwords } from './passwords.ts'
import { userActor } from './sessions.ts'

const TOTP_CODE = /^\d{3} ?\d{3}$/

export type LoginChecks = ReturnType<typeof createLoginChecks>

/** Who somebody is: by email, password and, where he wants it so, a one-time code. */
export function createLoginChecks(deps: {
  store: UserStore
  passwords: Passwords
  codes: OneTimeCodes
  backoff: LoginBackoff
  events: Events
  clock: Clock
  onError: (error: unknown) => void
}) {
  const { store, passwords, codes, backoff, events, clock, onError } = deps

  function requireNoWait(waitMs: number): void {
    if (waitMs > 0) throw new AppError('too_many_requests', { retryAfterS: Math.ceil(waitMs / 1000) })
  }

  function fail(email: string, address: string): AppError {
    events.refuse('authn_login_fail', address)
    if (backoff.countFailure(email, address)) events.refuse('authn_login_lock', address)
    return new AppError('invalid_credentials')
  }

  /** Takes a code, and no other time the same one. */
  async function takesCode(user: User, secret: string, code: string, address: string): Promise<boolean> {
    if (!TOTP_CODE.test(code)) {
      const event = events.build('authn_recovery_code_used', userActor(user, address), {
        detail: { user_id: user.id },
      })
      return store.useRecoveryCode(user.id, recoveryCodeHash(code), clock(), event)
    }
    const step = codes.stepOf(user, secret, code)
    return step !== null && (await store.takeTotpStep(user.id, step))
  }

  async function requireCode(user: User, code: string | undefined, address: string): Promise<void> {
    if (user.totpSecret === null) return
    if (code === undefined) throw new AppError('totp_required')
    const waitMs = backoff.tryCode(user.email)
    if (waitMs > 0) events.refuse('authn_login_lock', address)
    requireNoWait(waitMs)
    if (!(await takesCode(user, user.totpSecret, code, address))) throw fail(user.email, address)
  }

  /**
   * A hash that was made with less than is asked for now is made anew: only now is the password at hand. Where that cannot
   * be done it waits for the next sign-in; this one was right.
   */
  async function rehash(user: User, password: string): Promise<void> {
    if (user.passwordHash === null || !passwords.isOutdated(user.passwordHash)) return
    const anew = await passwords.hash(password).catch(onError)
    if (anew !== undefined) await store.replaceHash(user.id, user.passwordHash, anew)
  }

  /**
   * The active user whose password this is.
   * @throws {AppError} `invalid_credentials`, alike in text and time for a wrong email, a wrong password and a user who is
   *   disabled; `too_many_requests` for who failed too often and did not wait; `server_busy`.
   */
  async function byPassword(text: string, password: string, address: string): Promise<User> {
    const email = normalEmail(text) ?? ''
    requireNoWait(backoff.waitMs(email, address))
    const user = await store.findByEmail(email)
    const isRight = await passwords.isRight(password, user?.passwordHash ?? null)
    // Others of the same moment may have failed meanwhile: many guesses at once are worth no more than one by one.
    requireNoWait(backoff.waitMs(email, address))
    if (user === null || !isRight || !user.isActive) throw fail(email, address)
    return user
  }

  /** @throws {AppError} as {@link byPassword}, also for a wrong code; `totp_required` where one is missing. */
  async function identify(
    { email, password, code }: { email: string; password: string; code: string | undefined },
    address: string,
  ): Promise<User> {
    const user = await byPassword(email, password, address)
    await requireCode(user, code, address)
    backoff.clear(user.email, address)
    await rehash(user, password)
    return user
  }

  return { byPassword, identify }
}
