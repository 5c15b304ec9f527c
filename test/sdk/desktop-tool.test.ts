import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { staticKey } from '../../src/crypto/kex.ts'
import { DATABASES } from '../support/databases.ts'
import { asOperator, type Installation, install, serve } from '../support/installation.ts'
import { ACTOR } from '../support/legacy.ts'
import { freePort, runKunci } from '../support/server.ts'

const TOOL = fileURLToPath(new URL('../../examples/desktop-tool.ts', import.meta.url))
const MACHINE = ['board=PF2ABCDE', 'bios=4C4C4544-0051-3510-8052', 'disk=S4EWNX0M', 'mac=3C:7C:3F:1A:2B:4C']
const hw = (machine: readonly string[] = MACHINE) => machine.flatMap((part) => ['--hw', part])

/** Runs the example to its end, as a person would. */
function run(...args: string[]): Promise<{ code: number; lines: string[]; stderr: string; last: unknown }> {
  return new Promise((resolve) => {
    const env = ['-i', 'KUNCI_RETRY_MS=1,1,1', process.execPath, TOOL, ...args]
    execFile('/usr/bin/env', env, (error, stdout, stderr) => {
      const lines = stdout.trimEnd().split('\n')
      const last = lines.at(-1)?.startsWith('{') ? JSON.parse(lines.at(-1) ?? '') : null
      resolve({ code: Number(error?.code ?? 0), lines, stderr, last })
    })
  })
}

function newLicence(installation: Installation): Promise<string> {
  const wish = { productCode: 'demo', customer: 'Budi', expiresAtMs: null }
  return asOperator(installation, async ({ licences }) => (await licences.create(ACTOR, wish)).key)
}

/** A server with one licence, and its pins as the command prints them. */
async function openShop(t: Test) {
  const installation = await install(t, DATABASES[0]!, { SEALED_S3: 'true' })
  const licence = await asOperator(installation, async (app) => {
    await app.products.create(ACTOR, 'demo', 'Demo')
    return (await app.licences.create(ACTOR, { productCode: 'demo', customer: 'Budi', expiresAtMs: null }))
      .key
  })
  const { stdout } = await runKunci(['keys', 'pins'], installation.env, { cwd: installation.config.dataDir })
  const directory = t.testdir({ 'pins.json': stdout })
  const [file, lease] = [`${directory}/pins.json`, `${directory}/demo.lease`]
  return { ...(await serve(t, installation)), installation, pins: JSON.parse(stdout), file, lease, licence }
}

const shop = await openShop(t)

t.test('the example checks a licence by every suite, and tells what it does', async (t) => {
  const { url, pins, file, licence } = shop
  for (const suite of ['S1', 'S2', 'S3'] as const) {
    const common = ['--server', url, '--suite', suite, '--licence', licence, '--tool', 'demo', ...hw()]
    const [pin] = pins[suite]
    for (const pinned of [
      ['--pins', file],
      ['--pin', `${pin?.kid}:${pin?.pub}`],
    ]) {
      const { code, lines, last, stderr } = await run(...common, ...pinned)
      t.equal(code, 0, stderr)
      t.match(last, { outcome: 'allowed', code: 'ok', support_code: /^[0-9A-Z]{5}-[0-9A-Z]{5}$/ })
      t.same(Object.keys(last as object), ['outcome', 'code', 'support_code'])
      const said = lines.indexOf('Session key obtained')
      t.ok(said >= 0)
      t.same(lines.slice(said + 1, said + 3), [
        'JWT token parsed',
        'Using dynamic encryption keys from session',
      ])
      t.notMatch(lines.join('\n'), licence)
    }
  }
  const byDefault = await run('--url', url, '--pins', file, '--licence', licence, ...hw())
  t.match(byDefault.lines[0], /by S1, with digests of 4 parts/)
  t.equal(byDefault.code, 0)
})

t.test('the example ends with 1 for a denial and with 2 for no answer', async (t) => {
  const { url, file, licence } = shop
  const ask = (...args: string[]) => run('--pins', file, ...hw(), ...args)
  const unknown = await ask('--server', url, '--licence', 'ZN2WB-8VAGR-JQ5X1-9Z0JH-DHA29')
  t.match(unknown, { code: 1, last: { outcome: 'denied', code: 'licence_invalid', support_code: /-/ } })
  const nobody = await ask('--server', `http://127.0.0.1:${await freePort()}`, '--licence', licence)
  t.match(nobody, { code: 2 })
  t.same(nobody.last, { outcome: 'unavailable', code: null, support_code: null })
  t.notOk(nobody.lines.includes('Session key obtained'))
  const { kid, publicKey } = staticKey('S1', Buffer.alloc(32, 1))
  const pin = `${kid}:${publicKey.toString('base64url')}`
  const stranger = await run('--server', url, '--pin', pin, '--licence', licence, ...hw())
  t.match(stranger, { code: 2, last: { outcome: 'unavailable', code: null } })
})

t.test('the example runs on its lease while the server is away', async (t) => {
  const { url, kunci, file, lease, licence } = await openShop(t)
  const ask = (machine?: string[]) =>
    run('--server', url, '--pins', file, '--licence', licence, '--lease', lease, ...hw(machine))
  t.match(await ask(), { code: 0, last: { code: 'ok' } })
  await kunci.kill()
  const offline = await ask()
  t.equal(offline.code, 0)
  t.same(offline.last, { outcome: 'allowed', code: 'lease', support_code: null })
  t.match(await ask(['board=OTHER1', 'disk=OTHER2', 'bios=OTHER3']), { code: 2, last: { code: null } })
})

t.test('the example ends with 64 when it is called wrongly, and sends nothing', async (t) => {
  const { url, pins, file, lease, licence } = shop
  const good = ['--server', url, '--licence', licence]
  const [one, two] = [pins.S1[0], pins.S2[0]]
  for (const args of [
    [...good, '--pins', file],
    ['--server', url, '--pins', file, ...hw()],
    [...good, '--pins', file, '--hw', 'board'],
    [...good, '--pins', file, '--hw', 'gpu=GTX'],
    [...good, '--pins', file, '--suite', 'S9', ...hw()],
    [...good, '--pins', `${file}.nowhere`, ...hw()],
    [...good, '--suite', 'S2', ...hw()],
    [...good, '--pin', `${one?.kid}:${two?.pub}`, ...hw()],
    [...good, '--pin', `${one?.kid}:${one?.pub}`, '--lease', lease, ...hw()],
    [...good, '--pins', file, '--unknown', ...hw()],
  ]) {
    const { code, stderr, lines } = await run(...args)
    t.equal(code, 64, args.join(' '))
    t.match(stderr, /Usage: npm run client/)
    t.same(lines, [''])
  }
})

t.test('the legacy contract is what the example speaks while no keys are pinned', async (t) => {
  const { url } = shop
  const licence = await newLicence(shop.installation)
  const granted = await run('--url', url, '--hwid', '1234567890', '--licence', licence)
  t.equal(granted.code, 0)
  t.match(
    granted.lines.join('\n'),
    /\| Session key obtained from .*\n.*\n.*\n.*Access granted\n.*\n.* \| The tool may run\.$/,
  )
  t.match(await run('--url', url, '--hwid', '999'), { code: 1 })
  t.match(await run('--url', `http://127.0.0.1:${await freePort()}`, '--hwid', '999'), { code: 2 })
  t.match(await run('--suite', 'legacy', '--url', url), { code: 2, lines: [/^Usage/] })
  t.match(await run('--help'), { code: 0, lines: [/^Usage/] })
})
