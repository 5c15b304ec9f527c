import t from 'tap'
import type { Role } from '../../src/store/accounts.ts'
import { DATABASES } from '../support/databases.ts'
import { type Installation, sql } from '../support/installation.ts'
import { ACTOR, type Bench } from '../support/legacy.ts'
import { injecting, openSession, pinOf } from '../support/sealed.ts'
import { addUser, at, type Client, isIn, openHouse, signIn } from '../support/users.ts'

const VICTIMS = [
  ['user', 'ani@example.com', '203.0.113.17'],
  ['superadmin', 'root@example.com', '203.0.113.99'],
] as const satisfies (readonly [Role, string, string])[]

type Victim = { readonly id: number; readonly client: Client; readonly marks: readonly string[] }

/** Every route of the server, as its own document names them. */
async function routesOf({ server }: Bench): Promise<[method: string, path: string][]> {
  const { paths } = (await server.inject('/docs/json')).json()
  return Object.entries<Record<string, unknown>>(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method): [string, string] => [method.toUpperCase(), path]),
  )
}

/** Everything that a route might take for somebody's, in the place where it might. */
function asIfHis({ id, client }: Victim, path: string) {
  const { sessionId } = client
  const url = path.replace('{sessionId}', sessionId).replace('{userId}', String(id))
  const named = { userId: id, user_id: id, user: id, sessionId, session_id: sessionId }
  return {
    url,
    query: { ...named, scope: 'all', wait: '0', after: '0' } as unknown as Record<string, string>,
    payload: {
      ...{ ...named, id, email: 'x', password: 'no password of his', newPassword: 'another good password' },
      ...{ token: sessionId, code: '000000', secret: 'A'.repeat(32), answer: 'yield', hwid: 'ab' },
    },
  }
}

async function rowsAbout(bench: Bench, { id }: Victim) {
  const rows: Installation = { config: bench.config, env: {} }
  const ofUser = 'role, is_active, password_hash, totp_secret, max_sessions, at_limit, updated_at_ms'
  return [
    await sql(rows, `SELECT ${ofUser} FROM kunci_users WHERE id = ${id}`),
    await sql(rows, `SELECT * FROM user_sessions WHERE user_id = ${id} ORDER BY id`),
  ]
}

for (const database of DATABASES)
  t.test(
    `${database.name}: whoever walks every route under another's name changes nothing and sees nothing of him`,
    async (t) => {
      const bench = await openHouse(t, database)
      const victims: Victim[] = []
      for (const [role, email, address] of VICTIMS) {
        const { id } = await addUser(bench.app, email, role)
        const client = await signIn(at(bench, address), email)
        victims.push({ id, client, marks: [email, address, client.sessionId, String(id)] })
      }
      const [ani, root] = victims as [Victim, Victim]
      for (const role of ['user', 'admin'] as const) await addUser(bench.app, `${role}@example.com`, role)
      const sealed = await openSession(injecting(bench), pinOf(bench.app))
      const operator = await bench.app.tokens.create(ACTOR, 'console', null)
      // Anew for each route, as some sign out.
      const signedIn = (role: Role) => async () => (await signIn(at(bench), `${role}@example.com`)).token
      const routes = await routesOf(bench)
      t.ok(routes.length > 30)
      for (const [who, tokenOf, victim] of [
        ['nobody', async () => '', ani],
        ['a sealed session', async () => sealed.token, ani],
        ['an operator token', async () => operator.token, ani],
        ['a user', signedIn('user'), ani],
        ['an admin', signedIn('admin'), root],
      ] as const) {
        const before = await rowsAbout(bench, victim)
        let refused = 0
        for (const [method, path] of routes) {
          const token = await tokenOf()
          for (const named of [{}, { 'x-session-id': victim.client.sessionId }]) {
            const { url, query, payload } = asIfHis(victim, path)
            const reply = await bench.server.inject({
              ...{ method: method as 'POST', url, query, payloadAsStream: true },
              headers: { ...(token === '' ? {} : { authorization: `Bearer ${token}` }), ...named },
              ...(method === 'GET' ? {} : { payload }),
            })
            const { statusCode } = reply
            const isStream = String(reply.headers['content-type']).startsWith('text/event-stream')
            let text = ''
            if (isStream) reply.stream().destroy()
            else for await (const chunk of reply.stream()) text += chunk
            t.ok(statusCode < 500, `${method} ${path} as ${who}: ${statusCode} ${text}`)
            if (statusCode >= 400) refused++
            // An admin sees everybody, and the record is the operator's to read.
            const maySee =
              who === 'an admin' || (who === 'an operator token' && path.startsWith('/api/admin/'))
            const seen = maySee ? [] : victim.marks.filter((mark) => text.includes(mark))
            t.same(seen, [], `${method} ${path} as ${who}`)
          }
        }
        t.ok(refused > routes.length / 2, `${who} was refused ${refused} times`)
        t.same(await rowsAbout(bench, victim), before, `${who} has changed nothing`)
        t.ok(await isIn(victim.client), `${who} has ended nothing`)
      }
    },
  )
