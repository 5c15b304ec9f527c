import { createHash } from 'node:crypto'
import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Connection, createConnection } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { failure, json, kunci } from '../support/cli.ts'
import { DATABASES, type TestDatabase, type TestEnv } from '../support/databases.ts'
import { asOperator, type Installation, install, sql, until } from '../support/installation.ts'
import { ACTOR, type Bench, encrypt, openBench, postCheck, runProgram } from '../support/legacy.ts'
import { startLargeMariadb, startMariadb } from '../support/mariadb.ts'
import { runKunci, spawnKunci } from '../support/server.ts'

// This machine, like an operator's, lives far from UTC and from the old server.
process.env.TZ = 'Pacific/Kiritimati'

const HEADER = 'Nama,hwid_encrypted,expiry_date,sk,sck,maintenance,status1_text,counter,last_login'
const HWID = '1234567890'
const DAY_MS = 86_400_000
const MANY = 100_000
const digestOf = (hwid: string) =>
  createHash('sha256')
    .update(hwid.replace(/[^a-zA-Z0-9]/g, ''))
    .digest('hex')
const rowOf = (name: string, hwid: string, expiry = '2099-12-31', rest = 'NULL,NULL,NULL,NULL,3,NULL') =>
  `${name},${digestOf(hwid)},${expiry},${rest}`

/** For the old servers' tables and all that is large. */
const large = await startLargeMariadb()
t.teardown(() => large.kill())
const largeHouse = async (t: Pick<Test, 'teardown'>, database: TestDatabase) =>
  house(t, database, database.name === 'SQLite' ? {} : { DATABASE_URL: await large.createDatabase() })

type Finding = { finding: string; row: number; licence_id: string | null; detail: string | null }
type Report = {
  code: number
  counts: Record<string, number>
  findings: Finding[]
  notes: string[]
  left_out: number
}

/** A new installation with the product `demo`. */
async function house(t: Pick<Test, 'teardown'>, database: TestDatabase, extraEnv: TestEnv = {}) {
  const installation = await install(t, database, extraEnv)
  await json(
    installation.env,
    'products',
    'create',
    '--code',
    'demo',
    '--name',
    'Demo',
    '--sk',
    'sk of the product',
  )
  return installation
}

let files = 0
function csvFile({ config }: Installation, content: string | Buffer): string {
  const path = join(config.dataDir, `old${++files}.csv`)
  writeFileSync(path, content)
  return path
}

async function imports({ env }: Installation, ...argv: string[]): Promise<Report> {
  const { code, stdout, stderr } = await kunci(env, 'import', '--product', 'demo', ...argv, '--json')
  if (![0, 6].includes(code)) throw new Error(`import ended with ${code}: ${stderr}`)
  return { code, ...JSON.parse(stdout) }
}

const importRows = (installation: Installation, rows: readonly string[], ...argv: string[]) =>
  imports(installation, '--from-csv', csvFile(installation, `${[HEADER, ...rows].join('\n')}\n`), ...argv)

const refusal = ({ env }: Installation, ...argv: string[]) =>
  failure(env, 'import', '--product', 'demo', ...argv)

async function numbersOf(installation: Installation) {
  const [row] = await sql(
    installation,
    `SELECT (SELECT COUNT(*) FROM kunci_licences) AS licences, (SELECT COUNT(*) FROM kunci_devices) AS devices,
            (SELECT COUNT(*) FROM kunci_device_components) AS components,
            (SELECT COALESCE(SUM(count), 0) FROM kunci_events WHERE type = 'licences_imported') AS recorded`,
  )
  return Object.fromEntries(Object.entries(row ?? {}).map(([name, n]) => [name, Number(n)]))
}

const all = (n: number) => ({ licences: n, devices: n, components: n, recorded: n })

const bench = (t: Pick<Test, 'teardown'>, { config }: Installation): Promise<Bench> => openBench(t, config)

/** The old server's database, as its operator made it. */
async function oldServer(t: Pick<Test, 'teardown'>, columns: { expiry?: string; id?: boolean } = {}) {
  const url = await large.createDatabase('old')
  const mysql = await createConnection(url)
  t.teardown(() => mysql.destroy())
  await mysql.query("SET SESSION time_zone = '+07:00', sql_mode = ''")
  await createOldTable(mysql, columns)
  return { url, mysql }
}

async function createOldTable(mysql: Connection, { expiry = 'DATETIME', id = true } = {}) {
  await mysql.query(
    `CREATE TABLE user_jce (${id ? 'id INT AUTO_INCREMENT PRIMARY KEY,' : ''} Nama VARCHAR(255), hwid_encrypted TEXT,
     expiry_date ${expiry} NULL, sk TEXT, sck TEXT, maintenance VARCHAR(20), status1_text LONGTEXT, counter INT,
     last_login DATETIME NULL) DEFAULT CHARSET latin1`,
  )
}

async function fill(mysql: Connection, count: number): Promise<void> {
  const digits =
    '(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)'
  await mysql.query(
    `INSERT INTO user_jce (Nama, hwid_encrypted, expiry_date, sk, sck, maintenance, status1_text, counter, last_login)
     SELECT CONCAT('Customer ', n), SHA2(n, 256), '2099-01-01', 'sk', 'sck', 'no', REPEAT('x', 100), 1, '2025-01-01'
     FROM (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n FROM ${digits} a, ${digits} b, ${digits} c,
     ${digits} e, ${digits} f) numbers WHERE n < ${count}`,
  )
}

for (const database of DATABASES) {
  t.test(`on ${database.name}`, async (t) => {
    t.test('every row that is left out has its line, and says why; the others come in', async (t) => {
      const house1 = await house(t, database)
      const long = 'x'.repeat(1_000_000)
      const unhashed = 'Serial,WD-1234,2099-01-01,,,,,0,NULL'
      const lines: [line: string, findings: string[]][] = [
        [
          rowOf('Budi', 'a', '2099-12-31', 's,,NULL,"Hi, ""you""\r\nthere",3,2024-01-01 10:00:00'),
          ['imported'],
        ],
        [
          rowOf('Siti', 'b', '2099-12-31 10:00:00').replace(digestOf('b'), digestOf('b').toUpperCase()),
          ['imported', 'hash_normalised'],
        ],
        [unhashed, ['hash_plain']],
        [`Short,${digestOf('c').slice(1)},2099-01-01,,,,,0,NULL`, ['hash_malformed']],
        ['None,NULL,2099-01-01,,,,,0,NULL', ['hash_missing']],
        [rowOf('Undated', 'd', 'NULL'), ['expiry_missing']],
        [rowOf('Zero', 'e', '0000-00-00 00:00:00'), ['expiry_missing']],
        [rowOf('Order', 'f', '31/12/2026'), ['expiry_unreadable']],
        [rowOf('Gap', 'g', '2026-03-29 02:30:00'), ['expiry_nonexistent']],
        [rowOf('Twice', 'h', '2026-10-25 02:30:00'), ['expiry_ambiguous']],
        [rowOf('Budi', 'i'), ['imported', 'same_customer']],
        [rowOf('Double', 'a', '2099-12-30'), ['duplicate']],
        [rowOf('Long', 'j', '2099-12-31', `${long},,,,0,NULL`), ['text_unfit']],
        [rowOf('', 'k'), ['text_unfit']],
        [rowOf('"two\nlines"', 'l'), ['text_unfit']],
        ['too,few', ['cell_count']],
        [`${rowOf('Many', 'm')},more`, ['cell_count']],
        [rowOf('N\0L', 'n'), ['nul_byte']],
        [rowOf('Old', 'o', '2001-01-01'), ['imported', 'expired']],
        [rowOf('Seen', 'p', '2099-12-31', ',,,,0,yesterday'), ['imported', 'last_login_unfit']],
        [rowOf('Future', 'q', '2099-12-31', ',,,,0,2098-01-01'), ['imported', 'last_login_unfit']],
        [rowOf('"NULL"', 'r'), ['imported']],
      ]
      const text = [HEADER, ...lines.map(([line]) => line), ''].join('\r\n')
      const broken = Buffer.concat([
        Buffer.from(text),
        Buffer.from([0x41, 0xe9]),
        Buffer.from(`${rowOf('', 's')}\r\n`),
      ])
      const order = ['--from-csv', csvFile(house1, broken), '--time-zone', 'Europe/Berlin']
      const expected: string[] = []
      let line = 2
      for (const [source, findings] of lines) {
        for (const finding of findings) expected.push(`${line} ${finding}`)
        line += source.split('\n').length
      }
      expected.push(`${line} not_utf8`)
      const told = ({ findings }: Report) => findings.map(({ row, finding }) => `${row} ${finding}`).sort()
      const dry = await imports(house1, ...order)
      t.same(told(dry), expected.sort())
      t.equal(dry.code, 6)
      t.same(await numbersOf(house1), all(0), 'a dry run writes nothing')
      const done = await imports(house1, ...order, '--apply')
      t.same(done.findings, dry.findings, 'and foretells what is done, ids included')
      t.same(await numbersOf(house1), all(7))
      const everything = JSON.stringify([
        done,
        await sql(house1, 'SELECT * FROM kunci_licences'),
        await sql(house1, 'SELECT * FROM kunci_device_components'),
        await sql(house1, 'SELECT * FROM kunci_events'),
      ])
      t.notMatch(everything, 'WD-1234', 'what is no hash is kept nowhere')
      t.notMatch(everything, digestOf('a'), 'nor is a hash')
      const licence = await json(house1.env, 'licences', 'show', String(done.findings[0]?.licence_id))
      t.match(licence, {
        ...{ customer: 'Budi', expires_at: '2099-12-30T23:00:00.000Z', sk: 's', sck: '', maintenance: null },
        status1_text: 'Hi, "you"\r\nthere',
      })
      const [device] = await json(house1.env, 'devices', 'list', '--licence', licence.id)
      t.match(device, { slot_no: 0, last_seen_at: '2024-01-01T09:00:00.000Z' })

      const never = await imports(house1, ...order, '--undated', 'never', '--apply')
      t.match(never.counts, { imported: 2, known: 7, undated: 2 })
      t.equal(never.counts.expiry_missing, undefined)
      t.match(await importRows(house1, [rowOf('Undated', 'z', '')], '--undated', '2030-06-01', '--apply'), {
        code: 0,
      })
      const dated = (await json(house1.env, 'licences', 'list')).find(
        ({ expires_at }: { expires_at: string }) => expires_at?.startsWith('2030'),
      )
      t.equal(dated.expires_at, '2030-06-01T00:00:00.000Z')
    })

    t.test('what is no such file is refused with what is wrong, and nothing is written', async (t) => {
      const house1 = await house(t, database)
      const good = rowOf('Budi', 'a')
      const refused = async (content: string | Buffer, detail: RegExp) =>
        t.match(await refusal(house1, '--apply', '--from-csv', csvFile(house1, content)), {
          ...{ exitCode: 1, code: 'import_source', detail },
        })
      await refused('', /the file is empty/)
      await refused(`\uFEFF\n`, /the file is empty/)
      await refused(Buffer.from(`\uFEFF${HEADER}\n`, 'utf16le'), /UTF-16/)
      await refused(
        `${good}\n`,
        /has 9 cell.s. and names none of them: .* without column names.*expected: Nama, /s,
      )
      const named = rowOf('Budi', 'a', '2099-12-31', 'sk,NULL,NULL,NULL,3,2024-01-01')
      const halfNamed = HEADER.replace('Nama', 'Budi Santoso').replace('sck', '2099-12-31')
      for (const headless of [good, named, named.replaceAll(',', ';'), halfNamed]) {
        const told = await refusal(house1, '--from-csv', csvFile(house1, `${headless}\n${good}\n`))
        t.match(told, { exitCode: 1, code: 'import_source' })
        t.notMatch(told.detail, /budi|2099|2024/i)
        t.notMatch(told.detail, digestOf('a').slice(0, 8))
      }
      await refused(
        `${halfNamed}\n`,
        /unknown: what cell 1 holds, what cell 5 holds.*found: what cell 1 holds, "hwid_/s,
      )
      await refused(
        `${HEADER.replace('expiry_date', 'expires')}\n${good}\n`,
        /missing: "expiry_date"; unknown: "expires"/,
      )
      await refused(`${HEADER},NAMA\n`, /twice: "nama"/)
      await refused(`${HEADER}\n${good}\n"Siti,${good}\n`, /after 2 whole rows, near line 3.*never closed/)
      await refused(`${HEADER}\n${good}\nSi"ti,${good}\n`, /after 2 whole rows, near line 3.*inside a cell/)
      await refused(`${HEADER}\n${good}\n${rowOf('Siti', 'b').slice(0, 60)}`, /breaks off in line 3/)
      mkdirSync(join(house1.config.dataDir, 'directory'))
      const path = (name: string) => join(house1.config.dataDir, name)
      t.match(await refusal(house1, '--from-csv', path('directory')), { exitCode: 1, detail: /not a file/ })
      t.match(await refusal(house1, '--from-csv', path('nowhere.csv')), {
        exitCode: 1,
        detail: /no such file/,
      })
      t.match(await refusal(house1), { exitCode: 2, code: 'usage' })
      t.match(await refusal(house1, '--from-csv', 'a', '--from-mysql', 'mysql://h/d'), { exitCode: 2 })
      const report = await refusal(
        house1,
        '--from-csv',
        csvFile(house1, `${HEADER}\n`),
        '--report',
        '/nowhere/r.csv',
      )
      t.match(report, { exitCode: 5, code: 'set_up' })
      const nobody = await failure(house1.env, 'import', '--product', 'other', '--from-csv', 'nowhere.csv')
      t.match(nobody, { exitCode: 3, code: 'product_not_found' })
      t.same(await numbersOf(house1), all(0))
    })

    t.test('CSV comes in the forms that spreadsheets and dumps give it', async (t) => {
      const house1 = await house(t, database)
      const forms = [
        `\uFEFF${HEADER}\r\n${rowOf('Ann', '1')}\r\n\r\n${rowOf('Bob', '2')}\r\n`,
        `${HEADER.toUpperCase()}\n${rowOf('Cé', '3')}`.replaceAll(',', ';'),
        `${HEADER}\n${rowOf('Dee', '4')}\n`.replaceAll(',', '\t').replaceAll('NULL', '\\N'),
        `"status1_text","Nama","hwid_encrypted","sck","sk","expiry_date","id","maintenance"\n"","Eve","${digestOf('5')}","","","2099-01-01","9",NULL\n`,
      ]
      for (const form of forms)
        t.match(await imports(house1, '--apply', '--from-csv', csvFile(house1, form)), {
          code: 0,
          left_out: 0,
        })
      t.same(await numbersOf(house1), all(5))
      const rows = await json(house1.env, 'licences', 'list')
      t.same(rows.map(({ customer }: { customer: string }) => customer).sort(), [
        'Ann',
        'Bob',
        'Cé',
        'Dee',
        'Eve',
      ])
      t.match(
        rows.find(({ customer }: { customer: string }) => customer === 'Eve'),
        { sk: '', maintenance: null },
      )
    })

    t.test('the last row of a file that may be cut off in it is named', async (t) => {
      const house1 = await house(t, database)
      const header = 'Nama,hwid_encrypted,sk,sck,maintenance,status1_text,expiry_date'
      const line = (name: string, expiry: string) => `${name},${digestOf(name)},,,,,${expiry}`
      for (const bom of ['', '\uFEFF']) {
        const cut = `${bom}${header}\r\n${line('Bé', '2099-12-31 10:00:00')}\r\n${line('Siti', '2099-12-31')}`
        const report = await imports(house1, '--from-csv', csvFile(house1, cut))
        t.match(report, { code: 0, counts: { imported: 2, may_be_cut: 1 } })
        t.match(
          report.findings.find(({ finding }) => finding === 'may_be_cut'),
          { row: 3, customer: 'Siti' },
        )
      }
      const ends = ['2099-12-31\n', '2099-12-31\r\n', '"2099-12-31"']
      for (const expiry of ends) {
        const whole = csvFile(house1, `${header}\n${line('Siti', expiry)}`)
        t.same((await imports(house1, '--from-csv', whole)).counts, { imported: 1 }, expiry)
      }
    })

    t.test('run twice it changes nothing, and says what differs and how to change it', async (t) => {
      const house1 = await house(t, database)
      const rows = [rowOf('Budi', 'a', '2030-01-01'), rowOf('Siti', 'b', '2030-01-01')]
      const first = await importRows(house1, rows, '--apply')
      const before = await sql(house1, 'SELECT * FROM kunci_licences ORDER BY id')
      t.match(await importRows(house1, rows, '--apply'), { code: 0, counts: { known: 2 } })
      const id = first.findings.find(({ row }) => row === 3)?.licence_id
      const changed = [rows[0] ?? '', rowOf('Siti', 'b', '2031-01-01', ',NULL,NULL,NULL,0,NULL')]
      const differing = await importRows(house1, changed, '--apply')
      t.match(differing, { code: 0, counts: { known: 1, differs: 1 } })
      t.match(
        differing.findings.find(({ finding }) => finding === 'differs'),
        {
          row: 3,
          licence_id: id,
          detail: `kunci licences renew ${id} --expires 2031-01-01T00:00:00.000Z; kunci licences update ${id} --sk TEXT`,
        },
      )
      t.same(await sql(house1, 'SELECT * FROM kunci_licences ORDER BY id'), before)
      await json(house1.env, 'licences', 'renew', String(id), '--expires', '2031-01-01T00:00:00.000Z')
      await json(house1.env, 'licences', 'update', String(id), '--sk', '')
      t.match(await importRows(house1, changed), { counts: { known: 2 } })
      t.same(await numbersOf(house1), all(2))
    })

    t.test(
      'a customer is recognised at his first check, enrolled by it, and known by that from then on',
      async (t) => {
        const house1 = await house(t, database)
        await importRows(house1, [rowOf('Budi', HWID, '2099-12-31', 'own,NULL,NULL,NULL,0,NULL')], '--apply')
        const b = await bench(t, house1)
        t.match((await runProgram(b, 'another')).json(), { code: 'NOT_FOUND' })
        const granted = {
          message: 'Access granted',
          user: 'Budi',
          sk: 'own',
          expiry_date: '2099-12-31 00:00:00',
        }
        t.match((await runProgram(b, ' 12345-67890 ')).json(), granted)
        const types = async () =>
          (await sql(house1, 'SELECT type FROM kunci_device_components ORDER BY type')).map(
            ({ type }) => type,
          )
        t.same(await types(), ['old_hwid', 'volume'])
        const reasons = async () =>
          (await b.app.events.list({ type: 'licence_check_allowed', limit: 99 })).map(
            ({ detail }) => detail.reason,
          )
        t.same(await reasons(), ['device_enrolled'])
        t.match((await runProgram(b, HWID)).json(), granted)
        t.same((await reasons()).sort(), ['device_enrolled', 'known_device'])
        await sql(house1, "UPDATE kunci_device_components SET h = 'gone' WHERE type = 'old_hwid'")
        t.match((await runProgram(b, HWID)).json(), granted, 'by the private form alone')
        t.same(await types(), ['old_hwid', 'volume'])
      },
    )

    t.test('many first checks at once enrol the machine once, and all are granted', async (t) => {
      const house1 = await house(t, database)
      await importRows(house1, [rowOf('Budi', HWID)], '--apply')
      const b = await bench(t, house1)
      const replies = await Promise.all(Array.from({ length: 20 }, () => runProgram(b, HWID)))
      t.ok(replies.every((reply) => reply.json().message === 'Access granted'))
      t.match(await numbersOf(house1), { devices: 1, components: 2 })
      t.equal((await b.app.events.list({ type: 'licence_check_allowed', limit: 99 })).length, 20)
    })

    t.test('a machine that was released is not known by its old hash, but its row is', async (t) => {
      const house1 = await house(t, database)
      const { findings } = await importRows(house1, [rowOf('Budi', HWID)], '--apply')
      const id = String(findings[0]?.licence_id)
      await json(house1.env, 'devices', 'reset', id)
      const b = await bench(t, house1)
      t.match((await runProgram(b, HWID)).json(), { code: 'NOT_FOUND' })
      t.match(await importRows(house1, [rowOf('Budi', HWID)], '--apply'), { counts: { known: 1 } })
      const { key } = await json(house1.env, 'licences', 'issue-key', id)
      t.match((await runProgram(b, 'new machine', key)).json(), { user: 'Budi' })
      t.match((await runProgram(b, HWID, key)).json(), { code: 'NOT_FOUND' })
    })

    t.test('a key is issued once, and replaced only when that is said', async (t) => {
      const house1 = await house(t, database)
      const { findings } = await importRows(house1, [rowOf('Budi', HWID)], '--apply')
      const issue = ['licences', 'issue-key', String(findings[0]?.licence_id)]
      const { key } = await json(house1.env, ...issue)
      const b = await bench(t, house1)
      t.match((await runProgram(b, 'another', key)).json(), { code: 'NOT_FOUND' }, 'its machine is bound')
      t.match((await runProgram(b, HWID, key)).json(), { user: 'Budi' })
      t.match((await runProgram(b, HWID, key)).json(), { user: 'Budi' })
      t.match(await failure(house1.env, ...issue), {
        exitCode: 4,
        code: 'licence_key_exists',
        detail: /--replace/,
      })
      const replaced = await json(house1.env, ...issue, '--replace')
      t.match((await runProgram(b, HWID, key)).json(), { code: 'NOT_FOUND' }, 'the old key is void')
      t.match((await runProgram(b, HWID, replaced.key)).json(), { user: 'Budi' })
      const events = await b.app.events.list({ type: 'licence_key_issued', limit: 9 })
      t.same(
        events.map(({ detail }) => detail),
        [{ replaced: false }, { replaced: true }],
      )
      const issuing = Array.from({ length: 5 }, () =>
        b.app.licenceKeys.issue(ACTOR, issue[2] ?? '', { replace: true }),
      )
      const done = (await Promise.allSettled(issuing)).flatMap((result) =>
        result.status === 'fulfilled' ? result.value : [],
      )
      const good = await Promise.all(
        done.map(async (made) => (await runProgram(b, HWID, made.key)).json().user),
      )
      t.equal(good.filter((user) => user === 'Budi').length, 1, 'of several at once one is good')
      await json(house1.env, 'licences', 'revoke', issue[2] ?? '')
      t.match(await failure(house1.env, ...issue, '--replace'), { exitCode: 4, code: 'licence_state' })
      t.match(await failure(house1.env, 'licences', 'issue-key', 'lic_NONE'), { exitCode: 3 })
    })

    t.test(
      'a machine is recognised, and its row known, also under a pepper that was rotated out',
      async (t) => {
        const house1 = await house(t, database)
        await importRows(house1, [rowOf('Budi', HWID), rowOf('Siti', 'second')], '--apply')
        const file = join(house1.config.keysDir, 'hwid-pepper.json')
        const ring = JSON.parse(readFileSync(file, 'utf8'))
        ring.keys.k2 = Buffer.alloc(32, 'another pepper').toString('base64url')
        writeFileSync(file, JSON.stringify({ ...ring, current: 'k2' }), { mode: 0o600 })
        t.match(await importRows(house1, [rowOf('Budi', HWID)], '--apply'), { counts: { known: 1 } })
        const b = await bench(t, house1)
        t.match((await runProgram(b, HWID)).json(), { user: 'Budi' })
        const peppers = await sql(
          house1,
          "SELECT pepper_id FROM kunci_device_components WHERE type = 'volume'",
        )
        t.match(peppers, [{ pepper_id: 'k2' }], 'enrolled under the current one')
        t.match((await runProgram(b, HWID)).json(), { user: 'Budi' })
        t.match(await importRows(house1, [rowOf('Budi', HWID), rowOf('Siti', 'second')]), {
          counts: { known: 2 },
        })
      },
    )

    t.test('an imported licence and one of Kunci: a dead one never shadows a living one', async (t) => {
      const house1 = await house(t, database)
      await importRows(house1, [rowOf('Imported', HWID, '2050-01-01')], '--apply')
      const b = await bench(t, house1)
      const make = (expiresAtMs: number | null) =>
        b.app.licences.create(ACTOR, { productCode: 'demo', customer: 'Own', expiresAtMs, hwid: HWID })
      const user = async () => (await runProgram(b, HWID)).json().user
      await make(b.clock() + DAY_MS)
      t.equal(await user(), 'Imported', 'the one that ends later')
      const later = await make(null)
      t.equal(await user(), 'Own')
      await b.app.licences.revoke(ACTOR, later.licence.id, null)
      t.equal(await user(), 'Imported')
      const [imported] = (await b.app.licences.list({ limit: 9 })).filter(
        ({ customer }) => customer === 'Imported',
      )
      await b.app.licences.suspend(ACTOR, imported?.id ?? '', null)
      t.equal(await user(), 'Own')
      await json(house1.env, 'products', 'create', '--code', 'second', '--name', 'Second')
      const other = csvFile(house1, `${HEADER}\n${rowOf('Elsewhere', 'x1')}\n`)
      await json(house1.env, 'import', '--product', 'second', '--from-csv', other, '--apply')
      t.match(await failure(house1.env, 'import', '--product', 'none', '--from-csv', other), { exitCode: 3 })
      t.match(
        await imports(house1, '--from-csv', other),
        { counts: { imported: 1 } },
        'each product has its own',
      )
    })

    t.test('MySQL: times by the type of their column, whatever the zone of this machine', async (t) => {
      const house1 = await house(t, database)
      const { url, mysql } = await oldServer(t, { expiry: 'VARCHAR(40)' })
      const insert = 'INSERT INTO user_jce (Nama, hwid_encrypted, expiry_date) VALUES (?, ?, ?)'
      for (const [expiry, written, zone, expected] of [
        ['DATETIME', '2030-01-01 00:00:00', 'Asia/Jakarta', '2029-12-31T17:00:00.000Z'],
        ['DATETIME(6)', '2030-01-01 00:00:00.5', 'UTC', '2030-01-01T00:00:00.500Z'],
        ['DATE', '2030-01-01', 'Asia/Jakarta', '2029-12-31T17:00:00.000Z'],
        ['VARCHAR(40)', '2030-01-01 07:00', 'Asia/Jakarta', '2030-01-01T00:00:00.000Z'],
        ['TIMESTAMP', '2030-01-01 07:00:00', 'America/New_York', '2030-01-01T00:00:00.000Z'],
        ['INT', '1893456000', 'Asia/Jakarta', '2030-01-01T00:00:00.000Z'],
      ] as const) {
        await mysql.query('DELETE FROM user_jce')
        await mysql.query(`ALTER TABLE user_jce MODIFY expiry_date ${expiry} NULL`)
        await mysql.query(insert, [expiry, digestOf(expiry), written])
        await mysql.query(insert, ['Siti', digestOf('b'), null])
        await mysql.query(insert, ['Zero', digestOf('c'), 0])
        const report = await imports(house1, '--from-mysql', url, '--time-zone', zone, '--apply')
        t.equal(report.code, 6)
        const [made] = await json(house1.env, 'licences', 'list', '--limit', '1')
        t.match(made, { customer: expiry, expires_at: expected, sk: null }, `${expiry} in ${zone}`)
        const left = expiry.startsWith('VARCHAR')
          ? { expiry_missing: 1, expiry_unreadable: 1 }
          : { expiry_missing: 2 }
        t.match(report.counts, { imported: 1, ...left }, expiry)
        const notes = report.notes.join('\n')
        t.match(notes, expiry === 'TIMESTAMP' ? /is a TIMESTAMP, which is an instant/ : /expiry_date is/)
        t.match(notes, /order of reading, by id/)
        t.match(notes, /no table session_keys/)
      }
    })

    t.test(
      'MySQL: odd cells are reported, other schemas named, and the source is left as it is',
      async (t) => {
        const house1 = await house(t, database)
        const { url, mysql } = await oldServer(t, { id: false })
        await mysql.query(
          'ALTER TABLE user_jce MODIFY Nama BLOB, MODIFY hwid_encrypted VARCHAR(64) CHARACTER SET latin1',
        )
        const insert =
          'INSERT INTO user_jce (Nama, hwid_encrypted, expiry_date, status1_text) VALUES (?, ?, ?, ?)'
        await mysql.query(insert, [Buffer.from([0xff, 0x41]), digestOf('a'), '2030-01-01', null])
        await mysql.query(insert, ['Budi', digestOf('b'), '2030-01-01', 'x'.repeat(1_000_000)])
        await mysql.query(insert, ['Siti', digestOf('c'), '2030-01-01', 'café'])
        const before = await mysql.query('CHECKSUM TABLE user_jce')
        const stdin = await runKunci(
          ['import', '--product', 'demo', '--from-mysql', '-', '--apply', '--json'],
          house1.env,
          { stdin: `${url}\n` },
        )
        t.match(JSON.parse(stdin.stdout), {
          counts: { not_utf8: 1, text_unfit: 1, imported: 1 },
          notes: [/./, /no primary key/],
        })
        const [made] = await json(house1.env, 'licences', 'list')
        t.equal(made.status1_text, 'café')
        t.same((await mysql.query('CHECKSUM TABLE user_jce'))[0], before[0])
        await mysql.query('ALTER TABLE user_jce DROP COLUMN expiry_date')
        t.match(await refusal(house1, '--from-mysql', url), {
          code: 'import_source',
          detail: /no column expiry_date.*found: nama, hwid_/,
        })
        await mysql.query('RENAME TABLE user_jce TO users')
        t.match(await refusal(house1, '--from-mysql', url), {
          exitCode: 1,
          detail: /no table user_jce.*found: users/,
        })
        const away = await kunci(
          house1.env,
          'import',
          '--product',
          'demo',
          '--from-mysql',
          'mysql://root:s3cret@127.0.0.1:1/old',
        )
        t.match(away, { code: 1, stderr: /old on 127\.0\.0\.1:1, as root/ })
        const wrong = await kunci(
          house1.env,
          'import',
          '--product',
          'demo',
          '--from-mysql',
          'postgres://root:s3cret@h/old',
        )
        t.match(wrong, { code: 2, stderr: /must look like mysql/ })
        t.notMatch(away.stderr + wrong.stderr, 's3cret')
      },
    )

    t.test('MySQL: living session keys come along, wrapped, and open what was sealed before', async (t) => {
      const house1 = await house(t, database, {
        JWT_SECRET: 'of the old server, which signed the tokens in the field',
      })
      const { url, mysql } = await oldServer(t)
      await mysql.query(
        `CREATE TABLE session_keys (id INT AUTO_INCREMENT PRIMARY KEY, session_id VARCHAR(64), session_key VARCHAR(128),
         session_iv VARCHAR(64), client_ip VARCHAR(45), created_at TIMESTAMP NULL, expires_at DATETIME NULL)`,
      )
      const [key, iv] = ['0123456789abcdef'.repeat(4), 'A0'.repeat(16)]
      const insert = (id: string, sessionKey: string, minutes: number) =>
        mysql.query(
          'INSERT INTO session_keys (session_id, session_key, session_iv, client_ip, created_at, expires_at) VALUES (?, ?, ?, ?, NOW(), NOW() + INTERVAL ? MINUTE)',
          [id, sessionKey, iv, '198.51.100.7', minutes],
        )
      await insert('living', key, 5)
      await insert('dead', key, -1)
      await insert('odd', `w1.L0.k1.${'A'.repeat(80)}`, 5)
      await insert('bad id', key, 5)
      await insert('endless', key, 5)
      await mysql.query(
        "UPDATE session_keys SET expires_at = '9999-12-31 23:59:59' WHERE session_id = 'endless'",
      )
      await mysql.query('INSERT INTO user_jce (Nama, hwid_encrypted, expiry_date) VALUES (?, ?, ?)', [
        'Budi',
        digestOf(HWID),
        '2099-01-01',
      ])
      const order = ['--from-mysql', url, '--time-zone', 'Asia/Jakarta', '--apply']
      const counts = { session_key_expired: 1, session_key_unfit: 3 }
      t.match(await imports(house1, ...order), { code: 0, counts: { session_key_imported: 1, ...counts } })
      t.match(await imports(house1, ...order), { code: 0, counts: { session_key_known: 1, ...counts } })
      t.match(await sql(house1, 'SELECT session_id, session_key FROM session_keys'), [
        { session_id: 'living', session_key: /^w1\.L0\./ },
      ])
      const b = await bench(t, house1)
      const nowS = Math.floor(Date.now() / 1000)
      const claims = {
        session_id: 'living',
        key,
        iv,
        ip: '',
        purpose: 'hwid_encryption',
        iat: nowS,
        exp: nowS + 300,
        jti: 'x',
      }
      const token = (b.server as unknown as { jwt: { sign(claims: object): string } }).jwt?.sign(claims)
      if (token !== undefined)
        t.match((await postCheck(b, token, { hwid: encrypt(claims, HWID) })).json(), { user: 'Budi' })
      const opened = await b.app.checks.legacy({
        session: { sessionId: 'living', keyHex: key, ivHex: iv, rowMark: claims.jti },
        ...{ payload: encrypt(claims, HWID), licenceKey: undefined },
        ...{ address: '198.51.100.7', supportCode: 'AAAAA-BBBBB' },
      })
      t.match(opened, { kind: 'granted', licence: { customer: 'Budi' } })

      if (house1.config.databaseUrl !== undefined) {
        const own = await createConnection(house1.config.databaseUrl)
        t.teardown(() => own.destroy())
        await createOldTable(own)
        const same = await imports(house1, '--from-mysql', house1.config.databaseUrl)
        t.match(same.notes.join('\n'), /belongs to a Kunci/)
        t.equal(same.counts.session_key_unfit, undefined)
      }
    })

    t.test('a source that dies while it is read has changed nothing', async (t) => {
      const server = await startMariadb()
      t.teardown(() => server.kill())
      const house1 = await house(t, database)
      const url = await server.createDatabase('old')
      const mysql = await createConnection(url)
      mysql.on('error', () => undefined)
      await createOldTable(mysql)
      await fill(mysql, MANY)
      let isKilled = false
      const failed = await asOperator(house1, async (app) => {
        const wish = { source: { kind: 'mysql', url } as const, productCode: 'demo', timeZone: 'UTC' }
        const tell = () => {
          if (!isKilled) void server.kill()
          isKilled = true
        }
        return app.imports.plan(wish, tell).catch((error: unknown) => error)
      })
      t.match(failed, { code: 'import_source', detail: /the connection was lost after \d+ rows of user_jce/ })
      t.same(await numbersOf(house1), all(0))
      mysql.destroy()
    })

    t.test('a hundred thousand rows come over, and the last of them is recognised', async (t) => {
      const house1 = await largeHouse(t, database)
      const { url, mysql } = await oldServer(t)
      await fill(mysql, MANY)
      t.match(await imports(house1, '--from-mysql', url, '--apply'), { code: 0, counts: { imported: MANY } })
      t.same(await numbersOf(house1), all(MANY))
      t.match((await runProgram(await bench(t, house1), '99999')).json(), { user: 'Customer 99999' })
    })

    t.test('killed again and again while writing, it goes on and ends complete', async (t) => {
      const house1 = await largeHouse(t, database)
      const rows = Array.from({ length: 20_000 }, (_, i) => rowOf(`Customer ${i}`, `machine${i}`))
      const file = csvFile(house1, `${[HEADER, ...rows].join('\n')}\n`)
      const written = async () => (await numbersOf(house1)).licences ?? 0
      for (let i = 1; i <= 3; i++) {
        const before = await written()
        const victim = spawnKunci(['import', '--product', 'demo', '--from-csv', file, '--apply'], house1.env)
        await until('some rows are written', async () => (await written()) > before, 60_000)
        await victim.kill('SIGKILL')
        const now = await written()
        t.same(await numbersOf(house1), all(now), 'each batch is whole, and in the record')
        t.ok(now < rows.length, `${now} rows after kill ${i}`)
      }
      const known = await written()
      const last = await imports(house1, '--from-csv', file, '--apply')
      t.match(last, { code: 0, counts: { imported: rows.length - known, known } })
      t.same(await numbersOf(house1), all(rows.length))
    })

    t.test('two imports at the same moment write every row once', async (t) => {
      const house1 = await largeHouse(t, database)
      const rows = Array.from({ length: 3000 }, (_, i) => rowOf(`Customer ${i}`, `machine${i}`))
      const file = csvFile(house1, `${[HEADER, ...rows].join('\n')}\n`)
      const shifted = csvFile(house1, `${[HEADER, ...rows.slice(100), ...rows.slice(0, 100)].join('\n')}\n`)
      const order = (path: string) => ['import', '--product', 'demo', '--from-csv', path, '--apply', '--json']
      const runs = await Promise.all([file, file, shifted].map((path) => runKunci(order(path), house1.env)))
      const reports = runs.map(({ code, stdout, stderr }): Report => {
        t.equal(code, 0, stderr)
        return JSON.parse(stdout)
      })
      const sum = (name: string) => reports.reduce((total, { counts }) => total + (counts[name] ?? 0), 0)
      t.equal(sum('imported'), 3000)
      t.equal(sum('known'), 6000)
      t.same(await numbersOf(house1), all(3000))
    })

    t.test('an import that breaks off while it writes says what it did', async (t) => {
      const house1 = await house(t, database)
      const refuses = '(SELECT COUNT(*) FROM kunci_licences) >= 512'
      await sql(
        house1,
        database.name === 'SQLite'
          ? `CREATE TRIGGER no_room BEFORE INSERT ON kunci_licences WHEN ${refuses}
             BEGIN SELECT RAISE(ABORT, 'there is no room'); END`
          : `CREATE TRIGGER no_room BEFORE INSERT ON kunci_licences FOR EACH ROW IF ${refuses}
             THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'there is no room'; END IF`,
      )
      const rows = Array.from({ length: 600 }, (_, i) => rowOf(`Customer ${i}`, `machine${i}`))
      const file = csvFile(house1, `${[HEADER, ...rows, 'too,few'].join('\n')}\n`)
      const report = join(house1.config.dataDir, 'report.csv')
      const order = ['--from-csv', file, '--apply']
      const broken = await refusal(house1, ...order, '--report', report)
      t.match(broken, { exitCode: 1, status: 'error' })
      t.match(JSON.stringify(broken), /there is no room/)
      const told = JSON.parse(broken.stdout)
      t.match(told, { applied: true, complete: false, counts: { imported: 512, cell_count: 1 } })
      const ids = (await sql(house1, 'SELECT id FROM kunci_licences')).map(({ id }) => id)
      t.same(told.findings.flatMap(({ licence_id }: Finding) => licence_id ?? []).sort(), ids.sort())
      t.equal(readFileSync(report, 'utf8').split('\n').length, 1 + 512 + 1 + 1)
      const { stdout, stderr } = await kunci(house1.env, 'import', '--product', 'demo', ...order)
      t.match(stdout, /^This broke off\..*In Kunci already, and the same: 512/s)
      t.match(stderr, /there is no room/)
      await sql(house1, 'DROP TRIGGER no_room')
      t.match(await imports(house1, ...order), {
        ...{ complete: true, counts: { known: 512, imported: 88, cell_count: 1 } },
      })
    })

    t.test('a report takes the place of an earlier report, and of nothing else', async (t) => {
      const house1 = await house(t, database)
      const content = `${HEADER}\n${rowOf('Budi', 'a')}\n`
      const source = csvFile(house1, content)
      const path = (name: string) => join(house1.config.dataDir, name)
      symlinkSync(source, path('symlink.csv'))
      linkSync(source, path('link.csv'))
      for (const same of [source, path('symlink.csv'), path('link.csv')]) {
        const told = await refusal(house1, '--from-csv', source, '--report', same)
        t.match(told, {
          exitCode: 2,
          code: 'usage',
          message: /--report names the file that --from-csv reads/,
        })
        t.equal(readFileSync(source, 'utf8'), content)
      }
      for (const place of ['/dev/null', house1.config.dataDir])
        t.match(await refusal(house1, '--from-csv', source, '--report', place), {
          ...{ exitCode: 5, code: 'set_up', message: /an ordinary file/ },
        })
      const other = csvFile(house1, 'not a report\n')
      t.match(await refusal(house1, '--from-csv', source, '--report', other), {
        ...{ exitCode: 5, code: 'set_up', message: /is no report of an import/ },
      })
      t.equal(readFileSync(other, 'utf8'), 'not a report\n')
      symlinkSync(path('report.csv'), path('latest.csv'))
      await imports(house1, '--from-csv', source, '--report', path('report.csv'))
      const earlier = readFileSync(path('report.csv'), 'utf8')
      t.match(earlier, /^finding,.*\nimported,2,Budi,/)
      await refusal(house1, '--from-csv', path('nowhere.csv'), '--report', path('report.csv'))
      t.equal(readFileSync(path('report.csv'), 'utf8'), earlier, 'one that fails leaves it')
      await imports(house1, '--from-csv', source, '--report', path('latest.csv'), '--apply')
      await imports(house1, '--from-csv', source, '--report', path('latest.csv'))
      t.match(readFileSync(path('report.csv'), 'utf8'), /\nknown,2,Budi,/, 'a link leads to it')
      t.same(
        readdirSync(house1.config.dataDir).filter((name) => name.endsWith('.draft')),
        [],
      )
    })

    t.test("the report steers neither terminal nor spreadsheet, and its file is its owner's", async (t) => {
      const house1 = await house(t, database)
      const path = join(house1.config.dataDir, 'report.csv')
      writeFileSync(path, 'finding,row,customer,hash,licence_id,detail\n', { mode: 0o644 })
      const rows = [rowOf('=HYPERLINK(1)', 'a'), rowOf('\u001b[2J\u202eoops', 'b'), rowOf('"+1,""2"""', 'c')]
      const hidden = ['A;=1+1', ' =1', 'B| @SUM', '"C;""=1"', 'Smith;-Jones, Ann-Marie'].map((name, i) =>
        rowOf(name.includes(',') ? `"${name}"` : name, `hidden${i}`),
      )
      const twelve = Array.from({ length: 12 }, (_, i) => rowOf('@SUM', `more${i}`, 'soon'))
      const file = csvFile(house1, `${[HEADER, ...rows, ...twelve, ...hidden].join('\n')}\n`)
      const { code, stdout } = await kunci(
        house1.env,
        'import',
        '--product',
        'demo',
        '--from-csv',
        file,
        '--report',
        path,
      )
      t.equal(code, 6)
      t.match(stdout, /nothing was written. To do it, add --apply/)
      t.match(stdout, /no date written YYYY-MM-DD.*: 12\n(?: {2}row .*\n){10} {2}… and 2 more/)
      const written = readFileSync(path, 'utf8')
      t.notOk(['\u001b', '\u202e'].some((char) => stdout.includes(char) || written.includes(char)))
      t.equal(statSync(path).mode & 0o777, 0o600)
      t.equal(written.split('\n').length, 1 + rows.length + twelve.length + hidden.length + 1)
      t.match(written, /imported,2,'=HYPERLINK\(1\),/)
      t.match(written, /imported,4,"'\+1,""2""",/)
      for (const cell of [`A;'=1+1`, `' =1`, `B|' @SUM`, `"C;'""=1"`, `"Smith;'-Jones, Ann-Marie"`])
        t.match(written, `,${cell},`)
      t.notMatch(written, /[,;|][\s"]*[=+@]/)
      t.notMatch(stdout + written, digestOf('a').slice(0, 9))
    })
  })
}
