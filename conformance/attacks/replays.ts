import { randomBytes } from 'node:crypto'
import { toB64u } from '../../src/crypto/encoding.ts'
import { padded, sealRequest, tokenHashOf } from '../../src/crypto/records.ts'
import { digestsOf, type GenuineServer, type Session, type Verdict } from '../genuine/server.ts'
import { CALL, type Reply, type Request, SESSION } from '../http.ts'
import type { Customer } from '../parties.ts'
import {
  type Adversary,
  type Attack,
  at,
  changedCall,
  EVERY_SUITE,
  insteadOfCall,
  jsonOf,
  repliedTo,
  requestsTo,
  type Stage,
  serverWith,
} from './attack.ts'

/** A check that another program of the same customer makes in this session. */
function requestIn({ keys, token }: Session, { licence, tool, ...machine }: Customer, seq: number): Request {
  const c = Object.fromEntries(
    Object.entries(digestsOf({ licence, tool, ...machine })).map(([type, digest]) => [
      type,
      [toB64u(digest)],
    ]),
  )
  const data = { licence, tool, ver: '1.0.0', hwid: { c, v: 1 } }
  const context = { seq, op: 'licence.check', salt: randomBytes(16), tokenHash: tokenHashOf(token) }
  const text = JSON.stringify({ nonce: toB64u(randomBytes(16)), data })
  const { box } = sealRequest(keys, context, padded(text))
  const body = {
    ...{ v: 1, session_id: keys.sessionId, seq, op: context.op },
    ...{ salt: toB64u(context.salt), box: toB64u(box) },
  }
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
  return { method: 'POST', path: CALL, headers, body: Buffer.from(JSON.stringify(body)) }
}

function sessionOf(reply: Reply, server: GenuineServer): Session {
  return server.sessions.get(`${jsonOf(reply).session_id}`) as Session
}

/** The old reply as it is, and with the address of the request that it now seems to answer. */
async function bothAddresses({ play }: Stage, oldReply: Reply): Promise<void> {
  const { salt, box } = jsonOf(oldReply)
  await play('as it is', insteadOfCall(oldReply))
  await play(
    'readdressed',
    changedCall(() => ({ salt, box })),
  )
}

const swapped = (customer: Customer, readdressed: boolean): Adversary =>
  at(CALL, (request, server) => {
    const reply = server.answer(request)
    if (reply.status !== 200) return reply
    const { seq, ...rest } = jsonOf(reply)
    const other = server.answer(requestIn(sessionOf(reply, server), customer, Number(seq) + 1))
    return { ...other, body: { ...rest, ...jsonOf(other), ...(readdressed ? { seq } : {}) } }
  })

export const REFUSAL: Verdict = {
  status: 403,
  code: 'licence_invalid',
  data: { valid: false, support_code: 'ABCDE-12345', message: 'As the vendor says it.' },
}

/** The genuine server, come to another verdict. */
export function serverThatSays(verdict: Verdict): Adversary {
  return serverWith({ reply: (plaintext) => ({ ...plaintext, ...verdict }) })
}

/** Who has listened, or has a licence too, and answers with what the genuine server has sealed for something else. */
export const REPLAYS: readonly Attack[] = [
  {
    name: 'recorded_reply',
    title: 'answers a call with the reply to an earlier one',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: (stage) => bothAddresses(stage, repliedTo(CALL, stage.recorded)),
  },
  {
    name: 'swapped_replies',
    title: 'swaps the replies to two calls of one session',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ customer, play }) => {
      await play('as they are', swapped(customer, false))
      await play('readdressed', swapped(customer, true))
    },
  },
  {
    name: 'other_session_reply',
    title: 'opens a session of its own and passes on what is allowed there',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async (stage) => {
      const { server, customer, recorded } = stage
      const [hello] = requestsTo(SESSION, recorded)
      const session = sessionOf(server.answer(hello as Request), server)
      await bothAddresses(stage, server.answer(requestIn(session, customer, 1)))
    },
  },
  {
    name: 'replayed_denial',
    title: 'answers a call with a refusal from an earlier session',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async (stage) => {
      const way = 'the refusal, while it is true'
      const exchanges = await stage.play(way, serverThatSays(REFUSAL), { expect: 'denied' })
      await bothAddresses(stage, repliedTo(CALL, exchanges))
    },
  },
  {
    name: 'misaddressed_reply',
    title: 'changes whom the genuine reply is addressed to',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      await play(
        'another seq',
        changedCall(({ seq }) => ({ seq: Number(seq) + 1 })),
      )
      await play(
        'no seq',
        changedCall(() => ({ seq: undefined })),
      )
      await play(
        'another session_id',
        changedCall(() => ({ session_id: randomBytes(32).toString('hex') })),
      )
      await play(
        'no session_id',
        changedCall(() => ({ session_id: undefined })),
      )
    },
  },
]
