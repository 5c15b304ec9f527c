import { availableParallelism } from 'node:os'
import { SETTINGS } from '../../src/config.ts'
import { kunci, target } from '../targets.ts'
import { compare, NothingToMeasure, type Section } from './section.ts'

const JOBS = ['hand-out', 'check'] as const

/** 1, 2, 4 … and as many as there are cores. */
export function workerCounts(cores: number): number[] {
  const counts = [1]
  for (let n = 2; n < cores; n *= 2) counts.push(n)
  return cores > 1 ? [...counts, cores] : counts
}

/** Whether more worker processes answer more. */
export const workers: Section = {
  name: 'workers',
  measure: async (lab) => {
    if (!Object.values(SETTINGS).some(({ env }: { env: string }) => env === 'WORKERS'))
      throw new NothingToMeasure('This Kunci has no setting WORKERS: there is nothing to compare')
    const [one, ...more] = workerCounts(availableParallelism()).map((n) =>
      kunci({ name: `Kunci on MariaDB, WORKERS=${n}`, database: 'MariaDB', env: { WORKERS: String(n) } }),
    )
    if (one === undefined || more.length === 0)
      throw new NothingToMeasure('This machine has one core: there is nothing to compare')
    const targets = [one, ...more].flatMap((server) => JOBS.map((job) => target(server, job)))
    const ratios = more.flatMap((many) =>
      JOBS.map((job) => ({
        ...{ label: `${job}: ${many.name} / WORKERS=1`, of: 'requests/s' as const },
        ...{ over: target(many, job).name, under: target(one, job).name },
      })),
    )
    return compare(lab, targets, ratios)
  },
}
