import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t from 'tap'
import { listen, ScriptedServer } from './scripted-server.ts'
import { node, pure, vectors, web } from './support.ts'

const ROOT = new URL('../../', import.meta.url)
const SDK = new URL('src/sdk/', ROOT)

/** Takes from Node what a browser has not, before the SDK is loaded; but Node's own `fetch` cannot do without Buffer. */
const BROWSER = 'delete globalThis.process; globalThis.self = globalThis;'
const INSECURE = `${BROWSER} delete globalThis.Buffer; const { crypto } = globalThis;
  Object.defineProperty(globalThis, 'crypto', {
    value: { getRandomValues: (array) => crypto.getRandomValues(array) } });`

/** Runs a script with the SDK as `sdk`, and returns what it printed last, as JSON. */
async function run(prelude: string, script: string): Promise<unknown> {
  const source = `const { stdout } = process; ${prelude}
    const sdk = await import('${SDK}index.ts');
    const say = (value) => stdout.write(JSON.stringify(value) + '\\n');
    ${script}`
  // By `env -i`, as tap would load a module of its own into it.
  const node = ['-i', process.execPath, '--input-type=module', '-e', source]
  const { stdout } = await promisify(execFile)('/usr/bin/env', node)
  return JSON.parse(stdout)
}

t.test('without anything of Node, WebCrypto does a check over the network', async (t) => {
  for (const suite of ['S1', 'S2'] as const) {
    const server = new ScriptedServer(suite)
    const serverUrl = await listen(t, server)
    server.answer = () => ({ status: 200, code: 'ok', data: { valid: true } })
    const options = JSON.stringify({ serverUrl, suite, pins: server.pins })
    const result = await run(
      BROWSER,
      `const client = await sdk.createClient(${options})
       const hwid = await sdk.hwidOf('demo', ${JSON.stringify(vectors.hwid.raw)})
       const { outcome } = await client.check({ licence: 'x', tool: 'demo', ver: '1', hwid })
       say({ outcome, process: typeof process, fp: await sdk.hwidFingerprint(hwid) })`,
    )
    t.same(result, { outcome: 'allowed', process: 'undefined', fp: vectors.hwid.fp }, suite)
  }
})

t.test('without a secure context a client says what it needs, and node-forge does what it can', async (t) => {
  const server = new ScriptedServer('S2')
  const serverUrl = await listen(t, server)
  const options = JSON.stringify({ serverUrl, suite: 'S2', pins: server.pins })
  const refused = (more: string) =>
    run(INSECURE, `sdk.createClient({ ...${options}, ${more} }).catch(({ message }) => say(message))`)
  t.match(await refused(''), /a page needs HTTPS .* forgeBackend/)
  const forge = `(await import('${import.meta.resolve('node-forge')}')).default`
  t.equal(
    await refused(`crypto: sdk.forgeBackend(${forge})`),
    'node-forge cannot do S2: node-forge has no P-256',
  )
  const session = {
    key: Array.from({ length: 32 }, (_, i) => i),
    iv: Array.from({ length: 16 }, (_, i) => i),
  }
  const encrypted = await run(
    INSECURE,
    `const session = { key: Uint8Array.from(${JSON.stringify(session.key)}), iv: Uint8Array.from(${JSON.stringify(session.iv)}) }
     say(await sdk.legacy.encryptHwid(session, '1234567890', sdk.forgeBackend(${forge})))`,
  )
  for (const backend of [node, web, pure]) {
    const key = Uint8Array.from(session.key)
    const ours = await backend.cbcEncrypt(key, Uint8Array.from(session.iv), Buffer.from('1234567890'))
    t.equal(encrypted, Buffer.from(ours).toString('hex'), backend.name)
  }
})

t.test('the SDK imports nothing but itself; only the file store is Node’s', async (t) => {
  const files = readdirSync(SDK)
  t.ok(files.length > 20)
  for (const file of files) {
    const source = readFileSync(new URL(file, SDK), 'utf8')
    const imports = [...source.matchAll(/^(?:import|export)(?! type)[^;]*?from '([^']+)'/gm)]
    const foreign = imports.map(([, from = '']) => from).filter((from) => !from.startsWith('./'))
    const ofNode = foreign.length > 0 || /\bBuffer\.\w/.test(source)
    t.equal(ofNode, file === 'file-store.ts', file)
  }
  const { exports, peerDependencies, peerDependenciesMeta } = JSON.parse(
    readFileSync(new URL('package.json', ROOT), 'utf8'),
  )
  for (const name of ['./sdk', './sdk/file-store'])
    for (const target of Object.values(exports[name]) as string[])
      t.ok(existsSync(new URL(target.replace(/^\.\/dist\/(.*?)(\.d)?\.[jt]s$/, 'src/$1.ts'), ROOT)), target)
  t.same(Object.keys(peerDependencies), ['node-forge'])
  t.same(peerDependenciesMeta, { 'node-forge': { optional: true } })
})
