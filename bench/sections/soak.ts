import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab } from '../lab.ts'
import { median, usageOf } from '../measure.ts'
import { duration } from '../progress.ts'
import { table } from '../report.ts'
import { kunci, type Running, type Server } from '../targets.ts'
import { requireNoErrors, type Turn } from '../turns.ts'
import { repeatable } from '../work.ts'
import { chosen, NothingToMeasure, type Section } from './section.ts'

const SAMPLE_EVERY_MS = 2000
/** Well below the life of a session key: each stretch has sessions of its own. */
const STRETCH_S = 60
/** As in production: so that session keys expire and are cleaned away while the load goes on. */
const SESSION_KEY_TTL_S = '300'
const CONNECTIONS_EACH = 8
const JOBS = ['hand-out', 'check'] as const

const SERVERS = (['SQLite', 'MariaDB'] as const).map((database) =>
  kunci({ name: `Kunci on ${database}`, database, env: { SESSION_KEY_TTL_S } }),
)

export type Sample = { readonly atS: number; readonly rssMib: number }

/**
 * How memory went: medians of the first and the last third, and the slope of the straight line through all but the first
 * third, in which a server still takes what it needs.
 */
export function trendOf(samples: readonly Sample[]) {
  const third = Math.ceil(samples.length / 3)
  const rss = samples.map(({ rssMib }) => rssMib)
  const settled = samples.slice(third)
  const mean = (values: readonly number[]) => values.reduce((sum, n) => sum + n, 0) / values.length
  const [atMean, rssMean] = [mean(settled.map(({ atS }) => atS)), mean(rss.slice(third))]
  const covariance = settled.reduce((sum, { atS, rssMib }) => sum + (atS - atMean) * (rssMib - rssMean), 0)
  const variance = settled.reduce((sum, { atS }) => sum + (atS - atMean) ** 2, 0)
  return {
    firstMib: median(rss.slice(0, third)),
    lastMib: median(rss.slice(-third)),
    mibPerHour: (covariance / variance) * 3600,
  }
}

/** One stretch of load on one server: hand-outs and checks at once. */
async function stretch(
  lab: Lab,
  name: string,
  running: Running,
  seconds: number,
  n: number,
): Promise<Turn[]> {
  return Promise.all(
    JOBS.map(async (job) => {
      const requests = await repeatable(job, running)
      const load = { baseUrl: running.baseUrl, ...requests, connections: CONNECTIONS_EACH, seconds }
      return { target: `${name}: ${job}`, round: n, figures: await lab.driver.run(load) }
    }),
  )
}

async function sample(pid: number, into: Sample[], signal: AbortSignal): Promise<void> {
  const startMs = performance.now()
  while (!signal.aborted) {
    const usage = usageOf(pid)
    if (usage !== undefined) into.push({ atS: (performance.now() - startMs) / 1000, rssMib: usage.rssMib })
    await sleep(SAMPLE_EVERY_MS, undefined, { signal }).catch(() => {})
  }
}

type Soaked = { readonly name: string; readonly turns: Turn[]; readonly samples: Sample[] }

async function soak(lab: Lab, { name, start }: Server, totalS: number): Promise<Soaked> {
  const running = await start(lab)
  const [turns, samples]: [Turn[], Sample[]] = [[], []]
  const over = new AbortController()
  const sampling = sample(running.pid, samples, over.signal)
  try {
    for (let [leftS, n] = [totalS, 1]; leftS > 0; leftS -= STRETCH_S, n++) {
      turns.push(...(await stretch(lab, name, running, Math.min(STRETCH_S, leftS), n)))
      lab.progress.note(`${name}: ${duration(Math.max(0, leftS - STRETCH_S))} left`)
    }
  } finally {
    over.abort()
    await sampling
  }
  return { name, turns, samples }
}

function rowOf({ name, turns, samples }: Soaked): string[] {
  const { firstMib, lastMib, mibPerHour } = trendOf(samples)
  const requests = turns.reduce((sum, { figures }) => sum + figures.requests, 0)
  const growth = (lastMib / firstMib).toFixed(2)
  const mib = (n: number) => n.toFixed(0)
  return [name, requests.toLocaleString('en'), `**${growth}**`, mib(firstMib), mib(lastMib), mib(mibPerHour)]
}

/** Whether memory stays flat: both databases at once under a steady load, with the life of keys as in production. */
export function soakFor(minutes: number): Section {
  return {
    name: 'soak',
    measure: async (lab) => {
      const servers = chosen(SERVERS, lab.only)
      if (usageOf(process.pid) === undefined)
        throw new NothingToMeasure('This system has no /proc, from which memory is read')
      lab.progress.note(`steady load for ${duration(minutes * 60)}`)
      const soaked = await Promise.all(servers.map((server) => soak(lab, server, minutes * 60)))
      requireNoErrors(soaked.flatMap(({ turns }) => turns))
      const head = [
        '',
        'requests',
        'last / first third',
        'first third, MiB',
        'last third, MiB',
        'slope, MiB an hour',
      ]
      return `${duration(minutes * 60)} under steady load.\n\n${table(head, soaked.map(rowOf))}`
    },
  }
}
