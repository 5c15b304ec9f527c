import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { Account, AtLimit, Role } from '../store/accounts.ts'
import type { SessionRow } from '../store/session-rows.ts'
import type { User, UserChange, UserStep, UserStore } from '../store/users.ts'
import { normalEmail } from './emails.ts'
import type { Actor, Events, EventType } from './events.ts'
import { newNumericId } from './ids.ts'
import type { Passwords } from './passwords.ts'
import type { EndReason } from './session-policy.ts'
import type { Sessions } from './sessions.ts'
import { requireTexts } from './texts.ts'

const TRIES_MAX = 3

/** A user with what only operators see of him. */
export type UserDetails = User

/** What there is to say of a new user. */
export type NewUser = {
  readonly email: string
  readonly fullName: string
  readonly role: Role
  readonly password: string
}

/** A user as he is told of himself and to operators: nothing secret. */
export function userView({ id, email, fullName, isActive, role }: Account) {
  return { id, email, fullName, isActive, roles: [role] }
}

/** @throws {AppError} `invalid_argument` for what is no email address. */
export function requireEmail(text: string): string {
  const email = normalEmail(text)
  if (email === null) throw new AppError('invalid_argument', { detail: 'this is no email address' })
  return email
}

/** What goes with a change of a user: `ending` ends his sessions, but for the one that is excepted. */
type Step = Pick<UserStep, 'since' | 'recoveryCodes'> & {
  readonly ending?: { readonly reason: EndReason; readonly except?: string }
}

export type Users = ReturnType<typeof createUsers>

/** The accounts of those who sign in. */
export function createUsers(deps: {
  store: UserStore
  passwords: Passwords
  sessions: Sessions
  events: Events
  clock: Clock
  random: Random
}) {
  const { store, passwords, sessions, events, clock, random } = deps

  /** A user as he will be, not yet written. @throws {AppError} `invalid_argument`, or what the password is refused for. */
  async function prepare({ email: text, fullName, role, password }: NewUser): Promise<User> {
    const email = requireEmail(text)
    requireTexts({ fullName })
    await passwords.requireGood(password, { email, fullName })
    const passwordHash = await passwords.hash(password)
    const nowMs = clock()
    return {
      ...{ id: newNumericId(nowMs, random), email, fullName, role, isActive: true, passwordHash },
      ...{ totpSecret: null, totpStep: null, maxSessions: null, atLimit: null },
      ...{ createdAtMs: nowMs, updatedAtMs: nowMs },
    }
  }

  const endsOf = (open: readonly SessionRow[], { reason, except }: Required<Step>['ending'], by: Actor) =>
    open.filter(({ sessionId }) => sessionId !== except).map((session) => sessions.endOf(session, reason, by))

  const createdEvent = (actor: Actor, { id, role }: User) =>
    events.build('user_created', actor, { detail: { user_id: id, role } })

  /** @throws {AppError} `user_exists`, or as {@link prepare}. */
  async function create(actor: Actor, user: NewUser): Promise<User> {
    const prepared = await prepare(user)
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const own = { ...prepared, id: newNumericId(prepared.createdAtMs, random) }
      if (await store.create(own, createdEvent(actor, own))) return own
      // Or else it was the number, which is random.
      if ((await store.findByEmail(prepared.email)) !== null)
        throw new AppError('user_exists', { detail: `${prepared.email} is there already` })
    }
    throw new Error('no free number for a user was found')
  }

  /** @param text an email address or an id. @throws {AppError} `user_not_found`. */
  async function find(text: string): Promise<User> {
    const email = normalEmail(text)
    const user = /^\d{1,16}$/.test(text)
      ? await store.find(Number(text))
      : email === null
        ? null
        : await store.findByEmail(email)
    if (user === null) throw new AppError('user_not_found', { detail: `there is no user "${text}"` })
    return user
  }

  /**
   * Changes a user, and what goes with it in the same step.
   * @returns how many sessions ended.
   * @throws {AppError} `user_not_found`; `invalid_credentials` where he was changed since he proved who he is.
   */
  async function change(
    actor: Actor,
    { id: userId }: Pick<User, 'id'>,
    values: UserChange,
    told: { type: EventType; detail?: Record<string, string | number | boolean | null> },
    { ending, ...step }: Step = {},
  ): Promise<number> {
    const event = events.build(told.type, actor, { detail: { user_id: userId, ...told.detail } })
    const ended = await sessions.changing(userId, () =>
      store.change(userId, values, clock(), event, {
        ...step,
        ...(ending === undefined ? {} : { endsOf: (open) => endsOf(open, ending, actor) }),
      }),
    )
    if (ended === null)
      throw new AppError(step.since === undefined ? 'user_not_found' : 'invalid_credentials')
    return ended.length
  }

  /**
   * Sets a password; whoever is signed in with the old one is not any more.
   * @param own where its owner does it: the session in which he does, which goes on.
   */
  async function setPassword(actor: Actor, user: User, password: string, own?: string): Promise<number> {
    await passwords.requireGood(password, user)
    const passwordHash = await passwords.hash(password)
    const by = own === undefined ? 'operator' : 'owner'
    const told = { type: 'authn_password_change', detail: { by } } as const
    const reason = 'password_changed'
    const step: Step =
      own === undefined ? { ending: { reason } } : { ending: { reason, except: own }, since: user }
    return change(actor, user, { passwordHash }, told, step)
  }

  return {
    ...{ prepare, createdEvent, create, find, change, setPassword },
    list: () => store.list(),
    hasSuperadmin: () => store.hasSuperadmin(),
    findByEmail: (email: string) => store.findByEmail(email),
    findById: (id: number) => store.find(id),
    /** Switches one-time codes off, as for somebody whose telephone is lost. */
    dropTotp: (actor: Actor, user: User, step: Pick<Step, 'since'> = {}) => {
      const told = { type: 'authn_totp_changed', detail: { is_on: false } } as const
      return change(actor, user, { totpSecret: null, totpStep: null }, told, { ...step, recoveryCodes: [] })
    },
    disable: (actor: Actor, user: User) => {
      const ending = { reason: 'user_disabled' } as const
      return change(actor, user, { isActive: false }, { type: 'user_disabled' }, { ending })
    },
    enable: (actor: Actor, user: User) => change(actor, user, { isActive: true }, { type: 'user_enabled' }),
    setRole: (actor: Actor, user: User, role: Role) => {
      const told = { type: 'privilege_permissions_changed', detail: { from: user.role, to: role } } as const
      return change(actor, user, { role }, told, { ending: { reason: 'role_changed' } })
    },
    setPolicy: (actor: Actor, user: User, values: { maxSessions: number | null; atLimit: AtLimit | null }) =>
      change(actor, user, values, {
        type: 'session_policies_changed',
        detail: { max_sessions: values.maxSessions, at_limit: values.atLimit },
      }),
  }
}
