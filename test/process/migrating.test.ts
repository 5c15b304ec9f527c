import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createConnection } from 'mysql2/promise'
import t from 'tap'
import { spawnGuarded } from '../support/children.ts'
import { until } from '../support/installation.ts'
import { claimsOf, encrypt } from '../support/legacy.ts'
import { startMariadb } from '../support/mariadb.ts'
import { findNginx } from '../support/nginx.ts'
import { freePort, spawnKunci } from '../support/server.ts'

const run = promisify(execFile)

const ROOT = new URL('../../', import.meta.url).pathname
const MANUAL = readFileSync(`${ROOT}docs/migrating.md`, 'utf8')
const HAND_OUT = '/api/auth/get-session-key.php'
const CHECK = '/api/1.php'
/** The address that the manual sends to Kunci first. */
const CHOSEN = '127.0.0.2'
const OTHER = '127.0.0.3'
const HWID = '1234567890'
/** The exit code of an import that leaves rows out. */
const INCOMPLETE = 6

const OLD_TABLES = `
  CREATE TABLE user_jce (
    id INT AUTO_INCREMENT PRIMARY KEY, Nama VARCHAR(100), hwid_encrypted VARCHAR(64), expiry_date DATETIME,
    sk TEXT, sck TEXT, maintenance VARCHAR(10), status1_text TEXT, counter INT DEFAULT 0, last_login DATETIME
  );
  CREATE TABLE session_keys (
    id INT AUTO_INCREMENT PRIMARY KEY, session_id VARCHAR(64) NOT NULL UNIQUE, session_key VARCHAR(128) NOT NULL,
    session_iv VARCHAR(64) NOT NULL, client_ip VARCHAR(45) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, expires_at TIMESTAMP NULL
  );
  INSERT INTO user_jce (Nama, hwid_encrypted, expiry_date, sk, sck, maintenance, status1_text, counter) VALUES
    ('Budi', '${sha256(HWID)}', '2099-01-02 10:00:00', 'sk of Budi', 'sck of Budi', 'no', 'Hello', 7),
    ('Siti', '${sha256('87654321')}', '0000-00-00 00:00:00', '', '', 'no', '', 0);
`

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** The manual's blocks of one language, in order, with the ports of this run. */
function blocks(language: string, ports: Readonly<Record<string, number>>): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms')
  return [...MANUAL.matchAll(fence)].map(([, text = '']) =>
    Object.entries(ports).reduce(
      (block, [port, own]) => block.replaceAll(port, `${port.replace(/\d+$/, '')}${own}`),
      text,
    ),
  )
}

type Reply = { readonly status: number; readonly text: string }

/** A request as the old program sends it, from one of this machine's own addresses. */
function ask(
  port: number,
  path: string,
  localAddress: string,
  token?: string,
  body?: unknown,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const options = {
      host: '127.0.0.1',
      port,
      path,
      method: 'POST',
      localAddress,
      headers,
      agent: false as const,
    }
    const sent = request(options, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    sent.on('error', reject)
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

async function checkFrom(port: number, address: string): Promise<Record<string, unknown>> {
  const handedOut = JSON.parse((await ask(port, HAND_OUT, address)).text)
  if (handedOut.server === 'old') return handedOut
  const token: string = handedOut.session_token
  return JSON.parse((await ask(port, CHECK, address, token, { hwid: encrypt(claimsOf(token), HWID) })).text)
}

t.test('docs/migrating.md, step by step: an old database, nginx and the old program', async (t) => {
  const directory = t.testdir()
  const nginxBinary = findNginx() ?? 'nginx'
  const old = createServer((_request, response) => response.end('{"server":"old"}'))
  await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve))
  t.teardown(() => old.close())
  const mariadb = await startMariadb()
  t.teardown(() => mariadb.stop())
  const root = await createConnection({ uri: mariadb.rootUrl(), multipleStatements: true, dateStrings: true })
  t.teardown(() => root.destroy())
  await root.query("SET sql_mode = ''; CREATE DATABASE jce; USE jce")
  await root.query(OLD_TABLES)

  const ports = {
    ':3306': mariadb.port,
    'PORT=3000': await freePort(),
    ':8080': (old.address() as AddressInfo).port,
    'listen 80': await freePort(),
  }
  const kunciPort = ports['PORT=3000']
  const own = { ...ports, ':3000': kunciPort }
  const [prepare = '', leave = ''] = blocks('sql', own)
  const [env = ''] = blocks('ini', own)
  const [setUp = '', look = '', bring = '', tryOut = '', follow = '', tidyUp = ''] = blocks('sh', own)
  const [site = ''] = blocks('nginx', own)

  const bin = join(directory, 'bin')
  mkdirSync(bin)
  const program = (name: string, command: string) =>
    writeFileSync(join(bin, name), `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 })
  program('kunci', `'${process.execPath}' '${ROOT}src/bin.ts'`)
  program(
    'npm',
    `sh -c 'while [ "$1" != -- ]; do shift; done; shift; exec "${process.execPath}" "${ROOT}examples/desktop-tool.ts" "$@"' npm`,
  )
  const shell = async (script: string, exitCode = 0): Promise<string> => {
    const args = ['-i', `PATH=${bin}:${process.env.PATH}`, `HOME=${directory}`, 'sh', '-euc', script]
    const ended = await run('/usr/bin/env', args, { cwd: directory }).catch((error) => error)
    const { code = 0, stdout, stderr } = ended
    if (code !== exitCode) throw new Error(`exit code ${code} of:\n${script}\n${stdout}\n${stderr}`)
    return stdout
  }

  // 1. Put Kunci beside the old server
  await root.query(prepare)
  writeFileSync(join(directory, '.env'), `${env}RATE_LIMIT_PER_MINUTE=0\n`)
  await shell(setUp)

  // 2. Bring the customers over
  const [before] = await root.query('SELECT * FROM jce.user_jce')
  t.match(await shell(look, INCOMPLETE), /nothing was written/)
  t.match(await shell('kunci licences list --json'), /\[\]/)
  t.match(await shell(bring, INCOMPLETE), /Siti/, 'whose date is none is named')
  const [only, ...others] = JSON.parse(await shell('kunci licences list --json'))
  t.match(only, { customer: 'Budi' })
  t.same(others, [])
  await shell(bring, INCOMPLETE)
  t.equal(JSON.parse(await shell('kunci licences list --json')).length, 1, 'once')
  const [after] = await root.query('SELECT * FROM jce.user_jce')
  t.same(after, before, 'the old database is as it was')

  // 3. Try it while nobody uses it
  const kunci = spawnKunci(['serve'], {}, { cwd: directory, baseUrl: `http://127.0.0.1:${kunciPort}` })
  t.teardown(() => kunci.kill('SIGKILL'))
  await kunci.waitReady()
  const said = await shell(tryOut)
  t.match(said, /Licensed to Budi until 2099-01-02 10:00:00/)
  t.match(said, /The tool may run\./)

  // 4. Side by side
  const conf = (text: string) =>
    writeFileSync(
      join(directory, 'nginx.conf'),
      `daemon off; pid ${directory}/nginx.pid; error_log stderr;\nevents {}\nhttp { access_log off;\n${text}\n}\n`,
    )
  conf(site)
  const nginxArgs = ['-p', directory, '-c', `${directory}/nginx.conf`, '-e', 'stderr']
  await run(nginxBinary, [...nginxArgs, '-t'])
  const nginx = spawnGuarded(nginxBinary, nginxArgs, { stdio: 'ignore' })
  t.teardown(() => nginx.kill())
  const front = ports['listen 80']
  const isUp = () =>
    ask(front, '/', OTHER).then(
      () => true,
      () => false,
    )
  await until('nginx listens', isUp)
  const reload = async (from: string, to: string) => {
    t.ok(site.includes(from))
    conf(site.replace(from, to))
    await run(nginxBinary, [...nginxArgs, '-s', 'reload'])
  }
  const GRANTED = {
    status: 'success',
    message: 'Access granted',
    user: 'Budi',
    sk: 'sk of Budi',
    status1_text: 'Hello',
  }
  t.match(follow, /kunci events list --follow/)
  t.match(await checkFrom(front, CHOSEN), GRANTED)
  t.match(await checkFrom(front, OTHER), { server: 'old' })
  t.equal(
    (await ask(front, '/index.php', CHOSEN)).text,
    '{"server":"old"}',
    'all else stays with the old server',
  )
  const events = JSON.parse(await shell('kunci events list --type licence_check_allowed --json'))
  t.equal(events.at(-1).address, CHOSEN, "the client's address, and not nginx's")

  // A part of all others
  await reload('default   old;', 'default   $drawn;')
  const machines = Array.from({ length: 200 }, (_, i) => `127.0.1.${i + 1}`)
  const drawn = async () => {
    const replies = await Promise.all(machines.map((address) => checkFrom(front, address)))
    return replies.filter(({ server }) => server !== 'old').length
  }
  await until('about a tenth of the addresses are sent to Kunci', async () => (await drawn()) > 0)
  const part = await drawn()
  t.ok(part > 5 && part < 45, `${part} of 200`)

  // 5. The switch: a customer who came meanwhile
  await root.query(
    `INSERT INTO jce.user_jce (Nama, hwid_encrypted, expiry_date) VALUES ('Dewi', '${sha256('99')}', '2099-01-01')`,
  )
  await shell(bring, INCOMPLETE)
  t.equal(JSON.parse(await shell('kunci licences list --json')).length, 2)
  await reload('default   old;', 'default   kunci;')
  await until('all are sent to Kunci', async () => (await drawn()) === machines.length)
  t.match(await checkFrom(front, OTHER), GRANTED)

  // 6. Back, and afterwards
  await reload('default   old;', 'default   old;')
  await until('all others are with the old server again', async () => (await drawn()) === 0)
  t.match(await checkFrom(front, OTHER), { server: 'old' })
  await root.query(leave)
  await shell(tidyUp)
  t.equal((await kunci.kill()).code, 0)
})
