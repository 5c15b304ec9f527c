import { readFileSync } from 'node:fs'
import t from 'tap'
import { ATTACKS } from '../../conformance/attacks/all.ts'
import { COMMANDS } from '../../src/cli/run.ts'
import { SETTINGS } from '../../src/config.ts'
import { EVENT_TYPES } from '../../src/domain/events.ts'
import { LIMITS } from '../../src/domain/limits.ts'
import { ERRORS } from '../../src/errors.ts'
import { RINGS } from '../../src/store/ring.ts'

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
const firstCells = (text: string) =>
  [...text.matchAll(/^\| `([A-Za-z0-9_]+)` \|/gm)].map(([, cell = '']) => cell)

t.test('docs/settings.md and .env.example name every setting, with its default, and no other', async (t) => {
  const envs = Object.values(SETTINGS).map(({ env }) => env)
  t.same(firstCells(read('docs/settings.md')).sort(), [...envs].sort())
  t.same(
    [...read('.env.example').matchAll(/^#([A-Z0-9_]+)=/gm)].map(([, env = '']) => env).sort(),
    [...envs].sort(),
  )
  for (const row of Object.values(SETTINGS)) {
    const fallback = 'fallback' in row && typeof row.fallback === 'string' ? row.fallback : undefined
    t.match(
      read('docs/settings.md'),
      `| \`${row.env}\` | ${fallback === undefined ? '' : `\`${fallback}\``} | ${row.doc} |`,
    )
    t.match(read('.env.example'), `# ${row.doc}\n#${row.env}=${fallback ?? ''}\n`)
  }
})

t.test('docs/errors.md names every code with its status, and no other', async (t) => {
  const text = read('docs/errors.md')
  t.same(firstCells(text).sort(), Object.keys(ERRORS).sort())
  for (const [code, [status, message]] of Object.entries(ERRORS))
    t.match(text, `| \`${code}\` | ${status} | ${message}`)
})

t.test('docs/events.md names every type of event, and no other', async (t) => {
  const text = read('docs/events.md')
  t.same(firstCells(text).sort(), Object.keys(EVENT_TYPES).sort())
  for (const [type, meaning] of Object.entries(EVENT_TYPES)) t.match(text, `| \`${type}\` | ${meaning} |`)
})

t.test('docs/keys.md names every ring, and no command that is not there', async (t) => {
  const text = read('docs/keys.md')
  const rings = [...text.matchAll(/^\| `([a-z0-9-]+)` \| [^|]* \| [^|]* \| [^|]* \|$/gm)].map(
    ([, ring]) => ring,
  )
  t.same(rings.sort(), [...RINGS].sort())
  const commands = [...text.matchAll(/kunci (keys [a-z]+)/g)].map(([, words = '']) => words)
  t.ok(commands.length > 10)
  const paths = COMMANDS.map(({ path }) => path.join(' '))
  for (const words of commands) t.ok(paths.includes(words), words)
})

t.test('docs/limits.md gives every limit its number and its window', async (t) => {
  const text = read('docs/limits.md')
  t.same(firstCells(text).sort(), Object.keys(LIMITS).sort())
  for (const [name, { max, windowMs }] of Object.entries(LIMITS))
    t.match(text, `| \`${name}\` | ${max} | ${windowMs / 60_000} min |`)
})

t.test(
  'every decision of docs/decisions is listed in its index, and every dependency has its line',
  async (t) => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json'))
    const text = read('docs/decisions/0001-dependencies.md')
    for (const name of Object.keys({ ...dependencies, ...devDependencies }))
      t.match(text, `\`${name}\``, name)
  },
)

t.test(
  'docs/conformance.md names every attack, what it is and what a sound client makes of it',
  async (t) => {
    const text = read('docs/conformance.md')
    t.strictSame(
      firstCells(text),
      ATTACKS.map(({ name }) => name),
    )
    for (const { name, title, expect } of ATTACKS) t.match(text, `| \`${name}\` | ${title} | ${expect} |`)
  },
)

t.test('every npm script that the README tells to run is there', async (t) => {
  const { scripts } = JSON.parse(read('package.json'))
  const named = [...read('README.md').matchAll(/npm (?:run (?:-s )?([a-z]+)|(start|test)\b)/g)]
  t.ok(named.length > 3)
  for (const [, run, own] of named) t.ok(scripts[run ?? own ?? ''], `npm run ${run ?? own}`)
})
