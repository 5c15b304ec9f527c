import fc from 'fast-check'
import t from 'tap'
import { newNumericId } from '../../src/domain/ids.ts'
import { timeReader } from '../../src/domain/import/dates.ts'
import { Owners } from '../../src/domain/import/owners.ts'
import {
  candidateIds,
  derivedUserIds,
  importedSessionId,
  keptNumber,
  sessionNumbers,
} from '../../src/domain/import/user-ids.ts'
import { agentReader, judgeSession } from '../../src/domain/import/user-sessions.ts'
import { judgeUser } from '../../src/domain/import/users.ts'
import { pooledRandom } from '../../src/random.ts'
import type { SessionColumn, UserColumn } from '../../src/store/old-users/old-users.ts'

const NOW = Date.parse('2031-06-01T00:00:00Z')
const NAMES = {
  ...{ id: 'id', email: 'email', full_name: 'full_name', role: 'role', is_active: 'is_active' },
  ...{ password: 'password', created_at: 'created_at', deleted_at: 'deleted_at' },
}
const USER: Record<UserColumn, string | null> = {
  ...{ id: '7', email: 'Ani@Example.com', full_name: 'Ani Wijaya', role: null, is_active: '1' },
  ...{ password: null, created_at: '2024-01-15 09:00:00', deleted_at: null },
}
const readTime = timeReader('Asia/Jakarta')
const judge = (cells: Partial<typeof USER>, names: Partial<Record<UserColumn, string | null>> = {}) =>
  judgeUser(
    { row: 3, cells: { ...USER, ...cells } },
    { names: { ...NAMES, ...names }, times: {}, readTime, nowMs: NOW },
  )

t.test('a user comes with the email in its one form, and every fact of the row', async (t) => {
  t.same(judge({ password: null }), {
    user: {
      ...{ row: 3, oldId: '7', email: 'ani@example.com', fullName: 'Ani Wijaya', role: 'user' },
      ...{ isActive: true, passwordHash: null, createdAtMs: Date.parse('2024-01-15T02:00:00Z') },
    },
    findings: [],
  })
  t.match(judge({ full_name: ' ' }), { user: { fullName: 'ani@example.com' }, findings: [{ row: 3 }] })
  const long = judge({ full_name: `A\n${'x'.repeat(300)}` })
  t.equal(long.user?.fullName, `A ${'x'.repeat(253)}`)
  t.match(long.findings, [{ finding: 'user_name_changed' }])
  for (const created_at of ['yesterday', '2031-06-02', '1969-12-31'])
    t.match(judge({ created_at }), {
      ...{
        user: { createdAtMs: NOW },
        findings: [{ finding: 'user_created_unfit', detail: `"${created_at}"` }],
      },
    })
  t.match(judge({ created_at: null }), { user: { createdAtMs: NOW }, findings: [] })
})

t.test('a row without an id or an email address is left out', async (t) => {
  for (const id of [null, '', ' ', 'two words', 'x'.repeat(65), 'nul\0'])
    t.match(judge({ id }), { user: null, findings: [{ finding: 'user_id_unfit' }] })
  for (const email of [null, '', 'ani', 'a b@example.com', 'ani@\u202eexample.com'])
    t.match(judge({ email }), { user: null, findings: [{ finding: 'user_email_unfit', oldId: '7' }] })
  const fault = { row: 4, fault: 'not_utf8', detail: 'its email is not UTF-8' } as const
  t.match(judgeUser(fault, { names: NAMES, times: {}, readTime, nowMs: NOW }), {
    ...{ user: null, findings: [{ finding: 'user_unreadable', row: 4, detail: 'its email is not UTF-8' }] },
  })
})

t.test('a role is one of ours, the highest of several, and never more than it says', async (t) => {
  const names = {
    ...{ user: 'user', admin: 'admin', SUPERADMIN: 'superadmin', 'Super Admin': 'superadmin' },
    ...{ super_admin: 'superadmin', 'user,admin': 'admin', '["user","superadmin"]': 'superadmin' },
    ...{ '{admin,user}': 'admin', authenticated: 'user', 'editor, admin': 'admin', '': 'user' },
  }
  for (const [role, taken] of Object.entries(names))
    t.match(judge({ role }), { user: { role: taken }, findings: [] }, role)
  t.match(judge({ role: null }), { user: { role: 'user' }, findings: [] })
  for (const role of ['editor', '1', 'administrator', 'not admin', 'constructor', 'admins'])
    t.match(judge({ role }), {
      ...{ user: { role: 'user' }, findings: [{ finding: 'user_role_unknown', detail: role }] },
    })
})

t.test('whoever was deleted or is not clearly active comes disabled', async (t) => {
  for (const is_active of ['1', 't', 'true', 'TRUE']) t.equal(judge({ is_active }).user?.isActive, true)
  for (const is_active of ['0', 'f', 'false'])
    t.match(judge({ is_active }), { user: { isActive: false }, findings: [] })
  for (const is_active of [null, '', 'maybe', '2'])
    t.match(judge({ is_active }), {
      user: { isActive: false },
      findings: [{ finding: 'user_active_unclear' }],
    })
  t.equal(judge({ is_active: null }, { is_active: null }).user?.isActive, true, 'no such column')
  t.equal(judge({ deleted_at: '2024-01-01' }).user?.isActive, false)
  t.equal(judge({ deleted_at: '2024-01-01', is_active: null }, { is_active: null }).user?.isActive, false)
})

t.test('an Argon2id hash is taken as it is, and nothing else, nor one that costs too much', async (t) => {
  const tail = '/l3kPfATmXkNOIh5i1Zzpw$TJvbsfrXN3z70ywWSwNmrWTZ6H929ECoFqBQy+xPUrY'
  for (const costs of ['m=65536,t=3,p=4', 't=3,m=65536,p=4', 'm=262144,t=16,p=16']) {
    const password = `$argon2id$v=19$${costs}$${tail}`
    t.equal(judge({ password }).user?.passwordHash, password)
  }
  for (const password of [
    ...['$argon2id$v=19$m=262145,t=3,p=4$', '$argon2id$v=19$m=65536,t=17,p=4$'].map((head) => head + tail),
    ...['$argon2id$v=19$m=65536,t=3,p=17$', '$argon2id$v=19$m=1,m=1,m=1$'].map((head) => head + tail),
    ...['$argon2i$v=19$m=65536,t=3,p=4$', '$argon2id$v=16$m=65536,t=3,p=4$'].map((head) => head + tail),
    `$argon2id$v=19$m=65536,t=3,p=4$${'A'.repeat(200)}$${'A'.repeat(43)}`,
    '$scrypt$n=16384,r=8,p=1$lpRFTVcfz5bcLbBTdpkmWw$LpIjXfiCtIvOePL4HVW2Tw',
    '$2b$10$CwTycUXWue0Thq9StjUM0uJ8Q1nJ6Q9j1J5nP3m0T9m0T9m0T9m0T',
    ...['secret', '', `$argon2id$v=19$m=65536,t=3,p=4$${tail}\n`],
  ])
    t.equal(judge({ password }).user?.passwordHash, null, password)
  t.notMatch(JSON.stringify(judge({ password: 'plain horse' })), 'horse', 'and it is repeated nowhere')
})

t.test('of two rows with one email the first is taken, and an id counts once', async (t) => {
  const owners = new Owners()
  const user = (id: string, email: string) => {
    const { user: judged } = judge({ id, email })
    return judged === null ? t.fail('no user') : owners.add(judged)
  }
  t.equal(user('1', 'ani@example.com'), null)
  t.match(user('2', 'ANI@example.com'), { finding: 'user_duplicate', detail: 'row 3 is taken' })
  t.match(user('1', 'budi@example.com'), { finding: 'user_id_unfit' })
  owners.settle('ani@example.com', 1)
  t.same(owners.ownerOf('2'), { email: 'ani@example.com', id: 1 }, 'sessions of both are his')
  t.same(
    owners.taken().map(({ oldId }) => oldId),
    ['1'],
  )
  t.equal(owners.ownerOf('3'), undefined)
})

t.test('imported ids never meet those that are made here', async (t) => {
  const random = pooledRandom()
  const ours = newNumericId(Date.UTC(2026, 0, 1), random)
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 64 }), (oldId) => {
      const ids = derivedUserIds(oldId)
      return new Set(ids).size === ids.length && ids.every((id) => id >= 2 ** 40 && id < 2 ** 47 && id < ours)
    }),
  )
  t.same(derivedUserIds('a'), derivedUserIds('a'))
  for (const oldId of ['1', '4711', String(2 ** 40 - 1)]) {
    t.equal(keptNumber(oldId), Number(oldId))
    t.same(candidateIds(oldId), [Number(oldId), ...derivedUserIds(oldId)])
  }
  for (const oldId of [String(2 ** 40), '0', '-1', '01', '1e3', '9'.repeat(20), 'clr1']) {
    t.equal(keptNumber(oldId), null, oldId)
    t.same(candidateIds(oldId), derivedUserIds(oldId))
  }
  for (const byte of [0, 255]) {
    const next = sessionNumbers((length) => Buffer.alloc(length, byte))
    const first = next()
    t.ok(first >= 2 ** 40 && first + 1e9 < 2 ** 47)
    t.equal(next(), first + 1)
  }
  t.match(importedSessionId(7, 'a'), /^[0-9a-f]{32}$/)
  t.not(importedSessionId(7, 'a'), importedSessionId(8, 'a'))
})

const SESSION: Record<SessionColumn, string | null> = {
  ...{ id: '11', user_id: '7', login_at: '2024-01-15 09:00:00', last_activity: '2024-01-15 10:30:00' },
  ...{ logout_at: null, expires_at: null, is_active: '1', ip_address: '192.0.2.1' },
  ...{ user_agent: 'curl/8.5.0', device_type: null },
}
const judgeOne = (cells: Partial<typeof SESSION>) =>
  judgeSession(
    { row: 5, cells: { ...SESSION, ...cells } },
    { times: {}, readTime: timeReader('UTC'), readAgent: agentReader(), nowMs: NOW },
  )

t.test('a session comes with its times, and the later ones follow from the earlier', async (t) => {
  const [login, activity] = [Date.parse('2024-01-15T09:00:00Z'), Date.parse('2024-01-15T10:30:00Z')]
  t.same(judgeOne({}), {
    session: {
      ...{ row: 5, oldId: '11', oldUserId: '7', loginAtMs: login, lastActivityMs: activity },
      ...{ logoutAtMs: activity, expiresAtMs: activity, ipAddress: '192.0.2.1', wasOpen: true },
      agent: { userAgent: 'curl/8.5.0', device: { type: 'desktop', name: 'curl' } },
    },
    findings: [],
  })
  t.match(judgeOne({ last_activity: null }), { session: { lastActivityMs: login, logoutAtMs: login } })
  t.match(judgeOne({ logout_at: '2024-01-15 11:00:00', expires_at: '2099-01-01' }), {
    session: {
      logoutAtMs: Date.parse('2024-01-15T11:00:00Z'),
      expiresAtMs: Date.parse('2099-01-01T00:00:00Z'),
    },
  })
})

t.test('what was open still is counted, and nothing else', async (t) => {
  const isOpen = (cells: Partial<typeof SESSION>) => judgeOne(cells).session?.wasOpen
  for (const cells of [{}, { is_active: 't' }, { is_active: null }, { expires_at: '2031-06-02' }])
    t.equal(isOpen(cells), true, JSON.stringify(cells))
  for (const cells of [
    { is_active: 'f' },
    { is_active: '0' },
    { logout_at: '2024-01-16' },
    { expires_at: '2031-05-31' },
  ])
    t.equal(isOpen(cells), false, JSON.stringify(cells))
})

t.test('a session without ids or with a time that is none is left out, and says which', async (t) => {
  for (const [cells, detail] of [
    [{ id: null }, 'no id'],
    [{ user_id: ' ' }, 'no id of a user'],
    [{ login_at: null }, 'login_at "" is missing'],
    [{ login_at: 'soon' }, 'login_at "soon" is unreadable'],
    [{ last_activity: '2031-06-02 00:00:00' }, /last_activity ".*" is ahead/],
    [{ logout_at: '31/12/2024' }, /logout_at/],
  ] as const)
    t.match(judgeOne(cells), { session: null, findings: [{ finding: 'session_unfit', row: 5, detail }] })
})

t.test(
  'an address that is none is left empty, and what a client says of itself fits its column',
  async (t) => {
    for (const ip_address of ['localhost', '999.1.1.1', '1.2.3.4, 5.6.7.8', 'x'.repeat(100)])
      t.match(judgeOne({ ip_address }), {
        ...{ session: { ipAddress: '' }, findings: [{ finding: 'session_address_left' }] },
      })
    for (const ip_address of ['2001:db8::1', '::ffff:192.0.2.1'])
      t.match(judgeOne({ ip_address }), { session: { ipAddress: ip_address }, findings: [] })
    t.match(judgeOne({ ip_address: null }), { session: { ipAddress: '' }, findings: [] })
    const { session } = judgeOne({ user_agent: `a\0\n${'\u{1f5a5}'.repeat(600)}`, device_type: 'Mobile' })
    t.equal([...(session?.agent.userAgent ?? '')].length, 512)
    t.equal(session?.agent.device.type, 'mobile')
  },
)
