import { randomBytes } from 'node:crypto'
import { toB64u } from '../../src/crypto/encoding.ts'
import { padded } from '../../src/crypto/records.ts'
import { type SealedSuite, SIZES } from '../../src/crypto/suites.ts'
import { CALL, type Reply, type Request, SESSION } from '../http.ts'
import {
  type Attack,
  at,
  changedCall,
  EVERY_SUITE,
  Flaw,
  insteadOfCall,
  insteadOfHello,
  type Json,
  requestsTo,
} from './attack.ts'
import { REFUSAL } from './replays.ts'

const part = (value: object) => toB64u(Buffer.from(JSON.stringify(value)))

/** The session token of the legacy contract, which carries the session key itself. */
function legacyToken(): string {
  const claims = { session_id: randomBytes(16).toString('hex'), key: randomBytes(32).toString('hex') }
  const input = `${part({ typ: 'JWT', alg: 'HS256' })}.${part({ ...claims, iv: randomBytes(16).toString('hex') })}`
  return `${input}.${toB64u(randomBytes(32))}`
}

/** Hand-out and success of the legacy contract in one: right at every address. */
function legacySuccess(): Reply {
  const handOut = { status: 'success', session_token: legacyToken(), expires_in: 300 }
  const granted = { message: 'Access granted', expiry_date: '9999-12-31 23:59:59', days_remaining: 999_999 }
  return { status: 200, body: { ...handOut, ...granted, user: 'Budi', maintenance: 'no', valid: true } }
}

/** Looks like a handshake in this suite, and proves nothing. */
function emptyHello(suite: string): Reply {
  const { server, tag } = suite === 'S2' || suite === 'S3' ? SIZES[suite] : SIZES.S1
  return {
    status: 200,
    body: {
      ...{ v: 1, suite, kid: randomBytes(8).toString('hex'), session_id: randomBytes(32).toString('hex') },
      ...{ expires_in: 300, pub: toB64u(randomBytes(server)), box: toB64u(randomBytes(600 + tag)) },
    },
  }
}

function refuseOtherSuites(hellos: readonly Request[], suite: SealedSuite, way: string): void {
  for (const { body } of hellos) {
    const asked: unknown = JSON.parse(body.toString()).suite
    if (asked !== suite) throw new Flaw(`asked for ${asked}`, `${way}: the client took to another suite`)
  }
}

const ALLOWED = { status: 200, code: 'ok', data: { valid: true, support_code: 'ABCDE-12345', message: '' } }
const LEGACY_ALLOWED = { status: 'success', success: true, valid: true, message: 'Access granted' }
const LEGACY_EXPIRED = { status: 'error', message: 'License expired.', code: 'EXPIRED' }

/** The genuine envelope, and in place of what is sealed the same in the clear. */
const inTheClear = (opened: object, box: string | undefined) =>
  changedCall((reply: Json) => ({ ...reply, ...opened, box }))
const unsealed = (opened: object) => toB64u(padded(JSON.stringify(opened)))

/** Who can seal nothing, and hopes that the client does not ask for it. */
export const DOWNGRADES: readonly Attack[] = [
  {
    name: 'legacy_downgrade',
    title: 'answers in the legacy contract, or names a weaker suite',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ suite, play }) => {
      await play('success of the legacy contract at every address', legacySuccess)
      const refused = 'the suite is refused, everything else succeeds'
      const seen = await play(refused, ({ path }) =>
        path === SESSION ? { status: 400, body: { v: 1, error: 'kex' } } : legacySuccess(),
      )
      refuseOtherSuites(requestsTo(SESSION, seen), suite, refused)
      for (const weaker of ['L0', ...EVERY_SUITE.filter((name) => name !== suite)]) {
        const way = `a handshake in ${weaker}`
        const exchanges = await play(way, ({ path }) =>
          path === SESSION ? emptyHello(weaker) : legacySuccess(),
        )
        refuseOtherSuites(requestsTo(SESSION, exchanges), suite, way)
      }
    },
  },
  {
    name: 'plain_success',
    title: 'says in the clear that the licence is valid',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [words, body] of [
        ['in legacy words', LEGACY_ALLOWED],
        ['in sealed words', { v: 1, ...ALLOWED }],
      ] as const) {
        await play(`${words}, in place of the handshake`, insteadOfHello({ status: 200, body }))
        await play(`${words}, in place of the reply`, insteadOfCall({ status: 200, body }))
      }
      await play('beside a reply without a box', inTheClear(ALLOWED, undefined))
      await play('beside an empty box', inTheClear(ALLOWED, ''))
      await play('in a box that is not sealed', inTheClear({}, unsealed(ALLOWED)))
    },
  },
  {
    name: 'plain_refusal',
    title: 'says in the clear that the licence is not valid',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [words, body] of [
        ['in legacy words', LEGACY_EXPIRED],
        ['in sealed words', { v: 1, ...REFUSAL }],
      ] as const)
        for (const status of [200, 401, 403]) {
          await play(`${words}, ${status} in place of the handshake`, insteadOfHello({ status, body }))
          await play(`${words}, ${status} in place of the reply`, insteadOfCall({ status, body }))
        }
      await play('beside a reply without a box', inTheClear(REFUSAL, undefined))
      await play('in a box that is not sealed', inTheClear({}, unsealed(REFUSAL)))
    },
  },
  {
    name: 'stripped_token',
    title: 'takes the Authorization header away',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      const strip = ({ authorization: _, ...headers }: Request['headers']) => headers
      await play(
        'from each call',
        at(CALL, (request, server) => server.answer({ ...request, headers: strip(request.headers) })),
      )
    },
  },
]
