import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t from 'tap'
import { leaseKeys, listen, ScriptedServer } from '../sdk/scripted-server.ts'

const page = readFileSync(new URL('../../docs/sdk.md', import.meta.url), 'utf8')
const [, example = ''] = /```ts\n([\s\S]*?)```/.exec(page) ?? []
const source = (name: string) => new URL(`../../src/${name}.ts`, import.meta.url).href

t.test('the ten lines of docs/sdk.md are ten, and do what they say', async (t) => {
  t.equal(example.trim().split('\n').filter(Boolean).length, 10)
  const server = new ScriptedServer('S1')
  const program = example
    .replace('kunci/sdk', source('sdk/index'))
    .replace('https://licences.example', await listen(t, server))
  const cwd = t.testdir({ 'pins.json': JSON.stringify({ S1: server.pins, lease: leaseKeys }) })
  const run = async () => {
    const args = ['-i', process.execPath, '--input-type=module', '-e', program]
    return (await promisify(execFile)('/usr/bin/env', args, { cwd })).stdout
  }
  server.answer = () => ({ status: 200, code: 'ok', data: { valid: true } })
  t.equal(await run(), 'The tool may run.\n')
  const c = { board: [/^[\w-]{43}$/], disk: [/^[\w-]{43}$/], mac: [/^[\w-]{43}$/] }
  t.match(server.asked, [
    { op: 'licence.check', data: { tool: 'demo', ver: '1.4.2', hwid: { c, v: 1 } } },
    { op: 'session.close' },
  ])
  server.answer = () => ({
    status: 403,
    code: 'licence_expired',
    data: { message: 'The licence has ended.' },
  })
  t.equal(await run(), 'The licence has ended.\n')
  server.keys.clear()
  t.equal(await run(), 'The server cannot be asked.\n')
})
