import fc from 'fast-check'
import t from 'tap'
import { normalEmail } from '../../src/domain/emails.ts'

t.test('one email address has one form, however it is typed', async (t) => {
  for (const typed of [
    'budi@example.com',
    '  Budi@Example.COM\n',
    'ＢＵＤＩ＠ｅｘａｍｐｌｅ．ｃｏｍ',
    'budi@example\u2024com',
    '\u00a0BUDI@example.com\u3000',
  ])
    t.equal(normalEmail(typed), 'budi@example.com', JSON.stringify(typed))
  t.equal(normalEmail('ZOE\u0308@exa\u0301mple.fr'), 'zo\u00eb@ex\u00e1mple.fr')
  t.equal(normalEmail('o.hara+kunci_1@mail.example.co.id'), 'o.hara+kunci_1@mail.example.co.id')
  t.equal(normalEmail('root@localhost'), 'root@localhost')
})

t.test('what is no email address is none', async (t) => {
  for (const typed of [
    ...['', ' ', 'budi', '@', 'budi@', '@example.com', 'budi@example.com@example.org'],
    ...['bu di@example.com', 'budi@exam ple.com', 'budi@.com', 'budi@example.', 'budi@example..com'],
    ...['"bu di"@example.com', 'Budi <budi@example.com>', 'a@example.com,b@example.com', 'budi@[127.0.0.1]'],
    ...['budi\0@example.com', 'bu\u200bdi@example.com', 'bu\u202edi@example.com', 'budi\ud800@example.com'],
  ])
    t.equal(normalEmail(typed), null, JSON.stringify(typed))
})

t.test('it has at most 254 bytes', async (t) => {
  const local = (bytes: number) => 'a'.repeat(bytes - '@example.com'.length)
  t.equal(normalEmail(`${local(254)}@example.com`)?.length, 254)
  t.equal(normalEmail(`${local(255)}@example.com`), null)
  t.equal(normalEmail(`${local(252)}\u00e9\u00e9@example.com`), null)
})

t.test('taken again it stays as it is, whatever the script', async (t) => {
  const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
  let taken = 0
  const isSettled = (local: string, domain: string) => {
    const email = normalEmail(`${local}@${domain}`)
    if (email !== null) taken++
    return email === null || normalEmail(email) === email
  }
  fc.assert(fc.property(part, part, isSettled), { numRuns: 2000 })
  t.ok(taken > 100, `${taken} were addresses`)
})

t.test('a long text is looked at in no time', async (t) => {
  for (const text of [
    'a'.repeat(16_384),
    `a@${'a.'.repeat(8192)}`,
    `a@${'.'.repeat(16_384)}`,
    '@'.repeat(16_384),
  ]) {
    const began = performance.now()
    t.equal(normalEmail(text), null)
    t.ok(performance.now() - began < 200)
  }
})
