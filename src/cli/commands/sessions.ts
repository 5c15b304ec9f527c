import { AT_LIMIT, ROLES } from '../../domain/session-policies.ts'
import type { SignedIn } from '../../domain/sessions.ts'
import { AppError } from '../../errors.ts'
import { command, UsageError } from '../command.ts'
import { isoTime, table } from '../output.ts'
import { asLimit, asMaximum, asOneOf } from '../values.ts'

const asRole = asOneOf(ROLES)
const asAtLimit = asOneOf(AT_LIMIT)

function sessionView(session: SignedIn) {
  return {
    session_id: session.sessionId,
    email: session.user.email,
    device: session.deviceName,
    type: session.deviceType,
    address: session.ipAddress,
    country: session.country,
    active: session.isActive,
    login_at: isoTime(session.loginAtMs),
    last_activity: isoTime(session.lastActivityMs),
    logout_at: isoTime(session.logoutAtMs),
    end_reason: session.endReason,
    ended_by: session.endedBy,
  }
}

const list = command({
  path: ['sessions', 'list'],
  summary: 'Lists who is signed in now, or all sessions of one user.',
  options: {
    user: { value: 'USER', doc: 'Email or id: all of his, over or not.' },
    limit: { value: 'N', fallback: '100', doc: 'At most so many.', parse: asLimit },
  },
  positionals: [],
  example: 'kunci sessions list',
  run: ({ args, withApp }) =>
    withApp(async (app) => {
      const user = args.user === undefined ? null : await app.users.find(args.user)
      const found =
        user === null ? await app.sessions.listLive(args.limit) : await app.sessions.listOf(user.id)
      const data = found.slice(0, args.limit).map(sessionView)
      const ended = user === null ? [] : (['active', 'logout_at', 'end_reason'] as const)
      const text = table(data, [
        'session_id',
        'email',
        'device',
        'address',
        'country',
        'last_activity',
        ...ended,
      ])
      return { data, text: data.length === 0 ? 'Nobody is signed in.' : text }
    }),
})

const end = command({
  path: ['sessions', 'end'],
  summary: 'Ends a session, or all of one user; servers follow within a second.',
  options: {
    session: { value: 'ID', doc: 'The session, as the list names it.' },
    user: { value: 'USER', doc: 'Email or id: all of his.' },
  },
  positionals: [],
  example: 'kunci sessions end --user ani@example.com',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      if ((args.session === undefined) === (args.user === undefined))
        throw new UsageError('Either --session or --user says what ends, and not both.')
      const endOne = async (sessionId: string) => {
        const session = await app.sessions.find(sessionId)
        if (session?.isActive) return app.sessions.end([session], 'forced', actor)
        throw new AppError('session_not_found', { detail: `no session with the id "${sessionId}" lives` })
      }
      const ended =
        args.user === undefined
          ? await endOne(args.session ?? '')
          : await app.sessions.endAllOf((await app.users.find(args.user)).id, null, 'forced', actor)
      return { data: { ended }, text: `Sessions ended: ${ended.length}.` }
    }),
})

const limit = command({
  path: ['sessions', 'limit'],
  summary: 'Shows how many sessions a user of each role may have at once, or changes it for one role.',
  options: {
    role: {
      value: 'ROLE',
      doc: 'Whose: user, admin or superadmin. Left out: nothing changes.',
      parse: asRole,
    },
    sessions: {
      value: 'N',
      doc: 'At most so many, or unlimited.',
      fallback: 'unlimited',
      parse: asMaximum,
    },
    'at-limit': {
      value: 'WHAT',
      fallback: 'kick',
      doc: 'What becomes of one more: kick ends the one used least lately, refuse lists them and offers to take over, ask lets its holder answer.',
      parse: asAtLimit,
    },
  },
  positionals: [],
  example: 'kunci sessions limit --role user --sessions 1 --at-limit refuse',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const { role, sessions: maxSessions, 'at-limit': atLimit } = args
      if (role !== undefined) await app.sessionPolicies.set(actor, role, { maxSessions, atLimit })
      const data = (await app.sessionPolicies.list()).map((policy) => ({
        role: policy.role,
        max_sessions: policy.maxSessions,
        at_limit: policy.atLimit,
      }))
      return { data, text: table(data, ['role', 'max_sessions', 'at_limit']) }
    }),
})

export const sessionCommands = [list, end, limit]
