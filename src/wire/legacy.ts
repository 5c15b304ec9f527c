import { Type } from 'typebox'

/** The contract of the old PHP server, to the letter. */

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
