import t, { type Test } from 'tap'
import { type App, createApp, openDatabase } from '../../src/app.ts'
import { createServer } from '../../src/http/server.ts'
import { createLogger } from '../../src/log.ts'
import { insertStreamed, streamStore } from '../../src/store/stream.ts'
import { DATABASES } from '../support/databases.ts'
import { sql, until } from '../support/installation.ts'
import { ACTOR } from '../support/legacy.ts'
import {
  type Listening,
  openListening,
  readStream,
  type SignedInUser,
  type StreamClient,
  signInAs,
} from '../support/streams.ts'

const SECOND_MS = 1000
const HOUR_MS = 3600 * SECOND_MS
const DAY_MS = 24 * HOUR_MS

const streamOf = (
  t: Pick<Test, 'teardown'>,
  { url }: Listening,
  { headers }: SignedInUser,
  lastEventId?: string,
) =>
  readStream(t, `${url}/api/events`, {
    ...headers,
    ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
  })

async function ticketOf({ server }: Listening, { headers }: SignedInUser): Promise<string> {
  const reply = await server.inject({ method: 'POST', url: '/api/events/ticket', headers })
  return reply.json().data.url
}

async function poll({ url }: Listening, { headers }: SignedInUser, query: string) {
  const reply = await fetch(`${url}/api/events/poll?${query}`, { headers })
  return { status: reply.status, body: (await reply.json()) as PollBody }
}

type PollBody = {
  success: boolean
  code?: string
  data: { events: { id: number; event: string; data: Record<string, unknown> }[]; lastId: number }
}

function logOut({ server }: Listening, { headers }: SignedInUser) {
  return server.inject({ method: 'POST', url: '/api/auth/logout', headers })
}

function forceOut({ server }: Listening, { headers }: SignedInUser, sessionId: string) {
  return server.inject({ method: 'POST', url: `/api/user-sessions/force-logout/${sessionId}`, headers })
}

/** Waits until a stream is where things happen now. */
const hasBegun = (stream: StreamClient) => until('it has begun', () => stream.told.length > 0)

for (const database of DATABASES)
  t.test(`on ${database.name}`, async (t) => {
    t.test('a ticket opens one stream, in time, and the token is not in its URL', async (t) => {
      const bench = await openListening(t, database)
      const ani = await signInAs(bench, 'ani@example.com')
      const reply = await bench.server.inject({
        ...{ method: 'POST', url: '/api/events/ticket', headers: ani.headers },
      })
      const { ticket, expiresIn, url } = reply.json().data
      t.match(ticket, /^[\w-]{43}$/)
      t.same([reply.json().success, expiresIn, url], [true, 30, `/api/events?ticket=${ticket}`])
      const stream = await readStream(t, bench.url + url)
      t.equal(stream.status, 200)
      t.match(stream.headers, {
        ...{ 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' },
        ...{ 'x-accel-buffering': 'no', 'x-request-id': /./, 'x-content-type-options': 'nosniff' },
      })
      await hasBegun(stream)
      t.match(stream.text(), /^retry: 1000\n\nid: \d+\nevent: snapshot\ndata: \{.*\}\n\n$/)
      const late = await ticketOf(bench, ani)
      bench.clock.advance(31 * SECOND_MS)
      for (const [what, path, headers] of [
        ['again', url, {}],
        ['late', late, {}],
        ['late, and never used', late, { 'last-event-id': '1' }],
        ['unknown', `/api/events?ticket=${'A'.repeat(43)}`, { 'last-event-id': '1' }],
        ['none at all', '/api/events?ticket=', {}],
        ['two of them', `${url}&ticket=x`, {}],
      ] as const) {
        const refused = await readStream(t, bench.url + path, headers)
        await until('its body is here', () => refused.ended() !== undefined)
        t.equal(refused.status, 401, what)
        t.match(JSON.parse(refused.text()), { status: 'error', code: 'stream_ticket_invalid' }, what)
      }
      const stored = await sql(
        { config: bench.config, env: {} },
        'SELECT ticket_hash FROM kunci_stream_tickets',
      )
      t.notMatch(JSON.stringify(stored), ticket, 'kept as a hash alone')
      t.equal((await readStream(t, `${bench.url}/api/events`)).status, 401)
    })

    t.test('a snapshot comes first; users are told what is about them, and operators all', async (t) => {
      const bench = await openListening(t, database)
      const [ani, budi] = [
        await signInAs(bench, 'ani@example.com'),
        await signInAs(bench, 'budi@example.com'),
      ]
      const admin = await signInAs(bench, 'admin@example.com', 'admin')
      const [anis, budis, all] = await Promise.all([ani, budi, admin].map((who) => streamOf(t, bench, who)))
      for (const stream of [anis!, budis!, all!]) await hasBegun(stream)
      const { data, event } = anis!.told[0]!
      t.equal(event, 'snapshot')
      t.match(data, { type: 'snapshot', userId: ani.userId, sessionId: ani.sessionId, online: undefined })
      const own = await bench.server.inject({ url: '/api/sessions', headers: ani.headers })
      t.same(data.sessions, own.json().data, 'his live sessions, in the shape of /api/sessions')
      const overview = all!.told[0]!.data
      t.equal(overview.online, 3)
      const ids = (overview.sessions as { sessionId: string }[]).map(({ sessionId }) => sessionId)
      t.same(ids.sort(), [ani, budi, admin].map(({ sessionId }) => sessionId).sort())

      const again = await signInAs(bench, 'ani@example.com')
      const told = await anis!.next()
      t.match(told, { event: 'session_created', data: { type: 'session_created', reconnect: undefined } })
      t.match(told.data, { userId: ani.userId, sessionId: again.sessionId, at: '2031-01-01T00:00:00.000Z' })
      t.notOk(
        Object.keys(told.data).some((name) => name.includes('_')),
        'names are in camelCase',
      )
      t.same(await all!.next(), told)
      await logOut(bench, again)
      t.match(await all!.next(), { event: 'session_ended', data: { sessionId: again.sessionId } })
      const end = await anis!.next()
      t.equal(end.data.reconnect, undefined, 'it was not the session of this stream')
      t.ok(Number(end.id) > Number(told.id))
      t.same(
        budis!.told.map(({ event }) => event),
        ['snapshot'],
        'what is about somebody else is not told',
      )
    })

    t.test('who comes back is told what he missed, each once and in order; or how things are', async (t) => {
      const bench = await openListening(t, database)
      const ani = await signInAs(bench, 'ani@example.com')
      const first = await streamOf(t, bench, ani)
      await hasBegun(first)
      const { lastEventId } = first
      first.close()
      await until('it is closed', () => bench.app.streams.size() === 0)
      const others = []
      for (let i = 0; i < 3; i++) {
        others.push((await signInAs(bench, 'ani@example.com')).sessionId)
        await signInAs(bench, 'budi@example.com')
      }
      const back = await streamOf(t, bench, ani, lastEventId())
      for (const sessionId of others)
        t.match(await back.next(), { event: 'session_created', data: { sessionId } })
      t.equal(back.told.length, 3, 'and no snapshot')

      for (const [what, position] of [
        ['one that is still to come', '999999'],
        ['no position', 'yesterday'],
        ['negative', '-1'],
        ['nothing', ''],
      ] as const) {
        const stream = await streamOf(t, bench, ani, position)
        await hasBegun(stream)
        t.equal(stream.told[0]?.event, 'snapshot', what)
        stream.close()
      }
    })

    t.test('what is older than a day is forgotten, and who missed it is told how things are', async (t) => {
      const bench = await openListening(t, database)
      const stream = await streamOf(t, bench, await signInAs(bench, 'admin@example.com', 'admin'))
      await hasBegun(stream)
      const missed = Number(stream.lastEventId())
      stream.close()
      await until('nobody listens', () => bench.app.streams.size() === 0)
      await signInAs(bench, 'ani@example.com')
      bench.clock.advance(23 * HOUR_MS)
      await signInAs(bench, 'budi@example.com')
      bench.clock.advance(2 * HOUR_MS)
      const now = await signInAs(bench, 'other@example.com', 'admin')
      const db = await openDatabase(bench.config)
      t.teardown(() => db.close())
      t.equal((await streamStore(db).state()).hasUnplaced, true, 'nobody listened, so nothing was done')
      await bench.app.streamRetention.removeOld()
      t.same(await streamStore(db).state(), { head: missed + 3, hasUnplaced: false })
      t.equal(await streamStore(db).oldest(), missed + 2)
      for (const [after, events] of [
        [missed, ['snapshot']],
        [missed + 1, ['session_created', 'session_created']],
        [missed + 3, []],
      ] as const)
        t.same(
          (await poll(bench, now, `after=${after}&wait=0`)).body.data.events.map(({ event }) => event),
          events,
        )
    })

    t.test(
      'the end of its session is the last thing a stream tells, and then it is over for good',
      async (t) => {
        const bench = await openListening(t, database)
        const [ani, admin] = [
          await signInAs(bench, 'ani@example.com'),
          await signInAs(bench, 'a@b.example', 'admin'),
        ]
        const path = await ticketOf(bench, ani)
        const [byTicket, byToken, admins] = await Promise.all([
          readStream(t, bench.url + path),
          streamOf(t, bench, ani),
          streamOf(t, bench, admin),
        ])
        for (const stream of [byTicket, byToken, admins]) await hasBegun(stream)
        const startMs = performance.now()
        t.equal((await forceOut(bench, admin, ani.sessionId)).statusCode, 200)
        for (const stream of [byTicket, byToken]) {
          t.match(await stream.next('session_ended'), {
            data: { sessionId: ani.sessionId, reason: 'forced', reconnect: 'never' },
          })
          await until('it has ended', () => stream.ended() !== undefined)
          t.equal(stream.ended(), true)
        }
        t.ok(performance.now() - startMs < SECOND_MS)
        t.equal((await admins.next('session_ended')).data.reconnect, undefined)
        t.equal(admins.ended(), undefined, 'the stream of whoever did it goes on')

        const back = await readStream(t, bench.url + path, { 'last-event-id': byTicket.lastEventId() })
        t.equal(back.status, 204, 'which tells a browser to stop')
        t.equal((await streamOf(t, bench, ani, byToken.lastEventId())).status, 401)
      },
    )

    t.test('who comes back with his ticket displaces the stream that he had before', async (t) => {
      const bench = await openListening(t, database)
      const ani = await signInAs(bench, 'ani@example.com')
      const path = await ticketOf(bench, ani)
      const before = await readStream(t, bench.url + path)
      await hasBegun(before)
      bench.clock.advance(HOUR_MS)
      const back = await readStream(t, bench.url + path, { 'last-event-id': before.lastEventId() })
      await until('the one before has ended', () => before.ended() === true)
      t.equal(before.told.length, 1, 'without a word: it may come back')
      await signInAs(bench, 'ani@example.com')
      await back.next('session_created')

      const other = await otherNode(t, bench)
      const elsewhere = await readStream(t, other.url + path, { 'last-event-id': back.lastEventId() })
      t.equal(elsewhere.status, 200)
      t.equal(back.ended(), undefined, 'it does not know yet')
      await bench.app.streams.beat()
      await until('it knows', () => back.ended() === true)
      await other.app.streams.beat()
      t.equal(elsewhere.ended(), undefined)
    })

    t.test('what one node writes is told on another', async (t) => {
      const bench = await openListening(t, database)
      const other = await otherNode(t, bench)
      const ani = await signInAs(bench, 'ani@example.com')
      const there = await streamOf(t, { ...bench, url: other.url }, ani)
      await hasBegun(there)
      const startMs = performance.now()
      await logOut(bench, ani)
      t.match(await there.next('session_ended'), { data: { reason: 'logout', reconnect: 'never' } })
      t.ok(performance.now() - startMs < 5 * SECOND_MS)
    })

    t.test('each look shows that a stream lives, and ends the one whose session has run out', async (t) => {
      const bench = await openListening(t, database)
      const [ani, admin] = [
        await signInAs(bench, 'ani@example.com'),
        await signInAs(bench, 'a@b.example', 'admin'),
      ]
      const [anis, admins] = [await streamOf(t, bench, ani), await streamOf(t, bench, admin)]
      for (const stream of [anis, admins]) await hasBegun(stream)
      await signInAs(bench, 'budi@example.com')
      await admins.next('session_created')
      await bench.app.streams.beat()
      await until('both hear it', () => anis.heartbeats() === 1 && admins.heartbeats() === 1)
      t.equal(anis.lastEventId(), admins.lastEventId(), 'who was told nothing is no less far')
      t.equal(anis.told.length, 1)

      bench.clock.advance(2 * HOUR_MS)
      await bench.app.streams.beat()
      t.match(await admins.next('session_ended'), {
        data: {
          sessionId: admin.sessionId,
          reason: 'idle',
          endedBy: 'server',
          reconnect: 'never',
          at: '2031-01-01T02:00:00.000Z',
        },
      })
      await until('it has ended', () => admins.ended() === true)
      await until('the other goes on', () => anis.heartbeats() === 2)
      bench.clock.advance(31 * DAY_MS)
      await bench.app.streams.beat()
      t.match(await anis.next('session_ended'), { data: { reason: 'idle', reconnect: 'never' } })
      t.equal(bench.app.streams.size(), 0)
    })

    t.test('whoever was disabled or given another role by hand is told no more', async (t) => {
      const bench = await openListening(t, database)
      const ani = await signInAs(bench, 'ani@example.com')
      const admin = await signInAs(bench, 'admin@example.com', 'admin')
      const path = await ticketOf(bench, ani)
      const unused = await ticketOf(bench, ani)
      const [anis, admins] = [await readStream(t, bench.url + path), await streamOf(t, bench, admin)]
      for (const stream of [anis, admins]) await hasBegun(stream)
      const byHand = (change: string) =>
        sql({ config: bench.config, env: {} }, `UPDATE kunci_users SET ${change}`)
      await byHand(`role = 'user' WHERE id = ${admin.userId}`)
      await byHand(`is_active = 0 WHERE id = ${ani.userId}`)
      await bench.app.streams.beat()
      t.match(await anis.next('session_ended'), { data: { reason: 'user_disabled', reconnect: 'never' } })
      await until('both have ended', () => anis.ended() === true && admins.ended() === true)
      t.equal(admins.told.length, 1, 'he may come back, as what he is now')
      t.equal((await readStream(t, bench.url + unused)).status, 204, 'a ticket from before')
      const back = await readStream(t, bench.url + path, { 'last-event-id': anis.lastEventId() })
      t.equal(back.status, 204)
      // What is remembered of his session is so by true time, of which little passes here.
      await bench.app.sessions.changing(admin.userId, async () => undefined)
      const again = await streamOf(t, bench, admin)
      await hasBegun(again)
      t.equal(again.told[0]?.data.online, undefined, 'no overview for users')
    })

    t.test(
      'while the database does not say whose sessions live no stream goes on, and none begins',
      async (t) => {
        const bench = await openListening(t, database)
        const installation = { config: bench.config, env: {} }
        const ani = await signInAs(bench, 'ani@example.com')
        const path = await ticketOf(bench, ani)
        const stream = await readStream(t, bench.url + path)
        await hasBegun(stream)
        await sql(installation, 'ALTER TABLE user_sessions RENAME TO gone')
        await bench.app.streams.beat()
        await until('it has ended', () => stream.ended() === true)
        t.equal(stream.told.length, 1, 'without a word: its reader may come back')
        const back = () => readStream(t, bench.url + path, { 'last-event-id': stream.lastEventId() })
        t.equal((await back()).status, 503)
        await sql(installation, 'ALTER TABLE gone RENAME TO user_sessions')
        t.equal((await back()).status, 200)
      },
    )

    t.test('a poll is told what it missed, or what happens next, or that nothing did', async (t) => {
      const bench = await openListening(t, database)
      const ani = await signInAs(bench, 'ani@example.com')
      const begun = await poll(bench, ani, '')
      t.match(begun.body, {
        success: true,
        data: { events: [{ event: 'snapshot', data: { type: 'snapshot', sessionId: ani.sessionId } }] },
      })
      const { lastId } = begun.body.data
      t.equal(begun.body.data.events[0]?.id, lastId)
      t.same((await poll(bench, ani, `after=${lastId}&wait=0`)).body.data, { events: [], lastId })
      t.same((await poll(bench, ani, `after=${lastId}&wait=1`)).body.data, { events: [], lastId })

      const waiting = poll(bench, ani, `after=${lastId}`)
      await until('it waits', () => bench.app.streams.size() === 1)
      const [other, budi] = [
        await signInAs(bench, 'ani@example.com'),
        await signInAs(bench, 'budi@example.com'),
      ]
      const { data } = (await waiting).body
      t.match(data.events, [{ event: 'session_created', data: { sessionId: other.sessionId } }])
      const missed = (await poll(bench, ani, `after=${lastId}&wait=0`)).body.data
      t.match(missed.events, data.events)
      t.equal(missed.lastId, lastId + 2, "and need not ask again for somebody else's")
      t.match((await poll(bench, budi, 'after=999')).body.data.events, [{ event: 'snapshot' }])

      const last = poll(bench, ani, `after=${missed.lastId}`)
      await until('it waits', () => bench.app.streams.size() === 1)
      await logOut(bench, ani)
      t.match((await last).body.data.events, [{ event: 'session_ended', data: { reconnect: 'never' } }])
      t.match(await poll(bench, ani, 'wait=0'), { status: 401, body: { code: 'sign_in_required' } })
      t.equal((await poll(bench, budi, 'wait=26')).status, 400)
      t.equal((await poll(bench, budi, 'after=x')).status, 400)
      t.equal(bench.app.streams.size(), 0, 'nothing is left open')
    })

    t.test('a session has ten streams and twenty polls at once, and whoever leaves makes room', async (t) => {
      const bench = await openListening(t, database)
      const [ani, budi] = [
        await signInAs(bench, 'ani@example.com'),
        await signInAs(bench, 'budi@example.com'),
      ]
      const streams = await Promise.all(Array.from({ length: 10 }, () => streamOf(t, bench, ani)))
      t.same(new Set(streams.map(({ status }) => status)), new Set([200]))
      const refused = await streamOf(t, bench, ani)
      await until('its body is here', () => refused.ended() !== undefined)
      t.equal(refused.status, 429)
      t.equal(JSON.parse(refused.text()).code, 'too_many_streams')
      t.equal((await streamOf(t, bench, budi)).status, 200, "somebody else's do not count")
      for (const stream of streams) await hasBegun(stream)
      const after = streams[0]!.lastEventId()
      const polls = Array.from({ length: 20 }, () => poll(bench, ani, `after=${after}`))
      await until('they wait', () => bench.app.streams.size() === 31)
      t.match(await poll(bench, ani, `after=${after}`), { status: 429, body: { code: 'too_many_streams' } })
      streams[0]!.close()
      await until('its place is free', () => bench.app.streams.size() === 30)
      t.equal((await streamOf(t, bench, ani)).status, 200)
      await logOut(bench, ani)
      t.same(new Set((await Promise.all(polls)).map(({ status }) => status)), new Set([200]))
    })

    t.test('who does not read is cut off, and told what he missed when he comes back', async (t) => {
      const bench = await openListening(t, database)
      const ani = await signInAs(bench, 'ani@example.com')
      const stream = await streamOf(t, bench, ani)
      await hasBegun(stream)
      stream.pause()
      const db = await openDatabase(bench.config)
      t.teardown(() => db.close())
      const filler = 'x'.repeat(12_000)
      const events = Array.from({ length: 900 }, (_, i) => {
        const about = { userId: ani.userId, sessionId: 'another' }
        return bench.app.events.tell('session_kept', ACTOR, about, { i, filler })
      })
      for (let i = 0; i < events.length; i += 100) await db.batch(insertStreamed(events.slice(i, i + 100)))
      await until('it is cut off', () => bench.app.streams.size() === 0)
      stream.resume()
      await until('it has ended', () => stream.ended() !== undefined)
      const seen = stream.told.filter(({ event }) => event === 'session_kept')
      t.ok(seen.length < events.length, `${seen.length} were sent`)
      const back = await streamOf(t, bench, ani, stream.lastEventId())
      await until('the rest is here', () => seen.length + back.told.length >= events.length)
      const labels = [...seen, ...back.told].map(({ data }) => data.i)
      t.same(labels.length, new Set(labels).size, 'each once')
      t.equal(labels.length, events.length)
    })
  })

t.test('a server that closes ends streams and polls at once, and their readers may come back', async (t) => {
  const bench = await openListening(t, DATABASES[0]!)
  const ani = await signInAs(bench, 'ani@example.com')
  const stream = await streamOf(t, bench, ani)
  await hasBegun(stream)
  const waiting = poll(bench, ani, `after=${stream.lastEventId()}`)
  await until('it waits', () => bench.app.streams.size() === 2)
  const startMs = performance.now()
  await bench.server.close()
  t.ok(performance.now() - startMs < 2 * SECOND_MS)
  t.same((await waiting).body.data.events, [])
  t.equal(stream.ended(), true)
  t.equal(stream.told.length, 1)
})

/** A second process, as it were, on the same database. */
async function otherNode(
  t: Pick<Test, 'teardown'>,
  { config, clock }: Listening,
): Promise<{ app: App; url: string }> {
  const app = await createApp(config, { logger: createLogger('silent'), clock })
  const server = await createServer(app)
  t.teardown(async () => {
    await server.close()
    await app.close()
  })
  return { app, url: await server.listen({ host: '127.0.0.1', port: 0 }) }
}
