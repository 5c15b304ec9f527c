import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { Command } from '../../src/cli/command.ts'
import { EXIT } from '../../src/cli/failure.ts'
import { COMMON_OPTIONS, optionDoc, optionsOf, placeholder, spelling } from '../../src/cli/help.ts'
import { facts, jsonText } from '../../src/cli/output.ts'
import { COMMANDS } from '../../src/cli/run.ts'
import { asExpiry } from '../../src/cli/values.ts'
import { failure, json, kunci } from '../support/cli.ts'
import { DATABASES, type TestEnv } from '../support/databases.ts'
import { install, serve } from '../support/installation.ts'
import { freePort, runKunci, spawnKunci } from '../support/server.ts'

const nameOf = ({ path }: Command) => path.join(' ')
const examples = COMMANDS.map((command): [string, Command] => [nameOf(command), command])
const unwrapped = (text: string) => text.replace(/\s+/g, ' ')

t.test('the help of every command has its options, arguments, an example and the exit codes', async (t) => {
  for (const [name, command] of examples) {
    const { code, stdout, stderr } = await kunci({}, ...command.path, '--help')
    t.same({ code, stderr }, { code: 0, stderr: '' }, name)
    const text = unwrapped(stdout)
    t.match(text, `Usage: kunci ${name}`)
    t.match(text, command.summary)
    t.match(command.summary, /^[A-Z].*\.$/, `${name}: the summary is a sentence`)
    for (const [option, row] of Object.entries(optionsOf(command)))
      t.match(text, `${spelling(option, row)} ${optionDoc(row)}`)
    for (const positional of command.positionals)
      t.match(text, `${placeholder(positional.name)} ${positional.doc}`)
    t.ok(command.example.startsWith(`kunci ${name}`), `${name}: the example is of this command`)
    t.match(text, `Example: ${command.example}`)
    for (const [exitCode, meaning] of Object.values(EXIT)) t.match(text, `${exitCode} ${meaning}`)
    t.notOk(/.{101}/.test(stdout.replace(command.example, '')), `${name}: no line is longer than 100`)
  }
})

t.test('every example is understood by the parser', async (t) => {
  for (const [name, { example }] of examples) {
    const argv = [...example.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
    const { code } = await kunci({ PORT: 'none' }, ...argv.slice(1))
    t.equal(code, 5, `${name} stops at the settings, not before`)
  }
})

t.test('every command takes --json, also for its errors', async (t) => {
  for (const [name, command] of examples) {
    const { exitCode, stdout, ...error } = await failure({}, ...command.path, '--nonsense')
    t.same({ exitCode, stdout }, { exitCode: 2, stdout: '' }, name)
    t.same(error, {
      status: 'error',
      code: 'usage',
      message: `kunci ${name} has no option --nonsense.`,
      detail: null,
    })
  }
})

t.test('the general help lists every command, that of a noun its own', async (t) => {
  for (const argv of [[], ['--help'], ['-h'], ['--json', '--help']]) {
    const { code, stdout } = await kunci({}, ...argv)
    t.equal(code, 0)
    for (const [name, command] of examples) t.match(unwrapped(stdout), `${name} ${command.summary}`)
  }
  const { code, stdout } = await kunci({}, 'licences', '--help')
  t.equal(code, 0)
  for (const [name, { path }] of examples)
    t.equal(stdout.includes(`  ${name} `), path[0] === 'licences', name)
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  t.same(await kunci({}, '--version'), { code: 0, stdout: `${version}\n`, stderr: '' })
})

t.test('a command line that cannot be understood ends with 2 and says what was meant', async (t) => {
  const cases: [argv: string, stderr: RegExp][] = [
    ['licence list', /no command "licence list"\. Did you mean "licences list"\?/],
    ['licences lits', /Did you mean "licences list"\?/],
    ['licences', /"licences" needs one more word: create, list, show/],
    ['xyzzy', /^kunci: There is no command "xyzzy"\.\nRun: kunci --help\n$/],
    ['migrate statsu', /Did you mean "migrate status"\?/],
    ['licences create --customer Budi', /--product is missing/],
    ['licences create', /--product and --customer are missing/],
    ['licences show', /ID is missing\. Usage: kunci licences show ID/],
    ['licences show lic_1 lic_2', /what is "lic_2" for\?/],
    ['licences list --stat active', /no option --stat\. Did you mean "--state"\?/],
    ['licences list -x', /no option -x/],
    ['licences list --limit', /'--limit <value>' argument missing/],
    ['licences list --json=1', /'--json' does not take an argument/],
    ['licences list --limit 1 --limit 2', /--limit is given twice/],
    ['licences list --limit 0', /--limit must be a whole number from 1 to 10000, not "0"/],
    ['licences list --limit 1e3', /--limit must be/],
    ['licences list --state dead', /--state must be one of active, suspended, revoked, not "dead"/],
    ['licences renew lic_1', /--expires or --perpetual/],
    ['licences renew lic_1 --perpetual --expires 2030-01-01', /--expires or --perpetual/],
    ['licences renew lic_1 --expires 2030-02-30', /--expires must be a date such as/],
    ['licences update lic_1', /nothing to change/],
    ['licences update lic_1 --sk x --inherit sk', /contradict/],
    ['licences update lic_1 --inherit customer', /--inherit must be one of sk,/],
    ['products update demo', /nothing to change/],
    ['products update demo --legacy yes', /--legacy must be one of on, off, not "yes"/],
    ['events list --type nothing', /--type must be one of licence_check_allowed,/],
  ]
  for (const [argv, message] of cases) {
    const { code, stdout, stderr } = await kunci({}, ...argv.split(' '))
    t.same({ code, stdout }, { code: 2, stdout: '' }, argv)
    t.match(stderr, message, argv)
    t.match(stderr, /^kunci: .*\n(.*\n)*Run: kunci .*--help\n$/, argv)
  }
})

t.test('a date ends with its day, a time without zone is UTC, and what is no date is none', async (t) => {
  const at = (text: string) => new Date(asExpiry(text)).toISOString()
  t.equal(at('2030-12-31'), '2030-12-31T23:59:59.000Z')
  t.equal(at('2028-02-29'), '2028-02-29T23:59:59.000Z')
  t.equal(at('2030-12-31T17:00'), '2030-12-31T17:00:00.000Z')
  t.equal(at('2030-12-31T17:00:30Z'), '2030-12-31T17:00:30.000Z')
  t.equal(at('2030-12-31 17:00:00.5+07:00'), '2030-12-31T10:00:00.500Z')
  const none = [
    '',
    'soon',
    '2030',
    '2030-13-01',
    '2030-02-29',
    '31.12.2030',
    '2030-12-31T25:00',
    '2030-1-1',
    '12',
  ]
  for (const text of none) t.throws(() => asExpiry(text), /must be a date/, text)
})

t.test('all mistakes in the settings are told at once, by every command', async (t) => {
  const env = {
    PORT: 'high',
    LOG_LEVEL: 'loud',
    TLS_CERT: 'x',
    DATABASE_URL: 'postgres://kunci:hunter2@db/x',
  }
  for (const argv of [['config'], ['licences', 'list'], ['serve'], ['migrate', 'status']]) {
    const { code, stderr } = await kunci(env, ...argv)
    t.equal(code, 5)
    for (const mistake of [/PORT must be/, /LOG_LEVEL must be/, /TLS_CERT and TLS_KEY/, /DATABASE_URL must/])
      t.match(stderr, mistake)
    t.notMatch(stderr, 'hunter2')
  }
  t.match(await failure(env, 'config'), { exitCode: 5, code: 'set_up', stdout: '' })
  t.match((await kunci(env, 'config')).stdout, /^PORT +high +set$/m, 'what is in force is shown all the same')
})

t.test('config shows what is in force and masks secrets', async (t) => {
  const env = { PORT: '8080', DATABASE_URL: 'mysql://kunci:hunter2@db:3306/kunci', JWT_SECRET: 'opensesame' }
  const settings: { name: string; value: string | null; source: string }[] = await json(env, 'config')
  const of = (wanted: string) => settings.find(({ name }) => name === wanted)
  t.match(of('DATABASE_URL'), { value: 'mysql://kunci:***@db:3306/kunci', source: 'set' })
  t.match(of('JWT_SECRET'), { value: '***', source: 'set' })
  t.match(of('PORT'), { value: '8080', source: 'set' })
  t.match(of('HOST'), { value: '127.0.0.1', source: 'default' })
  t.match(of('TLS_CERT'), { value: null, source: 'unset' })
  const { stdout } = await kunci(env, 'config')
  t.match(stdout, /^JWT_SECRET +\*\*\* +set$/m)
  t.notMatch(stdout, /hunter2|opensesame/)
})

t.test('nothing that is printed steers the terminal, and JSON reads back as it was', async (t) => {
  const nasty = 'a\u001b[2Jb\nc\u009bd\u202ee'
  t.equal(facts({ text: nasty, none: null }), 'text  a\\u001b[2Jb\\nc\\u009bd\\u202ee\nnone  -')
  t.notMatch(jsonText({ [nasty]: [nasty] }), /[^\n\x20-\x7e]/)
  t.same(JSON.parse(jsonText({ [nasty]: [nasty] })), { [nasty]: [nasty] })
})

t.test('a database that cannot be reached is named, its password is not', async (t) => {
  const env = { DATABASE_URL: `mysql://kunci:hunter2@127.0.0.1:${await freePort()}/shop` }
  for (const argv of [['products', 'list'], ['migrate'], ['migrate', 'status'], ['serve']]) {
    const { code, stderr } = await kunci({ ...env, DATA_DIR: t.testdirName }, ...argv)
    t.equal(code, 5)
    t.match(stderr, /^kunci: The database shop on 127\.0\.0\.1:\d+ cannot be used as kunci: .*ECONNREFUSED/)
    t.notMatch(stderr, 'hunter2')
  }
})

t.test('.env is read, the environment wins, and one that cannot be read stops', async (t) => {
  const cwd = t.testdir({ '.env': '\uFEFFPORT=4001\nHOST="::1"\n', broken: { '.env': {} } })
  const settings = async (env: TestEnv) =>
    JSON.parse((await runKunci(['config', '--json'], env, { cwd })).stdout)
  t.match(await settings({}), [
    { name: 'HOST', value: '::1' },
    { name: 'PORT', value: '4001' },
  ])
  t.match(await settings({ PORT: '4002' }), [
    { name: 'HOST', value: '::1' },
    { name: 'PORT', value: '4002' },
  ])
  const { code, stderr } = await runKunci(['config'], {}, { cwd: join(cwd, 'broken') })
  t.equal(code, 5)
  t.match(stderr, /^kunci: \.env cannot be read/)
})

t.test('a data directory that cannot be made is a matter of set-up', async (t) => {
  const directory = t.testdir({ file: '' })
  t.match(await failure({ DATA_DIR: join(directory, 'file', 'data') }, 'licences', 'list'), {
    exitCode: 5,
    code: 'set_up',
  })
})

t.test('the first command on SQLite says that it made keys, the next does not', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'data') }
  const first = await kunci(env, 'products', 'list')
  t.equal(first.code, 0)
  t.match(first.stderr, /back them up:\n.*kek\.json/)
  t.match(first.stdout, /^There is no product yet\.\n$/)
  t.equal((await kunci(env, 'products', 'list')).stderr, '')
  const other = { DATA_DIR: join(t.testdir(), 'other') }
  t.match(JSON.parse((await kunci(other, 'products', 'list', '--json')).stderr), { status: 'note' })
})

t.test('tls init makes a certificate for DATA_DIR, and says what to put into .env', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'my data') }
  const { code, stdout } = await kunci(env, 'tls', 'init', '--host', 'a.example', '--host', 'b.example')
  t.equal(code, 0)
  const directory = join(env.DATA_DIR, 'tls')
  t.match(
    stdout,
    `TLS_CERT='${join(directory, 'server.pem')}'\nTLS_KEY='${join(directory, 'server-key.pem')}'`,
  )
  t.match(await json(env, 'tls', 'init'), { cert_path: join(directory, 'server.pem'), created: false })
  t.match(await failure(env, 'tls', 'init', '--force', '--ip', 'nowhere'), {
    exitCode: 2,
    code: 'invalid_argument',
    detail: /nowhere/,
  })
  t.match(await failure(env, 'tls', 'init', '--force', '--host', 'c.example'), {
    exitCode: 5,
    code: 'set_up',
    message: /may not certify c\.example/,
  })
})

t.test('a setting, a key or a port that is not as it must be stops serve with 5', async (t) => {
  const directory = t.testdir()
  const env = { DATA_DIR: join(directory, 'data'), LOG_LEVEL: 'silent' }
  const port = await freePort()
  const squatter = createServer().listen(port, '127.0.0.1')
  t.teardown(() => squatter.close())
  const taken = await runKunci(['serve', '--json'], { ...env, PORT: String(port) })
  t.equal(taken.code, 5)
  t.match(JSON.parse(taken.stderr), { status: 'error', code: 'set_up', message: /Cannot listen on/ })
  const noCertificate = await runKunci(['serve'], { ...env, TLS_CERT: 'none.pem', TLS_KEY: 'none.pem' })
  t.equal(noCertificate.code, 5)
  t.match(noCertificate.stderr, /^kunci: .*none\.pem/)
  writeFileSync(join(env.DATA_DIR, 'keys', 'kek.json'), '{}')
  const brokenKey = await runKunci(['serve'], env)
  t.equal(brokenKey.code, 5)
  t.match(brokenKey.stderr, /^kunci: .*kek\.json: .*\n?.*backup/)
})

t.test('serve --hints ends with lines that work when they are pasted', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'data'), PORT: String(await freePort()) }
  const server = spawnKunci(['serve', '--hints'], env)
  t.teardown(() => server.kill('SIGKILL'))
  await server.waitForLine(/npm run client/)
  await server.waitReady()
  const pasted = server.stderr.filter((line) => line.startsWith('  npm run ')).map((line) => line.trim())
  t.equal(pasted.length, 3)
  t.equal(
    server.stderr.findLast((line) => line !== ''),
    `  ${pasted[2]}`,
  )
  t.equal(pasted[2], `npm run client -- --hwid 1234567890 --url http://127.0.0.1:${env.PORT}`)
  for (const line of pasted.slice(0, 2)) {
    const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
    t.same(words.slice(0, 5), ['npm', 'run', '-s', 'kunci', '--'])
    t.equal((await kunci(env, ...words.slice(5))).code, 0, line)
  }
  t.same(await server.kill('SIGTERM'), { code: 0, signal: null })
  const events = server.stdout.map((line) => JSON.parse(line).event)
  t.match(events, ['keys.created'])
  t.ok(events.includes('server.listening'))
  t.equal(events.at(-1), 'server.stopped')

  const again = spawnKunci(['serve', '--hints'], env)
  t.teardown(() => again.kill('SIGKILL'))
  await again.waitForLine(/Kunci listens on/)
  t.same(await again.kill('SIGINT'), { code: 0, signal: null })
  t.notMatch(again.stderr.join('\n'), /There is no product/)
})

t.test('serve warns of what an operator should know', async (t) => {
  const settings = { HOST: '0.0.0.0', JWT_SECRET: 'short' }
  const { kunci: server } = await serve(t, await install(t, DATABASES[0]!, settings))
  await server.kill('SIGTERM')
  const warnings = server.stdout.map((line) => JSON.parse(line)).filter(({ level }) => level === 40)
  t.same(
    warnings.map(({ event }) => event),
    ['keys.created', 'server.plain_http', 'settings.short_jwt_secret'],
  )
  t.notMatch(server.stdout.join('\n'), '"short"')
})

t.test('docs/cli.md names every command with its options, and no other', async (t) => {
  const manual = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8')
  const cells = (text: string) =>
    [...text.matchAll(/^\| `?([^`|]*(?:\\\|[^`|]*)*)`? \| (.*) \|$/gm)]
      .map(([, term = '', doc = '']) => [term.replaceAll('\\|', '|'), doc.replaceAll('\\|', '|')])
      .filter(([term]) => term !== '---' && term !== 'argument' && term !== 'code')
  const [head = '', ...sections] = manual.split(/^### kunci /m)
  const codes = Object.values(EXIT).map(([code, meaning]) => [String(code), meaning])
  const common = Object.entries(COMMON_OPTIONS).map(([name, row]) => [spelling(name, row), optionDoc(row)])
  t.same(cells(head), [...common, ...codes])
  t.same(
    sections.map((section) => section.split('\n', 1)[0]),
    COMMANDS.map(nameOf),
  )
  for (const [i, command] of COMMANDS.entries()) {
    const section = sections[i] ?? ''
    t.same(cells(section), [
      ...command.positionals.map(({ name, doc }) => [placeholder(name), doc]),
      ...Object.entries(command.options).map(([name, row]) => [spelling(name, row), optionDoc(row)]),
    ])
    t.match(section, command.summary)
    t.match(section, `\`\`\`sh\n${command.example}\n\`\`\``)
  }
})
