import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { DATABASES, type TestDatabase } from '../support/databases.ts'
import { count, holdUp, install, serve, sql, until } from '../support/installation.ts'
import { checkData, furnish, openSession, payloadOf, posting, type Reply } from '../support/sealed.ts'

const COPIES = 50

/** Two server processes on one database, with one licence. */
async function openNodes(t: Test, database: TestDatabase) {
  const installation = await install(t, database)
  const { key, pin } = await furnish(installation)
  const nodes = [await serve(t, installation), await serve(t, installation)] as const
  const [first, second] = [posting(nodes[0].url), posting(nodes[1].url)]
  return { installation, pin: pin(), key, nodes, first, second }
}

for (const database of DATABASES)
  t.test(database.name, async (t) => {
    t.test('fifty copies over two processes have one effect and fifty equal replies', async (t) => {
      const { installation, pin, key, first, second } = await openNodes(t, database)
      const session = await openSession(first, pin)
      for (const [op, data] of [
        ['licence.check', checkData(key)],
        ['lease.issue', checkData(key)],
        ['log.push', { level: 'info', text: 'once' }],
        ['ping', {}],
      ] as const) {
        const message = session.seal(op, data)
        const send = (i: number): Promise<Reply> =>
          session.send(message, '/v1/call', i % 2 === 0 ? first : second)
        const replies = await Promise.all(Array.from({ length: COPIES }, (_, i) => send(i)))
        t.equal(new Set(replies.map(({ text }) => text)).size, 1, op)
        t.match(session.open(message, replies[0] as Reply), { status: 200 }, op)
      }
      t.equal(await count(installation, 'kunci_session_messages'), 4)
      t.equal(await count(installation, 'kunci_devices'), 1)
      t.same(
        (await sql(installation, 'SELECT seq FROM kunci_leases')).map(({ seq }) => Number(seq)),
        [2],
      )
      for (const type of ['licence_check_allowed', 'lease_issued', 'client_log'])
        t.equal(await count(installation, 'kunci_events', `type = '${type}'`), 1, type)
    })

    t.test(
      'two bodies under one number, one to each process: one is executed, the other a conflict',
      async (t) => {
        const { installation, pin, first, second } = await openNodes(t, database)
        const session = await openSession(second, pin)
        for (let seq = 1; seq <= 10; seq++) {
          const messages = ['a', 'b'].map((text) =>
            session.seal('log.push', { level: 'info', text }, { as: seq }),
          )
          const replies = await Promise.all(
            messages.map(async (message, i) =>
              session.open(message, await session.send(message, '/v1/call', i === 0 ? first : second)),
            ),
          )
          t.same(replies.map(({ code }) => code).sort(), ['ok', 'seq_conflict'])
        }
        t.equal(await count(installation, 'kunci_events', "type = 'client_log'"), 10)
      },
    )

    t.test('a session begun at one process goes on at the other, after a restart too', async (t) => {
      const { installation, pin, key, nodes, first, second } = await openNodes(t, database)
      const session = await openSession(first, pin)
      const message = session.seal('licence.check', checkData(key))
      const reply = await session.send(message)
      await nodes[0].kunci.kill('SIGKILL')
      t.same(await session.send(message, '/v1/call', second), reply)
      const third = posting((await serve(t, installation)).url)
      t.same(await session.send(message, '/v1/call', third), reply)
      const next = session.seal('lease.issue', checkData(key))
      t.equal(payloadOf(session.open(next, await session.send(next, '/v1/call', third)).data.lease).seq, 2)
    })
  })

t.test('MariaDB: a process that is killed between claim and commit leaves nothing behind', async (t) => {
  const { installation, pin, key, nodes, first, second } = await openNodes(t, DATABASES[1] as TestDatabase)
  const session = await openSession(first, pin)
  t.match(await session.call('licence.check', checkData(key)), { code: 'ok' })
  const blocker = await createConnection(installation.config.databaseUrl ?? '')
  t.teardown(() => blocker.destroy())
  // Sees what others have not committed yet.
  await blocker.query('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED')
  await blocker.query('START TRANSACTION')
  await blocker.query('SELECT * FROM kunci_leases FOR UPDATE')
  const message = session.seal('lease.issue', checkData(key))
  const lost = session.send(message, '/v1/call', first).catch(() => 'lost')
  await until('the claim is made, and not committed', async () => {
    const [rows] = await blocker.query<RowDataPacket[]>('SELECT 1 FROM kunci_session_messages WHERE seq = 2')
    return rows.length > 0
  })
  const again = session.send(message, '/v1/call', second)
  await nodes[0].kunci.kill('SIGKILL')
  t.equal(await lost, 'lost')
  await blocker.query('COMMIT')
  const { status, data } = session.open(message, await again)
  t.same([status, payloadOf(data.lease).seq], [200, 2])
  t.equal(await count(installation, 'kunci_events', "type = 'lease_issued'"), 1)
  t.equal(await count(installation, 'kunci_session_messages'), 2)
})

t.test('SQLite: a process that is killed while it waits to commit leaves nothing behind', async (t) => {
  const { installation, pin, key, nodes, first, second } = await openNodes(t, DATABASES[0] as TestDatabase)
  const session = await openSession(first, pin)
  const letGo = await holdUp(t, installation)
  const message = session.seal('licence.check', checkData(key))
  const lost = session.send(message, '/v1/call', first).catch(() => 'lost')
  // Nothing outside shows that it waits.
  await sleep(300)
  await nodes[0].kunci.kill('SIGKILL')
  t.equal(await lost, 'lost')
  await letGo()
  t.equal(await count(installation, 'kunci_session_messages'), 0)
  t.equal(await count(installation, 'kunci_devices'), 0)
  t.match(session.open(message, await session.send(message, '/v1/call', second)), { code: 'ok' })
  t.equal(await count(installation, 'kunci_devices'), 1)
})
