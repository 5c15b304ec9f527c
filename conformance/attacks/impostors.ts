import { genuineServer } from '../genuine/server.ts'
import { SESSION } from '../http.ts'
import { newStatics } from '../parties.ts'
import { type Attack, EVERY_SUITE, insteadOfHello, jsonOf, repliedTo, serverWith } from './attack.ts'

/** Who lacks the vendor's static key, and a vendor who forgets the token. */
export const IMPOSTORS: readonly Attack[] = [
  {
    name: 'other_static_key',
    title: 'emulates the server with a static key of its own',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ suite, vendor, customer, play }) => {
      const own = newStatics()[suite]
      const claimed = { ...own, kid: vendor.statics[suite].kid }
      const emulator = genuineServer(vendor, customer, { ...vendor.statics, [suite]: claimed })
      await play('under the pinned key id', (request) => emulator.answer(request))
      await play('under the id of its own key', (request) => {
        const reply = emulator.answer(request)
        return request.path === SESSION ? { ...reply, body: { ...jsonOf(reply), kid: own.kid } } : reply
      })
    },
  },
  {
    name: 'recorded_hello',
    title: 'answers the handshake with a reply it has recorded',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ recorded, play }) => {
      await play('of the honest run', insteadOfHello(repliedTo(SESSION, recorded)))
    },
  },
  {
    name: 'hello_without_token',
    title: 'seals a hello box that holds no token',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [way, token] of [
        ['none at all', undefined],
        ['an empty one', ''],
        ['a number', 1],
      ] as const)
        await play(way, serverWith({ hello: (plaintext) => ({ ...plaintext, token }) }))
    },
  },
]
