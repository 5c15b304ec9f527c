import { Type } from 'typebox'

/** The requests and replies of those who sign in. Names and texts are those of older trackers where these had one. */

const Text = (description: string) => Type.String({ description })
const Nullable = (description: string) => Type.Union([Type.String(), Type.Null()], { description })
/** What somebody typed: bounded, so that nothing is worked on for nothing. */
const Typed = (maxLength: number, description: string) =>
  Type.String({ minLength: 1, maxLength, description })

const Password = (description: string) => Typed(1024, description)
const SESSION_ID = '^[0-9a-f]{32}$'

export const LoginRequest = Type.Object({
  email: Typed(320, 'In upper or lower case.'),
  password: Password('At most 1,024 bytes.'),
  code: Type.Optional(Typed(32, 'Where one-time codes are on: six digits, or a recovery code.')),
})

export const TakeOverRequest = Type.Object({
  token: Typed(64, 'The token of the 409.'),
  sessionId: Type.Optional(
    Type.String({ pattern: SESSION_ID, description: 'The session whose place is wanted.' }),
  ),
})

export const PasswordRequest = Type.Object({
  password: Password('The present one.'),
  newPassword: Password('At least PASSWORD_MIN_LENGTH characters.'),
})

export const TotpRequest = Type.Object({
  password: Password('The present one.'),
  secret: Type.String({ pattern: '^[A-Z2-7]{32}$', description: 'As it was offered.' }),
  code: Typed(32, 'Six digits that the authenticator shows.'),
})

export const PasswordOnly = Type.Object({ password: Password('The present one.') })

export const SetupRequest = Type.Object({
  code: Typed(64, 'As the server printed it when it started.'),
  email: Typed(320, ''),
  fullName: Typed(255, ''),
  password: Password('At least PASSWORD_MIN_LENGTH characters.'),
})

export const AnswerRequest = Type.Object({
  answer: Type.Union([Type.Literal('keep'), Type.Literal('yield')]),
})

export const UserItem = Type.Object({
  id: Type.Integer(),
  email: Type.String(),
  fullName: Type.String(),
  isActive: Type.Boolean(),
  roles: Type.Array(Type.String()),
})

export const LoginReply = Type.Object({
  message: Type.Literal('Login berhasil'),
  token: Type.Object({
    type: Type.Literal('bearer'),
    token: Text('JWT (EdDSA, typ kunci-session+jwt). Worth nothing once its session has ended.'),
    expires_at: Text('ISO 8601, UTC.'),
  }),
  user: UserItem,
  sessionId: Text('Names the session; may be sent as x-session-id. Opens nothing.'),
})

export const SessionItem = Type.Object({
  id: Type.Integer(),
  userId: Type.Integer(),
  sessionId: Type.String(),
  ipAddress: Text('The latest.'),
  userAgent: Text('The latest.'),
  deviceType: Text('desktop, mobile or tablet.'),
  isActive: Type.Boolean(),
  lastActivity: Text('ISO 8601, UTC; up to 62 seconds behind.'),
  loginAt: Type.String(),
  logoutAt: Nullable('When it ended.'),
  deviceName: Type.String(),
  country: Nullable('ISO 3166-1, two letters, by the address of the sign-in.'),
  firstIpAddress: Text('Of the sign-in.'),
  firstUserAgent: Text('Of the sign-in.'),
  expiresAt: Text('It ends then, however much it is used.'),
  endReason: Nullable('See docs/users.md.'),
  endedBy: Nullable('Who ended it, as the record names him.'),
  user: Type.Object({ id: Type.Integer(), email: Type.String(), fullName: Type.String() }),
})

export const SessionsReply = Type.Object({ success: Type.Literal(true), data: Type.Array(SessionItem) })
export const SessionReply = Type.Object({ success: Type.Literal(true), data: SessionItem })
export const EndedReply = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({ ended: Type.Integer({ description: 'How many sessions ended.' }) }),
})
export const MessageReply = Type.Object({ message: Type.String() })
export const MeReply = Type.Object({ user: UserItem, sessionId: Type.String(), session: SessionItem })
export const TotpOffer = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({ secret: Text('Base32.'), uri: Text('otpauth:, for a QR code.') }),
})
export const RecoveryCodes = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({ recoveryCodes: Type.Array(Type.String()) }),
})

const refusal = {
  status: Type.Literal('error'),
  code: Type.String(),
  message: Type.String(),
  request_id: Type.String(),
}

/** 409 to a right password: who is in, and the way past them. */
export const FullHouseReply = Type.Union([
  Type.Object({
    ...refusal,
    sessions: Type.Array(
      Type.Object({
        sessionId: Type.String(),
        deviceName: Type.String(),
        deviceType: Type.String(),
        country: Nullable('ISO 3166-1.'),
        loginAt: Type.String(),
        lastActivity: Type.String(),
      }),
    ),
    takeOver: Type.Object({
      token: Text('Good once.'),
      expiresIn: Type.Integer({ description: 'Seconds.' }),
    }),
  }),
  Type.Object({
    ...refusal,
    retryAfter: Type.Integer({ description: 'Seconds.' }),
    takeOver: Type.Object({ token: Type.String(), expiresIn: Type.Integer() }),
  }),
  Type.Object(refusal),
])

export const SessionParams = Type.Object({ sessionId: Type.String({ maxLength: 64 }) })
export const UserParams = Type.Object({
  userId: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
})
export const ListQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
})
export const ScopeQuery = Type.Object({
  scope: Type.Union([Type.Literal('others'), Type.Literal('all')]),
})
