import { openDatabase } from '../src/app.ts'
import type { SealedSuite } from '../src/crypto/suites.ts'
import { MAX_SEQ } from '../src/wire/sealed.ts'
import {
  checkData,
  type Hardware,
  openSession,
  type Post,
  posting,
  type SealedSession,
} from '../test/support/sealed.ts'
import type { Lab } from './lab.ts'
import { type Figures, happened, type Requests, rateOf, type Shot } from './load/load.ts'
import { inGroups } from './prepare.ts'
import type { Running } from './targets.ts'

/** More than any server answers while it warms up; what it does then says how much later turns need. */
const FIRST_PER_S = 20_000
const MARGIN = 2
/** Every sealed reply has a box; no plain error has. */
const SUCCESS = '"box":"'

function hardwareOf(machine: number): Hardware {
  const serial = String(1_000_000_000 + machine)
  return {
    board: [`BOARD${serial}`],
    bios: [`BIOS${serial}`],
    disk: [`DISK${serial}`],
    mac: [`02${serial}`, `06${serial}`],
    osid: [`OSID${serial}`],
    cpu: ['BFEBFBFF000906EA'],
  }
}

function clientsOf({ kunci, baseUrl }: Running, suite: SealedSuite) {
  const pin = kunci?.handed.pins.find((pin) => pin.suite === suite)
  if (kunci === undefined || pin === undefined) throw new Error(`no suite ${suite} is served at ${baseUrl}`)
  const machines = kunci.handed.licenceKeys.map((key, i) => checkData(key, hardwareOf(i)))
  return { config: kunci.config, pin, machines, post: posting(baseUrl) }
}

/**
 * The first message of a client, whose answer was opened once. To a server it may come as often as it will: each is the
 * beginning of another session.
 */
export async function handshakes(running: Running, suite: SealedSuite): Promise<Requests> {
  const { pin, post } = clientsOf(running, suite)
  const shots: Shot[] = []
  const noting: Post = (path, body) => {
    shots.push({ method: 'POST', path, body: JSON.stringify(body) })
    return post(path, body)
  }
  await openSession(noting, pin)
  return { shots, success: SUCCESS }
}

type Client = { readonly data: ReturnType<typeof checkData>; session: SealedSession; used: number }

/** Enrols a machine, by a check like those that will be measured. @throws {Error} when it is not granted. */
async function enrol(session: SealedSession, data: Client['data']): Promise<Client> {
  const reply = await session.call('licence.check', data)
  const { valid, lease, variables } = reply.data as {
    valid: boolean
    lease: string
    variables: { sk: string }
  }
  if (reply.status !== 200 || valid !== true || lease.split('.').length !== 3 || variables.sk !== 'sk')
    throw new Error(`A machine was not granted: ${JSON.stringify(reply)}`)
  return { data, session, used: 1 }
}

/**
 * Sealed checks by a thousand machines that were granted once, each in a session of its own. A message can be used once,
 * so every turn has new ones.
 * @throws {Error} when one is not granted.
 */
export async function sealedChecks(lab: Lab, running: Running, suite: SealedSuite) {
  const { config, pin, machines, post } = clientsOf(running, suite)
  const begin = () => openSession(post, pin)
  const clients = await inGroups(machines, async (data) => enrol(await begin(), data))
  const db = await openDatabase(config)
  lab.cleanup.defer(() => db.close())
  let before = { events: 0, messages: 0 }
  let sealed = 0
  let perS: number | undefined

  /** What was decided and what was answered, at one moment. */
  async function counts() {
    const [row] = await db.all<{ events: number; messages: number }>(
      `SELECT (SELECT COUNT(*) FROM kunci_events WHERE type = 'licence_check_allowed') AS events,
              (SELECT COUNT(*) FROM kunci_session_messages) AS messages`,
    )
    return { events: Number(row?.events), messages: Number(row?.messages) }
  }

  function shot({ session, data }: Client): Shot {
    const { body } = session.seal('licence.check', data)
    const authorization = `Bearer ${session.token}`
    return { method: 'POST', path: '/v1/call', authorization, body: JSON.stringify(body) }
  }

  /** One message of each machine, then the next of each, with a margin over what a turn was seen to use. */
  async function seal(seconds: number): Promise<Requests> {
    const shots: Shot[] = []
    for (const wanted = Math.ceil((perS ?? FIRST_PER_S) * seconds); shots.length < wanted; ) {
      const used = clients.filter((client) => client.used === MAX_SEQ)
      await inGroups(used, async (client) => Object.assign(client, { session: await begin(), used: 0 }))
      for (const client of clients) shots.push(shot(client))
      for (const client of clients) client.used++
    }
    sealed = shots.length
    before = await counts()
    return { shots, success: SUCCESS }
  }

  /** Every message must have been decided once: those under way at the end were not waited for, but may be decided too. */
  async function verify(figures: Figures): Promise<Figures> {
    const after = await counts()
    const [events, messages] = [after.events - before.events, after.messages - before.messages]
    const { requests } = figures
    perS = Math.max(perS ?? 0, MARGIN * rateOf(figures))
    const lost = {
      'no message left': Math.max(0, requests + lab.connections - sealed),
      'answered, not granted': Math.max(0, requests - events),
      'granted, not asked': Math.max(0, events - requests - lab.connections),
      'granted, no message': Math.abs(events - messages),
    }
    return { ...figures, errors: { ...figures.errors, ...happened(lost) } }
  }

  return { seal, verify }
}
