import { randomBytes } from 'node:crypto'
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fileStore } from '../../src/sdk/file-store.ts'
import type { LeaseState } from '../../src/sdk/lease-state.ts'
import { memoryStore } from '../../src/sdk/lease-store.ts'
import { vectors } from './support.ts'

const { jws } = vectors.lease
const state: LeaseState = { hwm: 1, run: 2.5, jti: 'x', dev: 'd', seq: 3, boot: 'b', mono: 4 }
const key = randomBytes(32)

t.test('a lease and its state are there again after a restart, each in its file', async (t) => {
  const directory = join(t.testdir(), 'not', 'yet', 'there')
  const store = fileStore({ file: join(directory, 'demo.lease'), key })
  t.same(await store.load(), { lease: null, state: null })
  await store.saveLease(jws)
  await store.saveState(state)
  t.same(await fileStore({ file: join(directory, 'demo.lease'), key }).load(), { lease: jws, state })
  t.equal(readFileSync(join(directory, 'demo.lease'), 'utf8'), `${jws}\n`, 'one line')
  await store.saveState({ ...state, run: 9 })
  t.same((await store.load()).state, { ...state, run: 9 })
  t.same(readdirSync(directory).sort(), ['demo.lease', 'demo.lease-state'], 'nothing else is left behind')
  t.equal(statSync(join(directory, 'demo.lease-state')).mode & 0o777, 0o600)
  t.same(await fileStore({ file: join(directory, 'other.lease'), key }).load(), { lease: null, state: null })
})

t.test('a state with any one byte changed, or under another key, is no state', async (t) => {
  const directory = t.testdir()
  const store = fileStore({ file: join(directory, 'demo.lease'), key })
  await store.saveState(state)
  const file = join(directory, 'demo.lease-state')
  const text = readFileSync(file)
  t.match(text.toString(), /^\{.*\}\n[\w-]{43}\n$/)
  for (let i = 0; i < text.length - 1; i++) {
    const changed = Buffer.from(text)
    changed[i]! ^= 1
    writeFileSync(file, changed)
    t.equal((await store.load()).state, null, `byte ${i}`)
  }
  for (const other of ['', '\n', '{}', text.toString().split('\n')[0] ?? '']) {
    writeFileSync(file, other)
    t.equal((await store.load()).state, null, other)
  }
  writeFileSync(file, text)
  t.same((await store.load()).state, state)
  t.equal((await fileStore({ file: join(directory, 'demo.lease'), key: randomBytes(32) }).load()).state, null)
})

t.test('what cannot be written is said, and the earlier state stays whole', async (t) => {
  const directory = t.testdir({ 'demo.lease': {} })
  const store = fileStore({ file: join(directory, 'demo.lease'), key })
  await t.rejects(store.saveLease(jws), 'a folder stands in its place')
  t.same(readdirSync(directory), ['demo.lease'])
  await t.rejects(store.load(), 'nor can it be read')
  if (process.getuid?.() !== 0) {
    rmSync(join(directory, 'demo.lease'), { recursive: true })
    await store.saveState(state)
    chmodSync(directory, 0o500)
    await t.rejects(store.saveState({ ...state, run: 9 }))
    t.same((await store.load()).state, state)
  }
})

t.test('a key of another length is refused', async (t) => {
  t.throws(() => fileStore({ file: 'demo.lease', key: key.subarray(1) }), RangeError)
})

t.test('a lease in memory lasts as long as its store', async (t) => {
  const store = memoryStore()
  t.same(await store.load(), { lease: null, state: null })
  await store.saveLease(jws)
  await store.saveState(state)
  t.same(await store.load(), { lease: jws, state })
})
