import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { BEAT_MS, OPEN_MAX } from '../../src/domain/streams/hub.ts'
import { type Account, ADMIN, addUsers, forceOut, signIn, signOut, USER } from '../accounts.ts'
import type { Lab } from '../lab.ts'
import { median, usageOf } from '../measure.ts'
import { inGroups } from '../prepare.ts'
import { table } from '../report.ts'
import { type OpenStream, openStream, positionNow } from '../stream-clients.ts'
import { kunci, type Running } from '../targets.ts'
import { chosen, NothingToMeasure, type Section } from './section.ts'

const BROADCASTS = 10
const FORCED_MAX = 200
/** Longer than it takes a node to look for what others wrote, so that none is always met at the same moment. */
const PAUSE_MAX_MS = 300
const SAMPLE_EVERY_MS = 250
/** Sockets for what else a process has open. */
const SPARE_FILES = 200

/** Signing in is not what is measured here. */
const env = { ARGON2_MEMORY_KIB: '8192', ARGON2_PASSES: '1' }
const SERVERS = (['SQLite', 'MariaDB'] as const).map((database) =>
  kunci({ name: `Kunci on ${database}`, database, env, fill: addUsers }),
)

function requireFiles(streams: number): void {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  const [, hard = '0'] = /^Max open files +\d+ +(\d+)/m.exec(limits) ?? []
  if (Number(hard) < streams + SPARE_FILES)
    throw new NothingToMeasure(`${streams} streams need more open files than ${hard}: ulimit -Hn`)
}

/** The most memory that a process had while something was done, in MiB. */
async function peakDuring<T>(pid: number, work: () => Promise<T>): Promise<{ result: T; peakMib: number }> {
  let peakMib = 0
  const look = () => {
    peakMib = Math.max(peakMib, usageOf(pid)?.rssMib ?? 0)
  }
  const timer = setInterval(look, SAMPLE_EVERY_MS)
  try {
    const result = await work()
    look()
    return { result, peakMib }
  } finally {
    clearInterval(timer)
  }
}

/** Has somebody sign out whom all who listen may see. @returns how long it took until the last of them knew. */
async function broadcast(baseUrl: string, streams: readonly OpenStream[]): Promise<number> {
  const somebody = await signIn(baseUrl, USER)
  const named = `"sessionId":"${somebody.sessionId}"`
  await Promise.all(streams.map(({ hears }) => hears(named)))
  const heard = Promise.all(streams.map(({ hears }) => hears(`${named},"reason":"logout"`)))
  const startMs = performance.now()
  await signOut(baseUrl, somebody)
  return Math.max(...(await heard)) - startMs
}

/** Those who will read, some streams each. */
async function readers(baseUrl: string, count: number): Promise<Account[]> {
  const accounts = await inGroups(Array.from({ length: Math.ceil(count / OPEN_MAX.stream) }), () =>
    signIn(baseUrl, ADMIN),
  )
  return accounts.flatMap((account) => Array.from({ length: OPEN_MAX.stream }, () => account)).slice(0, count)
}

/** What so many streams weigh, and how soon all of them know. */
async function crowd(lab: Lab, name: string, running: Running, count: number): Promise<string[]> {
  const { baseUrl, pid } = running
  lab.progress.note(`${name}: opening ${count} streams`)
  const accounts = await readers(baseUrl, count)
  const position = await positionNow(baseUrl, accounts[0] as Account)
  const idleMib = usageOf(pid)?.rssMib ?? 0
  const { result: times, peakMib } = await peakDuring(pid, async () => {
    const streams = await inGroups(accounts, (account) => openStream(baseUrl, account, position))
    const took: number[] = []
    for (let i = 0; i < BROADCASTS; i++) took.push(await broadcast(baseUrl, streams))
    // All of them are looked after once.
    await sleep(BEAT_MS)
    took.push(await broadcast(baseUrl, streams))
    for (const stream of streams) stream.close()
    return took
  })
  const onTop = peakMib - idleMib
  const cells = [idleMib, peakMib, onTop].map((mib) => mib.toFixed(0))
  const kib = ((onTop * 1024) / count).toFixed(1)
  return [name, String(count), ...cells, kib, median(times).toFixed(0), Math.max(...times).toFixed(0)]
}

/** How long it takes from an operator's request until the client knows whose session it ends. */
async function forcedOnce(from: string, to: string, admin: Account): Promise<number> {
  const victim = await signIn(from, USER)
  const stream = await openStream(to, victim)
  await sleep(Math.random() * PAUSE_MAX_MS)
  const known = stream.hears('"reconnect":"never"')
  const startMs = performance.now()
  await forceOut(from, admin, victim)
  const tookMs = (await known) - startMs
  stream.close()
  return tookMs
}

async function forced(lab: Lab, name: string, from: string, to: string, count: number): Promise<string[]> {
  lab.progress.note(`${name}: ending ${count} sessions`)
  const admin = await signIn(from, ADMIN)
  const times: number[] = []
  for (let i = 0; i < count; i++) times.push(await forcedOnce(from, to, admin))
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => (sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN).toFixed(1)
  return [name, String(count), at(0.5), at(0.99), at(1)]
}

/** So many open streams on one node, and how soon a client knows that its session is over. */
export function streamsOf(count: number): Section {
  return {
    name: 'streams',
    measure: async (lab) => {
      requireFiles(count)
      const ended = Math.min(count, FORCED_MAX)
      const crowds: string[][] = []
      const ends: string[][] = []
      for (const server of chosen(SERVERS, lab.only)) {
        lab.progress.note(`preparing ${server.name}`)
        const running = await server.start(lab)
        crowds.push(await crowd(lab, server.name, running, count))
        ends.push(await forced(lab, server.name, running.baseUrl, running.baseUrl, ended))
        const other = await running.kunci?.startAnother()
        if (other !== undefined)
          ends.push(
            await forced(lab, `${server.name}, told on another node`, running.baseUrl, other.baseUrl, ended),
          )
      }
      const crowdHead = ['', 'streams', 'idle, MiB', 'most, MiB', 'on top, MiB', 'KiB a stream']
      return [
        table([...crowdHead, 'all know: median ms', 'max ms'], crowds),
        table(['', 'sessions ended', 'client knows: p50 ms', 'p99 ms', 'max ms'], ends),
      ].join('\n\n')
    },
  }
}
