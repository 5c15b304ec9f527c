import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { createServer } from '../../src/http/server.ts'
import { CHROMIUM_ARGS, findChromium } from '../support/chromium.ts'
import { DATABASES } from '../support/databases.ts'
import { asOperator, type Installation, install, until } from '../support/installation.ts'
import { freePort, type KunciProcess, spawnKunci } from '../support/server.ts'
import { type SignedInUser, signInAs } from '../support/streams.ts'
import { CHEAP } from '../support/users.ts'

type Event = { readonly type: string; readonly sessionId: string; readonly reconnect?: string }

/** As the manual has it. */
function openEventsOfTheManual(): string {
  const text = readFileSync(new URL('../../docs/streams.md', import.meta.url), 'utf8')
  const [, code] = /^```js\n(async function openEvents.*?)^```/ms.exec(text) ?? []
  if (code === undefined) throw new Error('docs/streams.md has no openEvents')
  return code
}

/** A page of the server's own origin. */
async function openPage(t: Pick<Test, 'teardown'>, url: string) {
  const executablePath = findChromium()
  if (executablePath === undefined) throw new Error('Chromium is not installed')
  const browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`${url}/docs/`)
  await page.evaluate(`void Object.assign(window, { openEvents: ${openEventsOfTheManual()}, told: [] })`)
  return {
    open: (token: string) =>
      page.evaluate(`openEvents(${JSON.stringify(token)}, (event) => told.push(event))`),
    /** What it was told since it was asked last. */
    told: () => page.evaluate<Event[]>('told.splice(0)'),
    evaluate: <T>(script: string) => page.evaluate<T>(script),
  }
}

/** As another node of the same database would. */
function onAnotherNode(
  installation: Installation,
  work: (node: Parameters<typeof signInAs>[0]) => Promise<SignedInUser>,
) {
  return asOperator(installation, async (app) => {
    const server = await createServer(app)
    try {
      return await work({ app, server })
    } finally {
      await server.close()
    }
  })
}

function streamRequests({ stdout }: KunciProcess): { status: number; outcome: string }[] {
  return stdout
    .map((line) => JSON.parse(line))
    .filter(({ event, route }) => event === 'http.request' && route === '/api/events')
}

for (const database of DATABASES)
  t.test(`${database.name}: an EventSource in Chromium`, async (t) => {
    const installation = await install(t, database, CHEAP)
    const port = String(await freePort())
    const start = async () => {
      const env = { ...installation.env, PORT: port }
      const kunci = spawnKunci(['serve'], env, { cwd: installation.config.dataDir })
      t.teardown(() => kunci.kill('SIGKILL'))
      return { kunci, url: await kunci.waitReady() }
    }
    const before = await start()
    const { url } = before
    const elsewhere = (email: string) => onAnotherNode(installation, (node) => signInAs(node, email))
    const ani = await elsewhere('ani@example.com')
    const page = await openPage(t, url)
    const hears = async (count: number) => {
      const told: Event[] = []
      await until(`${count} events`, async () => told.push(...(await page.told())) >= count)
      return told.map(({ type, sessionId }) => `${type} ${sessionId}`)
    }
    await page.open(ani.token)
    t.same(await hears(1), [`snapshot ${ani.sessionId}`])

    const raw = await fetch(`${url}/api/events/ticket`, { method: 'POST', headers: ani.headers })
    const { data } = (await raw.json()) as { data: { url: string } }
    await page.evaluate(
      `window.bare = new EventSource(${JSON.stringify(data.url)})
       window.failures = 0
       bare.onerror = () => void failures++`,
    )
    await until('it is open too', () => page.evaluate<boolean>('bare.readyState === EventSource.OPEN'))

    await t.test(
      'is told of what other nodes do, and misses nothing when its server is killed',
      async (t) => {
        const first = await elsewhere('ani@example.com')
        t.same(await hears(1), [`session_created ${first.sessionId}`])
        await before.kunci.kill('SIGKILL')
        const meanwhile: SignedInUser[] = []
        for (let i = 0; i < 3; i++) {
          meanwhile.push(await elsewhere('ani@example.com'))
          await elsewhere('budi@example.com')
        }
        await until('it has tried in vain', () => page.evaluate<boolean>('failures > 1'))
        const { kunci } = await start()
        t.same(
          await hears(3),
          meanwhile.map(({ sessionId }) => `session_created ${sessionId}`),
          'each once, in order, and no snapshot',
        )
        const last = await elsewhere('ani@example.com')
        t.same(await hears(1), [`session_created ${last.sessionId}`], 'and so it goes on')

        await t.test('stops for good when its session is ended', async (t) => {
          const admin = await onAnotherNode(installation, (node) => signInAs(node, 'a@b.example', 'admin'))
          const force = `${url}/api/user-sessions/force-logout/${ani.sessionId}`
          t.equal((await fetch(force, { method: 'POST', headers: admin.headers })).status, 200)
          t.same(await hears(1), [`session_ended ${ani.sessionId}`])
          // The one that does not heed what it is told comes back once.
          await until('the other is closed', () =>
            page.evaluate<boolean>('bare.readyState === EventSource.CLOSED'),
          )
          const refused = () => streamRequests(kunci).filter(({ status }) => status !== 200)
          await until('its request is in the log', () => refused().length > 0)
          // Three times as long as it waited before it came back.
          await sleep(3000)
          t.match(refused(), [{ status: 204, outcome: 'stream.session_over' }])
          t.same(await page.told(), [])
          const ended = streamRequests(kunci).filter(({ status }) => status === 200)
          t.match(
            ended,
            [{ outcome: 'stream.ended' }, { outcome: 'stream.ended' }],
            'a line for each, at its end',
          )
        })
      },
    )
  })
