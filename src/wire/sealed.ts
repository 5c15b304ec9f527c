import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'

/**
 * The contract of the sealed suites in one read: what stands in the clear, and what stands in a box. A member that is
 * not named here is refused in a request; in a reply clients skip it.
 */

const STRICT = { additionalProperties: false }
const b64u = (bytes: number) => Type.String({ pattern: `^[A-Za-z0-9_-]{${Math.ceil((bytes * 8) / 6)}}$` })
const SomeB64u = Type.String({ pattern: '^[A-Za-z0-9_-]*$', description: 'base64url without padding' })
const SessionId = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Seq = Type.Integer({ minimum: 1, maximum: 1000 })
const Op = Type.String({ pattern: '^[a-z]+(\\.[a-z_]+)*$', minLength: 3, maxLength: 32 })

export const MAX_SEQ = 1000
export const SALT_BYTES = 16
export const NONCE_BYTES = 16

export const SessionRequest = Type.Object(
  {
    v: Type.Literal(1),
    suite: Type.String({ minLength: 1, maxLength: 16, description: 'S1, S2 or S3' }),
    kid: Type.String({ pattern: '^[0-9a-f]{16}$', description: 'The pinned key, by its id.' }),
    pub: SomeB64u,
    ext: Type.Literal(''),
  },
  STRICT,
)

export const SessionReply = Type.Object({
  v: Type.Literal(1),
  suite: Type.String(),
  kid: Type.String(),
  session_id: SessionId,
  expires_in: Type.Integer({ description: 'Seconds.' }),
  pub: SomeB64u,
  box: SomeB64u,
})

export const CallRequest = Type.Object(
  { v: Type.Literal(1), session_id: SessionId, seq: Seq, op: Op, salt: b64u(SALT_BYTES), box: SomeB64u },
  STRICT,
)

export const CallReply = Type.Object({
  v: Type.Literal(1),
  session_id: SessionId,
  seq: Seq,
  salt: b64u(SALT_BYTES),
  box: SomeB64u,
})

/** What is refused before a session authenticates: one body for each status, whatever the cause. */
export const PLAIN_ERRORS = {
  request: 400,
  kex: 400,
  session: 401,
  size: 413,
  type: 415,
  rate: 429,
  busy: 503,
} as const
export type PlainError = keyof typeof PLAIN_ERRORS

export const PlainErrorReply = Type.Object({
  success: Type.Optional(Type.Literal(false, { description: 'Under /api alone.' })),
  v: Type.Literal(1),
  error: Type.String(),
})

/** The component types of a machine, see docs/PROTOCOL.md. */
export const COMPONENT_TYPES = ['tpm', 'board', 'bios', 'disk', 'mac', 'osid', 'cpu'] as const
export type ComponentType = (typeof COMPONENT_TYPES)[number]

const DIGESTS_MAX = 8
// That none stands twice is left to who reads them: typebox hashes each text by BigInts, which takes longer than to seal
// the reply.
const Digests = Type.Array(b64u(32), { minItems: 1, maxItems: DIGESTS_MAX })
const Components = Type.Object(
  Object.fromEntries(COMPONENT_TYPES.map((type) => [type, Type.Optional(Digests)])) as Record<
    ComponentType,
    ReturnType<typeof Type.Optional<typeof Digests>>
  >,
  STRICT,
)

export const Plaintext = Type.Object({ nonce: b64u(NONCE_BYTES), data: Type.Object({}) }, STRICT)

const Lang = Type.Union([Type.Literal('en'), Type.Literal('id')])

export const CheckData = Type.Object(
  {
    licence: Type.String({ minLength: 1, maxLength: 64 }),
    tool: Type.String({ pattern: '^[\\x21-\\x7e]{1,32}$', description: 'The code of a product.' }),
    ver: Type.String({ maxLength: 64 }),
    hwid: Type.Object({ v: Type.Literal(1), c: Components }, STRICT),
    lang: Type.Optional(Lang),
  },
  STRICT,
)

const LOG_TEXT_MAX_CHARACTERS = 2048
export const LogData = Type.Object(
  {
    level: Type.Union([
      Type.Literal('debug'),
      Type.Literal('info'),
      Type.Literal('warn'),
      Type.Literal('error'),
    ]),
    text: Type.String({ minLength: 1, maxLength: LOG_TEXT_MAX_CHARACTERS }),
  },
  STRICT,
)

export const PingData = Type.Object(
  {
    keep: Type.Optional(Type.Literal(true, { description: 'Whoever was asked for his seat keeps it.' })),
    lang: Type.Optional(Lang),
  },
  STRICT,
)

export const NoData = Type.Object({}, STRICT)

export type SessionRequest = Static<typeof SessionRequest>
export type CallRequest = Static<typeof CallRequest>
export type CallReply = Static<typeof CallReply>
export type CheckData = Static<typeof CheckData>
export type LogData = Static<typeof LogData>
export type PingData = Static<typeof PingData>

const compiled = {
  sessionRequest: Compile(SessionRequest),
  callRequest: Compile(CallRequest),
  plaintext: Compile(Plaintext),
  checkData: Compile(CheckData),
  logData: Compile(LogData),
  pingData: Compile(PingData),
  noData: Compile(NoData),
}

export const isSessionRequest = (value: unknown): value is SessionRequest =>
  compiled.sessionRequest.Check(value)
export const isCallRequest = (value: unknown): value is CallRequest => compiled.callRequest.Check(value)
export const isPlaintext = (value: unknown): value is { nonce: string; data: Record<string, unknown> } =>
  compiled.plaintext.Check(value)
export const isCheckData = (value: unknown): value is CheckData => compiled.checkData.Check(value)
export const isLogData = (value: unknown): value is LogData => compiled.logData.Check(value)
export const isPingData = (value: unknown): value is PingData => compiled.pingData.Check(value)
export const isNoData = (value: unknown): value is Record<string, never> => compiled.noData.Check(value)
