import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createConnection } from 'mysql2/promise'
import pino from 'pino'
import t from 'tap'
import { type Aes, createBaseline } from '../../bench/baseline/server.ts'
import { type Bench, claimsOf, encrypt, handOut, postCheck } from '../support/legacy.ts'
import { sharedMariadb } from '../support/mariadb.ts'

const SCHEMA = readFileSync(new URL('../../bench/baseline/schema.sql', import.meta.url), 'utf8')
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

for (const aes of ['forge', 'node'] as const satisfies Aes[]) {
  t.test(`the baseline answers the legacy contract, with the AES of ${aes}`, async (t) => {
    const url = await (await sharedMariadb()).createDatabase('baseline')
    const db = await createConnection({ uri: url, multipleStatements: true })
    t.teardown(() => db.destroy())
    await db.query(SCHEMA)
    await db.query(
      `INSERT INTO user_jce (Nama, hwid_encrypted, expiry_date, sk, sck) VALUES
        ('Budi', ?, UTC_TIMESTAMP() + INTERVAL 36 HOUR, 'a', 'b'),
        ('Late', ?, UTC_TIMESTAMP() - INTERVAL 1 SECOND, 'a', 'b')`,
      [sha256('1234567890'), sha256('1111')],
    )
    const lines: string[] = []
    const server = createBaseline({
      ...{ databaseUrl: url, jwtSecret: 'a secret of this test alone, of 40 bytes', ttlS: 300, aes },
      logger: pino({ base: null }, { write: (line: string) => void lines.push(line) }),
    })
    t.teardown(() => server.close())
    await server.ready()
    const bench = { server } as unknown as Bench

    const reply = await server.inject({ url: '/api/auth/get-session-key' })
    t.match(reply.json(), {
      status: 'success',
      expires_in: 300,
      message: 'Session key generated successfully',
    })
    t.equal(reply.headers['cache-control'], 'no-store')
    t.match(claimsOf(reply.json().session_token), {
      ...{ session_id: /^[0-9a-f]{32}$/, key: /^[0-9a-f]{64}$/, iv: /^[0-9a-f]{32}$/, ip: '127.0.0.1' },
      ...{ purpose: 'hwid_encryption', jti: /^[0-9a-f]{32}$/ },
    })

    const { token, claims } = await handOut(bench)
    t.equal(claims.exp - claims.iat, 300)
    const check = async (text: string) =>
      (await postCheck(bench, token, { hwid: encrypt(claims, text) })).json()
    t.match(await check('1234-567890'), {
      ...{ status: 'success', message: 'Access granted', user: 'Budi', days_remaining: 1, sk: 'a', sck: 'b' },
      ...{ expiry_date: /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/, maintenance: 'no', status1_text: '' },
    })
    t.same(await check('1111'), { status: 'error', message: 'License expired.', code: 'EXPIRED' })
    t.same(await check('2222'), {
      ...{ status: 'error', message: 'Access denied (HWID Not Found).', code: 'NOT_FOUND' },
    })

    const status = async (text: string, body: unknown) => {
      const answer = await postCheck(bench, text, body)
      return [answer.statusCode, answer.json().message]
    }
    t.same(await status(token, { hwid: 'zz' }), [200, 'Security verification failed.'])
    t.same(await status(token, { hwid: 1 }), [400, 'Invalid request format.'])
    t.same(await status(token, 'no JSON'), [400, 'Invalid request format.'])
    t.same(await status(`${token}x`, {}), [401, 'Invalid or expired session.'])
    t.match(await server.inject({ method: 'POST', url: '/api/1.php' }), { statusCode: 401 })
    await db.query('UPDATE session_keys SET expires_at = created_at')
    t.same(await status(token, { hwid: encrypt(claims, '1234567890') }), [200, 'Session expired.'])
    t.equal(lines.length, 11, 'one log line a request')
  })
}
