import { Type } from 'typebox'

/** The contract of live streams. */

export const StreamTicketReply = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({
    ticket: Type.String({ description: '256 random bits, base64url. Opens one stream.' }),
    expiresIn: Type.Integer({ description: 'Seconds within which it must be used first.' }),
    url: Type.String({ description: 'Where to open the stream: a path of this server.' }),
  }),
})

export const StreamQuery = Type.Object(
  {
    ticket: Type.Optional(
      Type.String({ description: 'Of POST /api/events/ticket, where no Authorization can be sent.' }),
    ),
  },
  { additionalProperties: false },
)

export const StreamHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({ description: 'The last position that is known: what came after it is told first.' }),
  ),
})

export const StreamReply = Type.String({
  description:
    'text/event-stream. A snapshot or what was missed, then events as they happen; see docs/streams.md.',
})

export const PollQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({
        ...{ minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
        description: 'The lastId of the reply before. Without it the reply is a snapshot, at once.',
      }),
    ),
    wait: Type.Optional(
      Type.Integer({
        ...{ minimum: 0, maximum: 25, default: 25 },
        description: 'Seconds to wait for something to happen.',
      }),
    ),
  },
  { additionalProperties: false },
)

export const PollReply = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({
    events: Type.Array(
      Type.Object({
        id: Type.Integer({ description: 'Its position.' }),
        event: Type.String({ description: 'Its type, or snapshot.' }),
        data: Type.Record(Type.String(), Type.Unknown()),
      }),
    ),
    lastId: Type.Integer({ description: 'The position to go on after.' }),
  }),
})
