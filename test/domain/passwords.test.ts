import { availableParallelism } from 'node:os'
import { hash } from '@node-rs/argon2'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createPasswords, type PasswordCost } from '../../src/domain/passwords.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { pooledRandom } from '../../src/random.ts'
import { DATABASES } from '../support/databases.ts'
import { ACTOR, openBench } from '../support/legacy.ts'
import { addUser, at, CHEAP, login, openHouse, PASSWORD, START_MS } from '../support/users.ts'

const COST: PasswordCost = { memoryKib: 8192, passes: 1, lanes: 1 }
const ANI = { email: 'ani.wijaya@toko-herons.example', fullName: 'Ani Wijaya Kusuma' }
const NOBODY = { email: 'x@y.z', fullName: 'X' }
const GOOD = 'vlqzt brmwk gnhdo'

const random = pooledRandom()
const passwordsOf = (minLength = 8, cost = COST) => createPasswords({ cost, minLength, random })

/** The code a password is refused with; `undefined` for one that is taken. */
async function refusalOf(password: string, { minLength = 8, context = NOBODY } = {}) {
  const { requireGood } = passwordsOf(minLength)
  return requireGood(password, context).then(
    () => undefined,
    ({ code }: { code: ErrorCode }) => code,
  )
}

t.test('a password is as long as it has characters, whatever they take in bytes or UTF-16', async (t) => {
  const short = 'password_too_short'
  t.equal(await refusalOf('vlqztbr'), short)
  t.equal(await refusalOf('vlqztbrm'), undefined)
  t.equal(await refusalOf('🦆🦢🦩🐧'), short, 'four characters, eight units, sixteen bytes')
  t.equal(await refusalOf('🦆🦢🦩🐧🦉🦚🦜🐓'), undefined)
  t.equal(
    await refusalOf('e\u0301t\u00e9v\u00fblq'),
    short,
    'a composed accent is one character, typed as two or not',
  )
  t.equal(
    await refusalOf('\ufdfavl', { minLength: 15 }),
    undefined,
    'a ligature is the letters that it joins',
  )
  t.equal(await refusalOf('vlqzt brmwk gn', { minLength: 15 }), short)
  t.equal(await refusalOf('vlqzt brmwk gnh', { minLength: 15 }), undefined, 'a space is a character too')
  t.equal(await refusalOf(''), short)
})

t.test('a password has at most 1,024 bytes of UTF-8 in the form that is hashed', async (t) => {
  const filled = (bytes: number) =>
    `${GOOD}${'\u00fb'.repeat(512)}`.slice(0, GOOD.length + (bytes - GOOD.length) / 2)
  t.equal(Buffer.byteLength(filled(1023)), 1023)
  t.equal(await refusalOf(filled(1023)), undefined)
  t.equal(await refusalOf(`${filled(1023)}x`), undefined)
  t.equal(await refusalOf(filled(1025)), 'password_too_long')
  t.equal(await refusalOf('\ufdfa'.repeat(32)), 'password_too_long', '96 bytes as typed, 1,056 as hashed')
})

t.test('no rule asks for kinds of characters', async (t) => {
  for (const password of [
    ...[
      'vlqztbrmwkgn',
      'VLQZTBRMWKGN',
      '839571640275',
      '}{]~;|^`<@>%',
      'ключ от дома',
      '水門の七羽の鷺よ来い',
    ],
    ...['\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008\u000b', '  vlq  zt  '],
  ])
    t.equal(await refusalOf(password), undefined, JSON.stringify(password))
})

t.test('what anybody would try first is refused, in any case and however often it is repeated', async (t) => {
  const common = 'password_too_common'
  for (const password of [
    ...['password', 'PassWord', 'ｐａｓｓｗｏｒｄ', 'iloveyou', 'qwertyuiop', '1234567890', 'sunshine'],
    ...['aaaaaaaa', 'abababab', 'xyz1xyz1xyz1', 'passwordpassword', 'sunshinesunshinesunshine'],
  ])
    t.equal(await refusalOf(password), common, password)
  t.equal(await refusalOf('vlqztvlqzt'), undefined, 'five characters that nobody knows, twice')
  t.equal(await refusalOf('xyz1xyz1xyz2'), undefined, 'not a repetition to its end')
})

t.test('what everybody knows of the owner counts for nothing', async (t) => {
  const refused = (password: string, context = ANI) => refusalOf(password, { context })
  for (const password of [
    ...['ani.wijaya@toko-herons.example', 'wijaya12345', 'WIJAYA12345', 'kusumawijaya', 'toko-herons99'],
    ...['kunci12345', 'kunciwijayakunci', 'example!wijaya'],
  ])
    t.equal(await refused(password), 'password_too_common', password)
  t.equal(await refused('wijaya vlqzt'), undefined, 'six characters of his own are enough')
  t.equal(await refused('wijaya12345', NOBODY), undefined, 'somebody else may')
  t.equal(
    await refused('wijaya12345', { email: 'a@b.c', fullName: 'Ａｎｉ Ｗｉｊａｙａ' }),
    'password_too_common',
    'a name in other letters of the same kind is the same name',
  )
})

t.test('one password has one hash, however it was typed; and another one is another', async (t) => {
  const { hash, isRight } = passwordsOf()
  const phc = await hash('caf\u00e9 \u2460 herons')
  t.match(phc, /^\$argon2id\$v=19\$m=8192,t=1,p=1\$/)
  t.ok(await isRight('cafe\u0301 1 herons', phc))
  for (const other of ['cafe 1 herons', 'CAF\u00c9 1 HERONS', 'caf\u00e9 1 herons ', '', 'caf\u00e9 1 heron'])
    t.notOk(await isRight(other, phc), JSON.stringify(other))
  t.not(await hash('caf\u00e9 \u2460 herons'), phc, 'each hash has a salt of its own')
  const typed = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  const oneHash = fc.asyncProperty(typed, async (text) =>
    isRight(text.normalize('NFC'), await hash(text.normalize('NFD'))),
  )
  t.notOk((await fc.check(oneHash, { numRuns: 20 })).counterexample)
})

t.test('what is no hash lets nobody in', async (t) => {
  const { isRight } = passwordsOf()
  for (const phc of ['', 'x', '$argon2id$v=19$m=8192,t=1,p=1$$', '$2b$10$abcdefghijklmnopqrstuv', PASSWORD])
    t.notOk(await isRight(PASSWORD, phc), phc)
  t.notOk(await isRight(PASSWORD, null))
})

t.test('a cost that cannot be paid keeps nobody out whose hash cost less, and ends no process', async (t) => {
  const { isRight, hash } = passwordsOf(8, { ...COST, memoryKib: 1 })
  const phc = await passwordsOf().hash(GOOD)
  for (let i = 0; i < 2; i++) {
    t.ok(await isRight(GOOD, phc))
    t.notOk(await isRight('wrong', phc))
    await t.rejects(isRight(GOOD, null))
    await t.rejects(hash(GOOD))
  }
})

/** CPU time of this process for one of several, all its threads together, in ms: of the least, as others work here too. */
async function workOf(work: (i: number) => Promise<unknown>): Promise<number> {
  const each: number[] = []
  for (let i = 0; i < 4; i++) {
    const before = process.cpuUsage()
    await work(i)
    const { user, system } = process.cpuUsage(before)
    each.push((user + system) / 1000)
  }
  return Math.min(...each)
}

t.test('whoever is nobody, or has no password, takes as much work as anybody else', async (t) => {
  const passwords = passwordsOf(8, { memoryKib: 65_536, passes: 3, lanes: 1 })
  const phc = await passwords.hash(GOOD)
  const guesses = (stored: string | null) =>
    workOf(async (i) => t.notOk(await passwords.isRight(`a wrong one ${i}`, stored)))
  await passwords.isRight(GOOD, null)
  const [known, unknown] = [await guesses(phc), await guesses(null)]
  t.ok(unknown > known / 2, `${unknown} ms of work for nobody, ${known} for somebody`)
  const crowd = async (stored: string | null) => {
    const cheap = passwordsOf()
    const all = Array.from({ length: 60 + availableParallelism() }, () => cheap.isRight('wrong', stored))
    const busy = (await Promise.allSettled(all)).filter(
      (result) => result.status === 'rejected' && result.reason.code === 'server_busy',
    )
    return busy.length
  }
  const [ofSomebody, ofNobody] = [await crowd(await passwordsOf().hash(GOOD)), await crowd(null)]
  t.same([ofSomebody, ofNobody], [10, 10], 'of many at once fifty wait, and the rest is refused')
})

t.test('a hash is outdated when less went into it than is asked for now', async (t) => {
  const { isOutdated } = passwordsOf(8, { memoryKib: 19_456, passes: 2, lanes: 1 })
  const made = (memoryCost: number, timeCost: number, parallelism = 1) =>
    hash('x', { algorithm: 2, memoryCost, timeCost, parallelism })
  for (const [memory, passes] of [
    [8192, 1],
    [19_456, 1],
    [8192, 3],
  ] as const)
    t.ok(isOutdated(await made(memory, passes)), `${memory} KiB, ${passes} passes`)
  for (const [memory, passes, lanes] of [
    [19_456, 2, 1],
    [19_456, 2, 4],
    [19_456, 3, 1],
    [65_536, 1, 1],
    [9728, 4, 1],
  ] as const)
    t.notOk(isOutdated(await made(memory, passes, lanes)), `${memory} KiB, ${passes} passes, ${lanes} lanes`)
  for (const other of ['', '$argon2i$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA', '$2b$12$abc'])
    t.ok(isOutdated(other), other)
})

function signInTests(t: Test, database: (typeof DATABASES)[number]): void {
  t.test('at the sign-in nobody is told by how long it takes who is there', async (t) => {
    const bench = await openHouse(t, database, { ARGON2_MEMORY_KIB: '65536', ARGON2_PASSES: '3' })
    const { users } = bench.app
    const emails = { known: 'ani@example.com', disabled: 'budi@example.com', imported: 'citra@example.com' }
    for (const email of Object.values(emails)) await addUser(bench.app, email)
    await users.disable(ACTOR, await users.find(emails.disabled))
    const told = { type: 'user_updated' } as const
    await users.change(ACTOR, await users.find(emails.imported), { passwordHash: null }, told)
    const guess = (email: string, password = 'not his password') =>
      workOf(async () => t.equal((await login(at(bench), email, { password })).status, 401))
    await guess('nobody@example.com')
    const known = await guess(emails.known)
    for (const [email, password] of [
      ['nobody@example.com', undefined],
      ['no address', undefined],
      [emails.imported, PASSWORD],
      [emails.disabled, PASSWORD],
      [emails.disabled, undefined],
    ] as const) {
      const work = await guess(email, password)
      t.ok(work > known / 2 && work < known * 2, `${email}: ${work} ms of work, ${known} for who is there`)
    }
  })

  t.test(
    'who signs in is hashed anew where that costs more now, and left alone where it costs less',
    async (t) => {
      const config = await database.freshConfig(t, { ...CHEAP, RATE_LIMIT_PER_MINUTE: '0' })
      const signInWith = async (argon2MemoryKib: number, argon2Passes: number, password = PASSWORD) => {
        const bench = await openBench(t, { ...config, argon2MemoryKib, argon2Passes }, START_MS)
        if ((await bench.app.users.findByEmail('ani@example.com')) === null)
          await addUser(bench.app, 'ani@example.com')
        const { status } = await login(at(bench), 'ani@example.com', { password })
        const phc = (await bench.app.users.findByEmail('ani@example.com'))?.passwordHash ?? ''
        return { status, phc, cost: /m=\d+,t=\d+/.exec(phc)?.[0] }
      }
      t.match(await signInWith(8192, 1), { status: 200, cost: 'm=8192,t=1' })
      t.match(
        await signInWith(8192, 2, 'wrong'),
        { status: 401, cost: 'm=8192,t=1' },
        'only by the right one',
      )
      const risen = await signInWith(8192, 2)
      t.match(risen, { status: 200, cost: 'm=8192,t=2' })
      t.same(await signInWith(8192, 2), risen, 'once')
      t.same(await signInWith(8192, 1), risen, 'never down')
      t.match(await signInWith(16_384, 1), { status: 200, phc: risen.phc }, 'as much work in another shape')
      t.match(await signInWith(16_384, 2), { status: 200, cost: 'm=16384,t=2' })
      t.match(await signInWith(1, 100_000), { status: 200, cost: 'm=16384,t=2' }, 'or cannot be hashed anew')
    },
  )
}

for (const database of DATABASES) t.test(`on ${database.name}`, async (t) => signInTests(t, database))
