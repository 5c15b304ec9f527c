import type { ServerResponse } from 'node:http'
import { CALL, SESSION, type Spectacle, textOf } from '../http.ts'
import { type Adversary, type Attack, at, EVERY_SUITE, Flaw, type Stage } from './attack.ts'

const MIB = 1024 * 1024
const CHUNK = ' '.repeat(64 * 1024)
/** What sockets on both sides may hold without the client having read any of it. */
const IN_TRANSIT_BYTES = 16 * MIB
/** In time-outs: no client keeps its own to the millisecond. */
const PATIENCE = 2
const NESTED = 30_000
const MEMBERS = 1_000_000

const BOTH = [
  ['the handshake', SESSION],
  ['the call', CALL],
] as const

/** A genuine reply with so many blanks behind it: JSON all the same. */
function enlarged(path: string, bytes: number): Adversary {
  return at(path, (request, server) => {
    const reply = server.answer(request)
    return { ...reply, body: textOf(reply).padEnd(bytes) }
  })
}

type Endless = { readonly adversary: Adversary; mostBytes(): number }

/** A genuine reply that does not end, as fast as the client takes it. */
function endless(path: string): Endless {
  let most = 0
  const pour = (text: string, response: ServerResponse) => {
    let sent = 0
    const more = () => {
      let isTaken = true
      while (isTaken && !response.destroyed) {
        isTaken = response.write(CHUNK)
        sent += CHUNK.length
        most = Math.max(most, sent)
        if (sent > 2 * IN_TRANSIT_BYTES) response.destroy()
      }
    }
    response.on('drain', more).writeHead(200, { 'content-type': 'application/json' }).write(text)
    more()
  }
  const adversary = at(path, (request, server) => {
    const text = textOf(server.answer(request))
    return (response) => pour(text, response)
  })
  return { adversary, mostBytes: () => most }
}

type Slow = { readonly adversary: Adversary; isPatient(): boolean }

/** Ten bytes in the time that the client gives the whole request; what it asks after that is not answered. */
function slow(path: string, timeoutMs: number): Slow {
  let hasBegun = false
  let isPatient = false
  const drip = (text: string, response: ServerResponse) => {
    hasBegun = true
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length })
    let next = 0
    const dripping = setInterval(() => response.write(text.charAt(next++)), timeoutMs / 10)
    const waiting = setTimeout(() => {
      isPatient = true
      response.destroy()
    }, PATIENCE * timeoutMs)
    response.on('close', () => {
      clearInterval(dripping)
      clearTimeout(waiting)
    })
  }
  const hangUp: Spectacle = (response) => response.destroy()
  const adversary = at(path, (request, server) => {
    if (hasBegun) return hangUp
    const text = textOf(server.answer(request))
    return (response) => drip(text, response)
  })
  return { adversary, isPatient: () => isPatient }
}

async function giveUpInTime({ timeoutMs, play }: Stage, what: string, path: string): Promise<void> {
  const { adversary, isPatient } = slow(path, timeoutMs)
  await play(what, adversary)
  if (isPatient())
    throw new Flaw('waited on', `${what}: after ${(PATIENCE * timeoutMs) / 1000} s the client still listened`)
}

const nested = '['.repeat(NESTED) + ']'.repeat(NESTED)

/** With the nest in place of its box. As text, for what writes JSON has its depth too. */
const nesting = (path: string): Adversary =>
  at(path, (request, server) => {
    const reply = server.answer(request)
    return { ...reply, body: textOf(reply).replace(/"box":"[^"]*"/, `"box":${nested}`) }
  })

let crowd: string | undefined

/** Made once, and not before it is wanted. */
function theCrowd(): string {
  crowd ??= Array.from({ length: MEMBERS }, (_, n) => `"m${n}":0,`).join('')
  return crowd
}

/** With a million members before its own. */
const crowded = (path: string): Adversary =>
  at(path, (request, server) => {
    const reply = server.answer(request)
    return { ...reply, body: textOf(reply).replace('{', `{${theCrowd()}`) }
  })

/** Who sends more than a client should take. */
export const FLOODS: readonly Attack[] = [
  {
    name: 'oversized_reply',
    title: 'blows a genuine reply up to 10 MiB',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [what, path] of BOTH) await play(what, enlarged(path, 10 * MIB))
    },
  },
  {
    name: 'endless_reply',
    title: 'sends a genuine reply that does not end',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [what, path] of BOTH) {
        const { adversary, mostBytes } = endless(path)
        await play(what, adversary)
        if (mostBytes() > IN_TRANSIT_BYTES)
          throw new Flaw('read on', `${what}: the client read more than ${IN_TRANSIT_BYTES / MIB} MiB`)
      }
    },
  },
  {
    name: 'slow_reply',
    title: 'sends a genuine reply a byte at a time',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async (stage) => {
      await Promise.all(BOTH.map(([what, path]) => giveUpInTime(stage, what, path)))
    },
  },
  {
    name: 'json_bomb',
    title: 'nests JSON 30,000 deep, or a million members wide',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    play: async ({ play }) => {
      for (const [what, path] of BOTH) {
        const nest = { status: 200, body: nested }
        await play(
          `${what}: nothing but a nest`,
          at(path, () => nest),
        )
        await play(`${what}: a nest for a box`, nesting(path))
        await play(`${what}: a million members first`, crowded(path))
      }
    },
  },
]
