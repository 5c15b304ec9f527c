import { randomBytes } from 'node:crypto'
import { toB64u } from '../../src/crypto/encoding.ts'
import { staticKey } from '../../src/crypto/kex.ts'
import type { Twist } from '../genuine/server.ts'
import { CALL, type Exchange, SESSION } from '../http.ts'
import { type Attack, EVERY_SUITE, Flaw, requestsTo, serverWith } from './attack.ts'
import { REFUSAL, serverThatSays } from './replays.ts'

const YEAR_S = 365 * 86_400

/** What a program prints between handshake and check. */
const PROGRESS = ['Session key obtained', 'JWT token parsed', 'Using dynamic encryption keys from session']

/** A value that must differ from run to run. */
function sent(path: string, member: string, exchanges: readonly Exchange[]): unknown {
  return requestsTo(path, exchanges).map(({ body }) => JSON.parse(body.toString())[member])[0]
}

function demandFresh(before: readonly Exchange[], after: readonly Exchange[]): void {
  for (const [path, member] of [
    [SESSION, 'pub'],
    [CALL, 'salt'],
  ] as const)
    if (sent(path, member, before) === sent(path, member, after))
      throw new Flaw(`same ${member}`, `two runs sent the same ${member}: it must be fresh in each`)
}

/** Situations without an attacker, in which a client must not be too strict either. */
export const HONEST: readonly Attack[] = [
  {
    name: 'honest_server',
    title: 'nothing: the server is genuine, and strict',
    suites: EVERY_SUITE,
    expect: 'allowed',
    play: async ({ suite, vendor, recorded, said, play }) => {
      demandFresh(recorded, await play('once more', serverWith()))
      const retired = staticKey(suite, randomBytes(32))
      const first = { kid: retired.kid, pub: toB64u(retired.publicKey) }
      const pins = { ...vendor.pins, [suite]: [first, ...vendor.pins[suite]] }
      await play('the first pinned key is no longer in use', serverWith(), { pins })
      const missing = PROGRESS.filter((line) => said !== undefined && !said.includes(line))
      if (missing.length > 0) throw new Flaw('said too little', `it did not print: ${missing.join(', ')}`)
    },
  },
  {
    name: 'unknown_member',
    title: 'nothing: a later server adds members to its replies',
    suites: EVERY_SUITE,
    expect: 'allowed',
    play: async ({ play }) => {
      const later = { later: { list: [1, null, 'ä'] } }
      await play('in the clear', (request, server) => {
        const reply = server.answer(request)
        return { ...reply, body: { ...later, ...(reply.body as object) } }
      })
      await play('in the hello box', serverWith({ hello: (plaintext) => ({ ...later, ...plaintext }) }))
      const reply: Twist['reply'] = ({ data, ...rest }) => ({
        ...{ ...later, ...rest },
        data: { ...later, ...(data as object) },
      })
      await play('in the box', serverWith({ reply }))
    },
  },
  {
    name: 'moved_clock',
    title: "moves the client's clock by a year",
    suites: EVERY_SUITE,
    expect: 'allowed',
    play: async ({ play }) => {
      await play('ahead', serverWith(), { clockOffsetS: YEAR_S })
      await play('back', serverWith(), { clockOffsetS: -YEAR_S })
    },
  },
  {
    name: 'sealed_denial',
    title: 'nothing: the server refuses, and the client holds a lease',
    suites: EVERY_SUITE,
    expect: 'denied',
    play: async ({ play }) => {
      for (const code of ['licence_invalid', 'licence_expired', 'device_limit', 'device_weak', 'seat_limit'])
        await play(code, serverThatSays({ ...REFUSAL, code }), { remembers: true })
    },
  },
  {
    name: 'sealed_trouble',
    title: 'nothing: the server says, sealed, that it cannot judge',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [status, code] of [
        [500, 'internal'],
        [503, 'maintenance'],
        [403, 'of_a_later_version'],
      ] as const)
        await play(code, serverThatSays({ status, code, data: {} }))
      await play('valid is false', serverThatSays({ status: 200, code: 'ok', data: { valid: false } }))
    },
  },
]
