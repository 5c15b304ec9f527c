import { createInterface } from 'node:readline/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { AtLimit } from '../../src/store/accounts.ts'
import { spawnGuarded } from '../support/children.ts'
import { DATABASES } from '../support/databases.ts'
import { asOperator, type Installation, install, serve } from '../support/installation.ts'
import { findPython } from '../support/languages.ts'
import { readStream, type StreamClient } from '../support/streams.ts'
import { addUser, CHEAP, PASSWORD } from '../support/users.ts'

const SCRIPT = fileURLToPath(new URL('python_sign_in.py', import.meta.url))

// biome-ignore lint/suspicious/noExplicitAny: what a server says is looked at member by member.
type Json = any
type Answer = { readonly status: number; readonly body: Json; readonly isGenuine?: boolean }

/** A program that signs in. It keeps its token to itself, and what it may come back with. */
type Program = {
  readonly device: string
  signIn(email: string): Promise<Answer>
  takeOver(): Promise<Answer>
  ask(route: string, body?: object): Promise<Answer>
  /** Opens its live stream. */
  listen(): Promise<unknown>
  /** What its stream tells next of this type. */
  hears(type: string): Promise<Json>
}

function pythonProgram(t: Pick<Test, 'teardown'>, python: string, url: string): Program {
  const child = spawnGuarded(python, [SCRIPT, url], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
  t.teardown(() => child.stdin?.end())
  const tell = async (order: object): Promise<Json> => {
    child.stdin?.write(`${JSON.stringify(order)}\n`)
    const { value, done } = await lines.next()
    if (done) throw new Error(`the Python program has ended: ${JSON.stringify(order)}`)
    return JSON.parse(value)
  }
  return {
    device: 'Python till',
    signIn: (email) => tell({ do: 'sign_in', email, password: PASSWORD }),
    takeOver: () => tell({ do: 'take_over' }),
    ask: (route, body) => {
      const [method, path] = route.split(' ')
      return tell({ do: 'ask', method, path, ...(body === undefined ? {} : { body }) })
    },
    listen: () => tell({ do: 'listen' }),
    hears: (type) => tell({ do: 'hear', type }),
  }
}

function typescriptProgram(t: Pick<Test, 'teardown'>, url: string): Program {
  const device = 'TypeScript till'
  let [token, takeOver] = ['', '']
  let stream: StreamClient | undefined
  const ask = async (route: string, body?: object): Promise<Answer> => {
    const [method = '', path = ''] = route.split(' ')
    const reply = await fetch(url + path, {
      method,
      headers: {
        ...{ 'x-device-name': device, authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: reply.status, body: await reply.json() }
  }
  const enter = async (route: string, wish: object): Promise<Answer> => {
    const reply = await ask(route, wish)
    token = reply.body.token?.token ?? ''
    takeOver = reply.body.takeOver?.token ?? takeOver
    return reply
  }
  return {
    ...{ device, ask },
    signIn: (email) => enter('POST /api/auth/login', { email, password: PASSWORD }),
    takeOver: () => enter('POST /api/auth/take-over', { token: takeOver }),
    listen: async () => {
      stream = await readStream(t, `${url}/api/events`, { authorization: `Bearer ${token}` })
    },
    hears: async (type) => (await stream?.next(type))?.data,
  }
}

/** A user who may be signed in once. */
async function addLimited(installation: Installation, email: string, atLimit: AtLimit): Promise<void> {
  await asOperator(installation, async (app) => {
    const user = await addUser(app, email)
    await app.users.setPolicy({ name: 'test' }, user, { maxSessions: 1, atLimit })
  })
}

function said({ status, body }: Answer): string {
  return `${status} ${body.code ?? ''}`.trim()
}

async function areIn(...programs: Program[]): Promise<boolean[]> {
  const answers = await Promise.all(programs.map((program) => program.ask('GET /api/auth/me')))
  for (const answer of answers)
    if (!['200', '401 sign_in_required'].includes(said(answer))) throw new Error(said(answer))
  return answers.map(({ status }) => status === 200)
}

async function entered(t: Test, answer: Promise<Answer>): Promise<string> {
  const { status, body, isGenuine } = await answer
  t.equal(status, 200)
  t.not(isGenuine, false, 'signed under a key that the server publishes')
  return body.sessionId
}

type Play = {
  readonly email: string
  /** Who is in. */
  readonly holder: Program
  /** Who comes. */
  readonly comer: Program
}

async function kick(t: Test, { email, holder, comer }: Play): Promise<void> {
  const sessionId = await entered(t, holder.signIn(email))
  await holder.listen()
  await entered(t, comer.signIn(email))
  const told = await holder.hears('session_ended')
  t.match(told, { sessionId, reason: 'kicked', reconnect: 'never' })
  t.same(await areIn(holder, comer), [false, true])
  await entered(t, holder.signIn(email))
  t.same(await areIn(holder, comer), [true, false], 'who does not listen is told when he asks')
}

async function refuse(t: Test, { email, holder, comer }: Play): Promise<void> {
  const sessionId = await entered(t, holder.signIn(email))
  await holder.listen()
  const refused = await comer.signIn(email)
  t.equal(said(refused), '409 session_limit')
  t.match(refused.body.sessions, [{ sessionId, deviceName: holder.device, deviceType: 'desktop' }])
  t.equal(refused.body.sessions.length, 1)
  t.same(await areIn(holder, comer), [true, false])
  await entered(t, comer.takeOver())
  t.match(await holder.hears('session_ended'), { sessionId, reason: 'taken_over', reconnect: 'never' })
  t.same(await areIn(holder, comer), [false, true])
  t.equal(said(await comer.takeOver()), '401 take_over_invalid', 'once')
}

/** Polls until it is asked to make way. */
async function isAsked(holder: Program, after: number): Promise<Json> {
  for (let position = after; ; ) {
    const { data } = (await holder.ask(`GET /api/events/poll?after=${position}&wait=20`)).body
    const asked = data.events.find(({ event }: { event: string }) => event === 'session_asked')
    if (asked !== undefined) return asked.data
    position = data.lastId
  }
}

async function askFirst(t: Test, { email, holder, comer }: Play): Promise<void> {
  const { lastId } = (await holder.ask('GET /api/events/poll')).body.data
  const asked = isAsked(holder, lastId)
  const answer = await comer.signIn(email)
  t.equal(said(answer), '409 session_asked')
  t.ok(answer.body.retryAfter > 10 && answer.body.retryAfter <= 15)
  t.match(await asked, { deviceName: comer.device })
  const leftMs = Date.parse((await asked).yieldBy) - Date.now()
  t.ok(leftMs > 8000 && leftMs < 16_000, `${leftMs} ms to answer`)
  t.equal(said(await comer.takeOver()), '409 session_asked', 'there is no answer yet')
}

async function yes(t: Test, play: Play): Promise<void> {
  const { email, holder, comer } = play
  await entered(t, holder.signIn(email))
  await askFirst(t, play)
  t.equal(said(await holder.ask('POST /api/sessions/answer', { answer: 'yield' })), '200')
  t.same(await areIn(holder), [false])
  await entered(t, comer.takeOver())
  t.same(await areIn(holder, comer), [false, true])
}

async function no(t: Test, play: Play): Promise<void> {
  const { email, holder, comer } = play
  await entered(t, holder.signIn(email))
  await askFirst(t, play)
  t.equal(said(await holder.ask('POST /api/sessions/answer', { answer: 'keep' })), '200')
  t.equal(said(await comer.takeOver()), '409 session_kept')
  t.same(await areIn(holder, comer), [true, false])
}

async function silence(t: Test, play: Play): Promise<void> {
  const { email, holder, comer } = play
  const sessionId = await entered(t, holder.signIn(email))
  await askFirst(t, play)
  await holder.listen()
  t.same(await areIn(holder), [true], 'he has time to save his work')
  let back = await comer.takeOver()
  for (; back.status === 409; back = await comer.takeOver()) await sleep(back.body.retryAfter * 1000)
  await entered(t, Promise.resolve(back))
  t.match(await holder.hears('session_ended'), { sessionId, reason: 'yielded', reconnect: 'never' })
  t.same(await areIn(holder, comer), [false, true])
}

const PLAYS = [
  ['kick: who was in is told that he is out', 'kick', kick],
  ['refuse: who comes is told who is in, and takes over', 'refuse', refuse],
  ['ask: yes lets the other in', 'ask', yes],
  ['ask: no keeps him out', 'ask', no],
  ['ask: silence is a yes', 'ask', silence],
] as const

const python = findPython()
const options = { skip: python === undefined && 'Python is not installed', buffered: true }

// Mostly they wait: for fifteen seconds of silence.
t.jobs = DATABASES.length
for (const database of DATABASES)
  t.test(database.name, options, async (t) => {
    const installation = await install(t, database, CHEAP)
    const { kunci, url } = await serve(t, installation)
    t.jobs = PLAYS.length
    const plays = PLAYS.map(([what, atLimit, play]) =>
      t.test(what, { buffered: true }, async (t) => {
        const programs = [pythonProgram(t, python ?? '', url), typescriptProgram(t, url)] as const
        for (const [holder, comer] of [programs, programs.toReversed()] as [Program, Program][]) {
          const email = `${play.name}-${holder.device.slice(0, 6)}@example.com`
          await addLimited(installation, email, atLimit)
          await play(t, { email, holder, comer })
          // Once is long enough.
          if (play === silence) break
        }
      }),
    )
    await Promise.all(plays)
    t.equal((await kunci.kill()).code, 0)
  })
