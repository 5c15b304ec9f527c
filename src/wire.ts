import { Type } from 'typebox'

/** The contract in one read: every request and reply. The legacy shapes are those of the old PHP server, to the letter. */

const Text = (description: string) => Type.String({ description })

export const LEGACY_ERROR = {
  authenticationRequired: { status: 'error', message: 'Authentication required.' },
  invalidSession: { status: 'error', message: 'Invalid or expired session.' },
  invalidRequest: { status: 'error', message: 'Invalid request format.' },
  sessionExpired: { status: 'error', message: 'Session expired.' },
  verificationFailed: { status: 'error', message: 'Security verification failed.' },
  licenceExpired: { status: 'error', message: 'License expired.', code: 'EXPIRED' },
  notFound: { status: 'error', message: 'Access denied (HWID Not Found).', code: 'NOT_FOUND' },
  tooManyChecks: { status: 'error', message: 'Too many requests.', retry_after: 60 },
  tooManyHandOuts: { error: 'Too many requests', retry_after: 60 },
} as const

export const HandOutReply = Type.Object({
  status: Type.Literal('success'),
  session_token: Text('JWT (HS256) with session_id, key (64 hex), iv (32 hex), ip, purpose, iat, exp, jti.'),
  expires_in: Type.Integer({ description: 'Seconds.' }),
  message: Text('For the log of the program.'),
})

export const LegacyErrorReply = Type.Object({
  status: Type.Literal('error'),
  message: Type.String(),
  code: Type.Optional(Type.String()),
  retry_after: Type.Optional(Type.Integer({ description: 'Seconds.' })),
})

export const HandOutRefusal = Type.Object({
  error: Type.String(),
  retry_after: Type.Optional(Type.Integer({ description: 'Seconds.' })),
})

export const GrantedReply = Type.Object({
  status: Type.Literal('success'),
  message: Type.Literal('Access granted'),
  expiry_date: Text('YYYY-MM-DD HH:MM:SS in LEGACY_TIME_ZONE; 9999-12-31 23:59:59 for a perpetual licence.'),
  days_remaining: Type.Integer({ description: 'Whole days, rounded down.' }),
  user: Text('The customer.'),
  sk: Type.String(),
  sck: Type.String(),
  maintenance: Type.String(),
  status1_text: Type.String(),
})

/** Every refusal outside the legacy contract. */
export const ErrorReply = Type.Object({
  status: Type.Literal('error'),
  code: Text('Stable, lower_snake_case; see docs/errors.md.'),
  message: Type.String(),
  request_id: Text('Names this request in the log.'),
})

export const JwkSetReply = Type.Object({
  keys: Type.Array(
    Type.Object({
      ...{ kty: Type.Literal('OKP'), crv: Type.Literal('Ed25519'), x: Text('The public key, base64url.') },
      ...{ kid: Text('RFC 7638 thumbprint.'), alg: Type.Literal('EdDSA'), use: Type.Literal('sig') },
    }),
  ),
})

export const KeySetReply = Text('Compact JWS: iss, seq, iat, kex, lease, jwt.')

export const HealthReply = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('unavailable')]),
})

const Nullable = Type.Union([Type.String(), Type.Null()])

export const EventItem = Type.Object({
  id: Type.String(),
  at: Text('ISO 8601, UTC.'),
  type: Type.String(),
  actor: Type.String(),
  address: Nullable,
  product_id: Nullable,
  licence_id: Nullable,
  device_id: Nullable,
  support_code: Nullable,
  count: Type.Integer(),
  detail: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()])),
})

export const EventsQuery = Type.Object(
  {
    type: Type.Optional(Type.String({ pattern: '^[a-z_]{1,48}$' })),
    support_code: Type.Optional(Type.String({ pattern: '^[0-9A-Z]{5}-[0-9A-Z]{5}$' })),
    licence_id: Type.Optional(Type.String({ pattern: '^lic_[0-9A-Z]{16}$' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 100 })),
  },
  { additionalProperties: false },
)

export const EventsReply = Type.Object({ events: Type.Array(EventItem) })

export const CountersReply = Type.Object({ counters: Type.Record(Type.String(), Type.Integer()) })
