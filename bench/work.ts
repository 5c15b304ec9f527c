import type { SealedSuite } from '../src/crypto/suites.ts'
import { signedInShots } from './accounts.ts'
import type { Lab } from './lab.ts'
import type { Figures, Requests } from './load/load.ts'
import { checks, HAND_OUT, SUCCESS } from './prepare.ts'
import { handshakes, sealedChecks } from './sealed-clients.ts'
import type { Job, Running, SealedJob } from './targets.ts'

/** What a target does in its turns. */
export type Work = {
  /** Makes all that a turn of so many seconds needs. @returns what runs it: only that is measured. */
  readonly prepare: (seconds: number) => Promise<() => Promise<Figures>>
  /** Looks at what became of a turn. @returns its figures, with the errors that no driver can see. */
  readonly verify?: (figures: Figures) => Promise<Figures>
}

/** Requests that may be sent over and over. @throws {Error} when the server does not answer as it should. */
export async function repeatable(job: Job, running: Running): Promise<Requests> {
  const { baseUrl } = running
  if (job === 'GET /') return { shots: [{ method: 'GET', path: '/' }], success: SUCCESS }
  if (job === 'hand-out') return { shots: HAND_OUT, success: SUCCESS }
  if (job === 'check') return { shots: await checks(baseUrl), success: SUCCESS }
  if (job === 'open') return { shots: [{ method: 'GET', path: '/open' }], success: SUCCESS }
  if (job === 'guarded') return { shots: await signedInShots(baseUrl, '/guarded'), success: SUCCESS }
  return handshakes(running, suiteOf(job))
}

function suiteOf(job: SealedJob): SealedSuite {
  return job.slice(-2) as SealedSuite
}

function isSealedCheck(job: Job): job is SealedJob {
  return /^check S\d$/.test(job)
}

/** @throws {Error} when the server does not answer as it should. */
export async function workFor(lab: Lab, job: Job, running: Running): Promise<Work> {
  const underLoad = (requests: Requests, seconds: number) => () =>
    lab.driver.run({ baseUrl: running.baseUrl, connections: lab.connections, seconds, ...requests })
  if (isSealedCheck(job)) {
    const { seal, verify } = await sealedChecks(lab, running, suiteOf(job))
    return { prepare: async (seconds) => underLoad(await seal(seconds), seconds), verify }
  }
  const requests = await repeatable(job, running)
  return { prepare: async (seconds) => underLoad(requests, seconds) }
}
