import { randomBytes } from 'node:crypto'
import { toCrockford } from '../../crypto/licence-key.ts'
import { AT_LIMIT, ROLES } from '../../domain/session-policies.ts'
import type { UserDetails } from '../../domain/users.ts'
import { AppError } from '../../errors.ts'
import { type Context, command } from '../command.ts'
import { facts, isoTime, table } from '../output.ts'
import { readStdin } from '../stdin.ts'
import { asMaximum, asOneOf } from '../values.ts'

const asRole = asOneOf(ROLES)
const asAtLimit = asOneOf(AT_LIMIT)
const PASSWORD_BYTES = 15
const WHO = { name: 'user', doc: 'Email or id of the user.' } as const
const FROM_STDIN = {
  doc: 'Reads the password from stdin, its last line break left out. Without it one is made and shown, this once.',
}

function userView(user: UserDetails) {
  return {
    id: user.id,
    email: user.email,
    full_name: user.fullName,
    role: user.role,
    active: user.isActive,
    password: user.passwordHash !== null,
    totp: user.totpSecret !== null,
    max_sessions: user.maxSessions,
    at_limit: user.atLimit,
    created_at: isoTime(user.createdAtMs),
  }
}

/** 24 symbols of Crockford's alphabet in groups, 120 bits. */
function newPassword(): string {
  return toCrockford(randomBytes(PASSWORD_BYTES)).replaceAll(/(.{6})(?=.)/g, '$1-')
}

async function passwordFrom(fromStdin: boolean | undefined, streams: Context['streams']) {
  if (!fromStdin) return { password: newPassword(), isNew: true }
  const password = (await readStdin(streams)).replace(/\r?\n$/, '')
  if (password === '') throw new AppError('invalid_argument', { detail: 'stdin gave no password' })
  return { password, isNew: false }
}

function shown(text: string, { password, isNew }: { password: string; isNew: boolean }): string {
  return isNew
    ? `${text}\n\nThis is the password; it is shown this once and kept nowhere:\n\n${password}`
    : text
}

const create = command({
  path: ['users', 'create'],
  summary: 'Creates somebody who may sign in.',
  options: {
    email: { value: 'EMAIL', required: true, doc: 'By which he signs in, in upper or lower case.' },
    'full-name': { value: 'NAME', required: true, doc: 'His name.' },
    role: {
      value: 'ROLE',
      fallback: 'user',
      doc: 'user, admin or superadmin. Admins see and end the sessions of all; superadmins those of admins too.',
      parse: asRole,
    },
    'password-stdin': FROM_STDIN,
  },
  positionals: [],
  example: 'kunci users create --email ani@example.com --full-name "Ani Wijaya" --role superadmin',
  run: async ({ args, actor, streams, withApp }) => {
    const made = await passwordFrom(args['password-stdin'], streams)
    return withApp(async (app) => {
      const { email, 'full-name': fullName, role } = args
      const user = userView(await app.users.create(actor, { email, fullName, role, password: made.password }))
      const data = made.isNew ? { ...user, new_password: made.password } : user
      return { data, text: shown(`Created.\n\n${facts(user)}`, made) }
    })
  },
})

const list = command({
  path: ['users', 'list'],
  summary: 'Lists everybody who may sign in, or might once.',
  options: {},
  positionals: [],
  example: 'kunci users list',
  run: ({ withApp }) =>
    withApp(async (app) => {
      const data = (await app.users.list()).map(userView)
      const text = table(data, [
        'id',
        'email',
        'full_name',
        'role',
        'active',
        'totp',
        'max_sessions',
        'at_limit',
      ])
      return { data, text: data.length === 0 ? 'There is no user yet.' : text }
    }),
})

const disable = command({
  path: ['users', 'disable'],
  summary: 'Keeps a user from signing in, and ends his sessions at once.',
  options: {},
  positionals: [WHO],
  example: 'kunci users disable ani@example.com',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const user = await app.users.find(args.user)
      const ended = await app.users.disable(actor, user)
      const data = { id: user.id, email: user.email, active: false, ended_sessions: ended }
      return { data, text: `Disabled: ${user.email}. Sessions ended: ${ended}.` }
    }),
})

const enable = command({
  path: ['users', 'enable'],
  summary: 'Lets a user that was disabled sign in again.',
  options: {},
  positionals: [WHO],
  example: 'kunci users enable ani@example.com',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const user = await app.users.find(args.user)
      await app.users.enable(actor, user)
      return { data: { id: user.id, email: user.email, active: true }, text: `Enabled: ${user.email}` }
    }),
})

const resetPassword = command({
  path: ['users', 'reset-password'],
  summary: 'Sets another password and ends all sessions of the user.',
  options: {
    'password-stdin': FROM_STDIN,
    'drop-totp': { doc: 'Switches his one-time codes off too, as for a telephone that is lost.' },
  },
  positionals: [WHO],
  example: 'kunci users reset-password ani@example.com',
  run: async ({ args, actor, streams, withApp }) => {
    const made = await passwordFrom(args['password-stdin'], streams)
    return withApp(async (app) => {
      const user = await app.users.find(args.user)
      const ended = await app.users.setPassword(actor, user, made.password)
      if (args['drop-totp'] && user.totpSecret !== null) await app.users.dropTotp(actor, user)
      const data = { id: user.id, email: user.email, ended_sessions: ended }
      return {
        data: made.isNew ? { ...data, new_password: made.password } : data,
        text: shown(`The password of ${user.email} is set. Sessions ended: ${ended}.`, made),
      }
    })
  },
})

const roles = command({
  path: ['users', 'roles'],
  summary: 'Gives a user another role; his sessions end, so that he signs in with it.',
  options: {
    role: { value: 'ROLE', required: true, doc: 'user, admin or superadmin.', parse: asRole },
  },
  positionals: [WHO],
  example: 'kunci users roles ani@example.com --role admin',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const user = await app.users.find(args.user)
      const ended = user.role === args.role ? 0 : await app.users.setRole(actor, user, args.role)
      const data = { id: user.id, email: user.email, role: args.role, ended_sessions: ended }
      return { data, text: `${user.email} is ${args.role}. Sessions ended: ${ended}.` }
    }),
})

const limit = command({
  path: ['users', 'limit'],
  summary: 'Says how many sessions a user may have at once, whatever holds for his role.',
  options: {
    sessions: {
      value: 'N',
      doc: 'At most so many. Left out: as his role says.',
      parse: asMaximum,
    },
    'at-limit': {
      value: 'WHAT',
      doc: 'What becomes of one more: kick, refuse or ask. Left out: as his role says.',
      parse: asAtLimit,
    },
  },
  positionals: [WHO],
  example: 'kunci users limit ani@example.com --sessions 1 --at-limit ask',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const user = await app.users.find(args.user)
      const own = { maxSessions: args.sessions ?? null, atLimit: args['at-limit'] ?? null }
      await app.users.setPolicy(actor, user, own)
      const data = { id: user.id, email: user.email, max_sessions: own.maxSessions, at_limit: own.atLimit }
      return { data, text: facts(data) }
    }),
})

export const userCommands = [create, list, disable, enable, resetPassword, roles, limit]
