import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { findCompiler, findSpin } from '../support/spin.ts'

const MODELS = new URL('../../docs/models/', import.meta.url)
const read = (file: string) => readFileSync(new URL(file, MODELS), 'utf8')

function program(path: string | undefined, name: string): string {
  if (path === undefined) throw new Error(`${name} is not installed`)
  return path
}

/** What the exhaustive search over `idem.pml` prints. */
function search(t: Test, ...flags: string[]): string {
  const cwd = t.testdir()
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { cwd, encoding: 'utf8' })
  run(program(findSpin(), 'spin'), ...flags, '-a', fileURLToPath(new URL('idem.pml', MODELS)))
  run(program(findCompiler(), 'gcc'), '-O2', '-o', 'pan', 'pan.c')
  return run('./pan', '-m100000')
}

t.test('a request that is sent again to two nodes has one effect and one reply', async (t) => {
  const report = search(t, '-DTX')
  t.match(report, /assertion violations\t\+/, 'assertions were looked at')
  t.match(report, 'errors: 0\n')
  t.notMatch(report, 'Search not completed')
  const states = Number(/(\d+) states, stored/.exec(report)?.[1])
  t.match(read('README.md'), `| ${states.toLocaleString('en')} states, errors: 0 |`)
  t.match(read('../PROTOCOL.md'), `all ${states.toLocaleString('en')} states`)
})

t.test('and the search would find it if it had two', async (t) => {
  const report = search(t)
  t.match(report, 'errors: 1\n')
  const [, depth] = /assertion violated .*\(at depth (\d+)\)/.exec(report) ?? []
  t.match(read('README.md'), `| assertion violated at depth ${depth}: two effects |`)
})

/** The lines of a model without the comment that opens it. */
const statements = (file: string) => {
  const text = read(file)
  return text.slice(text.indexOf('type G.')).split('\n')
}

/** The statements of `one` that are not in `other`, without the spaces before them. */
const onlyIn = (one: string, other: string) => {
  const known = new Set(statements(other))
  return statements(one)
    .filter((line) => !known.has(line))
    .map((line) => line.trim())
}

t.test('each weakened model is the model but for its one weakness', async (t) => {
  const eeAlone = ['let prk = extr(KEX, g2b(dh(spub, x))) in', 'let prk = extr(KEX, g2b(dh(cpub, y))) in']
  const esAlone = ['let prk = extr(KEX, g2b(dh(Spub, x))) in', 'let prk = extr(KEX, g2b(dh(cpub, s))) in']
  const reply = [
    'let rep = adec(expd(ks, L_mk, (seq1, salt2, rh)), seq1, (L_res, S1, sid, seq1, op1, rh), box3) in',
    'out(net, (salt2, aead(expd(ks, L_mk, (sq, salt2, rh)), sq, (L_res, S1, sid, sq, op, rh), rep))).',
  ]
  const both = [
    'let prk = extr(k2b(extr(KEX, g2b(dh(Spub, x)))), g2b(dh(spub, x))) in',
    'let prk = extr(k2b(extr(KEX, g2b(dh(cpub, s)))), g2b(dh(cpub, y))) in',
  ]
  t.same(onlyIn('m1_no_es.pv', 'dsk1.pv'), eeAlone)
  t.same(onlyIn('dsk1.pv', 'm1_no_es.pv'), both)
  t.same(onlyIn('m2_no_ee.pv', 'dsk1.pv'), esAlone)
  t.same(onlyIn('dsk1.pv', 'm2_no_ee.pv'), both)
  t.same(
    onlyIn('m3_no_rh.pv', 'dsk1.pv'),
    reply.map((line) => line.replaceAll(', rh)', ')')),
  )
  t.same(onlyIn('dsk1.pv', 'm3_no_rh.pv'), reply)
})
