import { CALL, type Exchange, openFront, type Reply, SESSION, type Spectacle } from '../http.ts'
import { type Adversary, type Attack, at, EVERY_SUITE, Flaw, requestsTo } from './attack.ts'

/** Does something else to the first call, and lets every later one pass. */
function firstCall(reply: Reply | Spectacle): Adversary {
  let isFirst = true
  return at(CALL, (request, server) => {
    if (!isFirst) return server.answer(request)
    isFirst = false
    return reply
  })
}

function demandSameBytes(exchanges: readonly Exchange[]): void {
  const [first, second] = requestsTo(CALL, exchanges)
  if (first === undefined || second === undefined)
    throw new Flaw('no second try', 'the client did not send its request again')
  if (!first.body.equals(second.body) || first.headers.authorization !== second.headers.authorization)
    throw new Flaw('other bytes', 'the client did not send the same bytes again')
}

/** What networks do without any attacker, and one who has a say in them. */
export const NETWORKS: readonly Attack[] = [
  {
    name: 'redirect',
    title: 'redirects to another host, which would answer',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ server, play }) => {
      await using other = await openFront((request) => server.answer(request))
      for (const path of [SESSION, CALL])
        for (const status of [301, 302, 307, 308]) {
          const way = `${status} at ${path}`
          await play(
            way,
            at(path, () => ({ status, headers: { location: `${other.url}${path}` }, body: {} })),
          )
          if (other.exchanges.length > 0)
            throw new Flaw('went there', `${way}: the client asked the other host`)
        }
    },
  },
  {
    name: 'dropped_connection',
    title: 'drops the connection once it has read a call',
    suites: EVERY_SUITE,
    expect: 'allowed',
    play: async ({ play }) => {
      demandSameBytes(
        await play(
          'once',
          firstCall((response) => response.destroy()),
        ),
      )
    },
  },
  {
    name: 'busy_server',
    title: 'answers a call with 503',
    suites: EVERY_SUITE,
    expect: 'allowed',
    play: async ({ play }) => {
      const busy = { status: 503, headers: { 'retry-after': '1' }, body: { v: 1, error: 'busy' } }
      demandSameBytes(await play('once', firstCall(busy)))
    },
  },
]
