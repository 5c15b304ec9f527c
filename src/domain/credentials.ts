import { AppError } from '../errors.ts'
import type { User, UserStore } from '../store/users.ts'
import type { LoginChecks } from './login-checks.ts'
import { type OneTimeCodes, recoveryCodeHash } from './one-time-codes.ts'
import { type SignedIn, userActor } from './sessions.ts'
import type { Users } from './users.ts'

export type Credentials = ReturnType<typeof createCredentials>

/** Whoever asks, from where. */
type Owner = { readonly session: SignedIn; readonly address: string }

/** What people change of how they sign in. Whoever does so gives his password: a screen left open is not enough. */
export function createCredentials(deps: {
  store: UserStore
  users: Users
  checks: LoginChecks
  codes: OneTimeCodes
}) {
  const { store, users, checks, codes } = deps

  /** Wrong ones are counted as at the sign-in: a session that was stolen does not serve to guess the password. */
  function confirmed({ session: { user }, address }: Owner, password: string): Promise<User> {
    return checks.byPassword(user.email, password, address)
  }

  /** A secret for the authenticator. Nothing changes until a code of it has come back. @throws {AppError} `totp_state`. */
  async function offerTotp({ userId }: SignedIn): Promise<{ secret: string; uri: string }> {
    const user = await store.find(userId)
    if (user === null || user.totpSecret !== null) throw new AppError('totp_state')
    return codes.newSecret(user)
  }

  /**
   * Switches one-time codes on.
   * @returns ten recovery codes, kept nowhere.
   * @throws {AppError} `invalid_credentials`, `totp_invalid`, or `totp_state` where they are on.
   */
  async function confirmTotp(
    owner: Owner,
    { password, secret, code }: { password: string; secret: string; code: string },
  ): Promise<string[]> {
    const user = await confirmed(owner, password)
    if (user.totpSecret !== null) throw new AppError('totp_state')
    const totpSecret = codes.seal(user, secret)
    const totpStep = totpSecret === null ? null : codes.stepOf(user, totpSecret, code)
    if (totpStep === null) throw new AppError('totp_invalid')
    const recoveryCodes = codes.newRecoveryCodes()
    const told = { type: 'authn_totp_changed', detail: { is_on: true } } as const
    await users.change(userActor(user, owner.address), user, { totpSecret, totpStep }, told, {
      since: user,
      recoveryCodes: recoveryCodes.map(recoveryCodeHash),
    })
    return recoveryCodes
  }

  /** @throws {AppError} `invalid_credentials`, or `totp_state` where they are off. */
  async function dropTotp(owner: Owner, password: string): Promise<void> {
    const user = await confirmed(owner, password)
    if (user.totpSecret === null) throw new AppError('totp_state')
    await users.dropTotp(userActor(user, owner.address), user, { since: user })
  }

  /** @throws {AppError} `invalid_credentials`, or what is wrong with the new password. Other sessions of the user end. */
  async function changePassword(
    owner: Owner,
    { password, newPassword }: { password: string; newPassword: string },
  ): Promise<void> {
    const user = await confirmed(owner, password)
    await users.setPassword(userActor(user, owner.address), user, newPassword, owner.session.sessionId)
  }

  return { offerTotp, confirmTotp, dropTotp, changePassword }
}
