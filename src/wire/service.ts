import { Type } from 'typebox'

/** What every part of the HTTP interface shares, and what operators and machines ask of it. */

const Text = (description: string) => Type.String({ description })

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
