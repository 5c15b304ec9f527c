import { execFileSync } from 'node:child_process'
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { CROCKFORD } from '../../src/crypto/licence-key.ts'
import { BOX_MAX_BYTES, SIZES, SUITE_ID } from '../../src/crypto/suites.ts'
import { findProgram } from '../support/mariadb-install.ts'
import { bare, blocks, page, prose, rows } from '../support/protocol-page.ts'

const ROOT = new URL('../../', import.meta.url)
const read = (file: string) => readFileSync(new URL(file, ROOT), 'utf8')
const vectors = JSON.parse(read('test/vectors/dsk1.json'))

/** The value that the vectors keep under a dotted name. */
const published = (name: string) =>
  name.split('.').reduce((value, key) => value?.[key], vectors) as string | undefined

/** Have the form of a vector's name. */
const OPERATIONS = ['licence.check', 'lease.issue']

t.test('every value that stands beside the name of a vector is that vector', async (t) => {
  const named = rows(/^`S[123]\.[\w.]+`$/)
  t.ok(named.length > 30)
  for (const [name, value] of named) t.equal(bare(value), published(bare(name)), bare(name))
  const mentioned = [...page.matchAll(/`((?:S[123]|keys|hwid|licence|lease)\.[\w.]+)`/g)]
  for (const [, name = ''] of mentioned)
    if (!OPERATIONS.includes(name)) t.not(published(name), undefined, `${name} is in the vectors`)
})

t.test('every length that stands behind the name of a vector is its length', async (t) => {
  const named = [...prose.matchAll(/`([\w.]+)` \((\d+) bytes/g)].filter(([, name = '']) => name.includes('.'))
  t.ok(named.length >= 3)
  for (const [, name = '', length] of named) {
    const value = published(name) ?? ''
    t.equal(Number(length), /^[0-9a-f]+$/.test(value) ? value.length / 2 : value.length, name)
  }
})

/** The bytes of the walk that begins with this label, and that each of its rows stands at its place. */
function walk(label: string): Buffer {
  const text = page.split('\n')
  const start = text.findIndex((line) => line.startsWith('| 0 |') && line.includes(`\`${label}\` |`))
  const end = text.findIndex((line, at) => at > start && !line.startsWith('| '))
  let bytes = Buffer.alloc(0)
  for (const line of text.slice(start, end)) {
    const [at, length, hex] = line.slice(2, -2).split(' | ')
    if (Number(at) !== bytes.length) throw new Error(`${line} does not stand at ${bytes.length}`)
    const part = Buffer.from(bare(hex).replaceAll(' ', ''), 'hex')
    if (Number(length) !== part.length) throw new Error(`${line} has ${part.length} bytes`)
    bytes = Buffer.concat([bytes, part])
  }
  return bytes
}

t.test('the bytes that are walked through are those that are hashed and authenticated', async (t) => {
  const transcript = walk('dsk1/th')
  t.equal(createHash('sha256').update(transcript).digest('hex'), vectors.S1.th)
  t.match(page, `\n${transcript.length} bytes, and their SHA-256 is`)
  const aad = walk('dsk1/req')
  t.equal(aad.toString('hex'), vectors.S1.request.aad)
  t.match(prose, `the aad is ${aad.length} bytes`)
})

t.test('the table of suites is that of the code', async (t) => {
  const named = rows(/^`S[123]`$/).filter((cells) => cells.length === 10)
  t.equal(named.length, 3)
  for (const [name, id, , , ...sizes] of named) {
    const suite = bare(name) as keyof typeof SIZES
    t.equal(Number(id), SUITE_ID[suite])
    const { key, nonce, tag, static: own, client, server } = SIZES[suite]
    t.same(sizes.map(Number), [key, nonce, tag, own, client, server], suite)
  }
  t.match(page, `| box in a reply | ${BOX_MAX_BYTES.toLocaleString('en')} bytes |`)
})

/** Stand in the code only: what the server keeps for itself. */
const SERVER_LABELS = ['dsk1/hwid-rest', 'dsk1/lk-rest', 'dsk1/row']

t.test('the page has every label of the code, but for those that only the server uses', async (t) => {
  const labelsOf = (text: string) =>
    [...text.matchAll(/\bdsk1\/[a-z0-9_]+(?:-[a-z]+)?\b/g)].map(([label]) => label)
  const files = readdirSync(new URL('src/crypto', ROOT)).filter((name) => name.endsWith('.ts'))
  const used = new Set(files.flatMap((name) => labelsOf(read(`src/crypto/${name}`))))
  const onPage = new Set(
    [...page.matchAll(/lp\("(dsk1\/[^"]+)"\)|HMAC\("(dsk1\/[^"]+)"/g)].map(([, a, b]) => a ?? b),
  )
  t.same([...used].filter((label) => !onPage.has(label)).sort(), [...SERVER_LABELS, 'dsk1/cnf'].sort())
  t.same(
    [...onPage].filter((label) => !used.has(label ?? '')),
    [],
  )
  t.match(prose, 'made the same way with `dsk1/cnf`')
})

t.test('every example in JSON is JSON, and the messages are those of the vectors', async (t) => {
  const examples = blocks('json').map((text) => JSON.parse(text))
  const { S1, hwid, keys, lease } = vectors
  t.same(
    examples.find(({ ext }) => ext === ''),
    JSON.parse(S1.http_hello_request),
  )
  for (const [example, whole] of [
    [examples.find(({ expires_in }) => expires_in), S1.http_hello_response],
    [examples.find(({ op }) => op), S1.request.http_body],
    [examples.find(({ salt, op }) => salt && !op), S1.response.http_body],
  ])
    t.same({ ...example, box: '' }, { ...JSON.parse(whole), box: '' })
  const pins = examples.find((example) => example.lease && example.S1)
  for (const suite of ['S1', 'S2'] as const) {
    const pub = Buffer.from(vectors[suite].S_pub, 'hex').toString('base64url')
    t.same(pins[suite], [{ kid: vectors[suite].kid, pub }])
  }
  const [{ x, y, kid }] = pins.lease
  const point = `04${Buffer.from(x, 'base64url').toString('hex')}${Buffer.from(y, 'base64url').toString('hex')}`
  t.same([point, kid], [keys.lease_pub, keys.lease_kid])
  const digests = JSON.parse(hwid.jcs).c
  for (const { c } of examples.flatMap((example) => example.hwid ?? (example.c ? [example] : [])))
    for (const [type, values] of Object.entries(c as Record<string, string[]>))
      for (const value of values) t.ok(digests[type].includes(value), value)
  t.equal(lease.payload.iat - lease.payload.nbf, 300)
})

t.test('the check symbol of the example comes about as the page says', async (t) => {
  const symbols: string = vectors.licence.normalised
  const input = Buffer.concat([
    ...['dsk1/lk', symbols.slice(0, 24)].map((text) => Buffer.from([0, text.length, ...Buffer.from(text)])),
  ])
  const byte = createHash('sha256').update(input).digest()[0]!
  const said = `the byte is \`${byte.toString(16)}\`, ${byte}, so symbol ${byte >> 3} of the alphabet, counted from 0, \`${symbols[24]}\``
  t.match(prose, said)
  t.equal(CROCKFORD[byte >> 3], symbols[24])
  t.match(page, CROCKFORD)
})

t.test('a raw key behind its prefix is a key', async (t) => {
  const prefix = (name: string) => bare(rows(/^(X25519|P-256)/).find(([cell]) => cell?.startsWith(name))?.[1])
  const der = (name: string, raw: string) => Buffer.from(prefix(name) + raw, 'hex')
  const hexOf = (text = '') => Buffer.from(text, 'base64url').toString('hex')
  const { S1, S2 } = vectors
  const spki = { format: 'der', type: 'spki' } as const
  const x25519 = createPublicKey({ key: der('X25519 public', S1.c_pub), ...spki })
  t.equal(hexOf(x25519.export({ format: 'jwk' }).x), S1.c_pub)
  const secret = der('X25519 private', S1.client_eph_priv)
  const own = createPrivateKey({ key: secret, format: 'der', type: 'pkcs8' })
  t.equal(hexOf(createPublicKey(own).export({ format: 'jwk' }).x), S1.c_pub)
  const { x, y } = createPublicKey({ key: der('P-256 point', S2.c_pub), ...spki }).export({ format: 'jwk' })
  t.equal(`04${hexOf(x)}${hexOf(y)}`, S2.c_pub)
})

/** Not from PATH: a version manager's `python3` may stand for a version that is not installed. */
const PLACES = ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin']

t.test('the Python of the page computes the vectors of every suite', async (t) => {
  const python = findProgram(['python3'], PLACES)
  if (python === undefined) throw new Error('python3 is not installed')
  const [code = ''] = blocks('python')
  const directory = t.testdir()
  writeFileSync(join(directory, 'page.py'), code)
  const files = ['test/docs/protocol_page.py', 'test/vectors/dsk1.json'].map((file) =>
    fileURLToPath(new URL(file, ROOT)),
  )
  const [script = '', published_ = ''] = files
  const result = JSON.parse(execFileSync(python, [script, directory, published_], { encoding: 'utf8' }))
  t.equal(Object.keys(result.vectors).length, 3 * 17 + 3)
  for (const [name, value] of Object.entries(result.vectors)) t.same(value, published(name), name)
  t.same(result.s2_tags, [true, true, true])
  t.same(result.refused, ['YR', 'YQ=', 'YQ==', 'Y', 'Y Q', 'Y+', 'Y/', 'YQ\n'])
  t.same(result.licence_keys, [true, true, false])
  t.same(result.left_out, ['To be filled by O.E.M.', 'Default string', '0000-0000', 'N/A'])
  const words = (text: string) => text.match(/\b[A-Z0-9]{4,}\b/g)
  const [list = ''] = blocks('text').filter((text) => text.includes('TOBEFILLEDBYOEM'))
  const [, inCode = ''] = /JUNK = set\("""([\s\S]*?)"""/.exec(code) ?? []
  t.same(words(list), words(inCode), 'one list of values that count as none')
})

t.test('every link of the page leads somewhere', async (t) => {
  const anchorsOf = (text: string) =>
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    )
  for (const [, target = ''] of page.matchAll(/\]\(([^)]+)\)/g)) {
    const [file = '', anchor] = target.split('#')
    const place = new URL(file, new URL('docs/', ROOT))
    if (file !== '') t.ok(existsSync(place), target)
    const text = file === '' ? page : readFileSync(place, 'utf8')
    if (anchor !== undefined) t.ok(anchorsOf(text).includes(anchor), target)
  }
})
