import type { Ratio } from '../report.ts'
import { bareRoute, baseline, guardedRoute, kunci, type Server, target } from '../targets.ts'
import { compare, type Section } from './section.ts'

const onSqlite = kunci({ name: 'Kunci on SQLite', database: 'SQLite' })
const onMariadb = kunci({ name: 'Kunci on MariaDB', database: 'MariaDB' })
const withForge = baseline('forge')
const withNode = baseline('node')
const routes = [guardedRoute('SQLite'), guardedRoute('MariaDB')]

const TARGETS = [
  target(bareRoute, 'GET /'),
  ...[onSqlite, onMariadb, withForge, withNode].flatMap((server) => [
    target(server, 'hand-out'),
    target(server, 'check'),
  ]),
  ...routes.flatMap((server) => [target(server, 'open'), target(server, 'guarded')]),
]

function ratio(of: Ratio['of'], job: 'hand-out' | 'check', over: Server, under: Server): Ratio {
  const below = under === bareRoute ? target(under, 'GET /') : target(under, job)
  return {
    label: `${job}: ${over.name} / ${under.name}`,
    of,
    over: target(over, job).name,
    under: below.name,
  }
}

const RATIOS: readonly Ratio[] = [
  ratio('requests/s', 'hand-out', onMariadb, withForge),
  ratio('requests/s', 'check', onMariadb, withForge),
  ratio('requests/s', 'check', onMariadb, withNode),
  ratio('p99', 'hand-out', onMariadb, withForge),
  ratio('p99', 'check', onMariadb, withForge),
  ratio('p99', 'check', onMariadb, withNode),
  ratio('requests/s', 'hand-out', onSqlite, bareRoute),
  ratio('requests/s', 'check', onSqlite, bareRoute),
  ...routes.map((server) => ({
    ...{ label: `${server.name}: what one who is signed in costs, in others`, of: 'requests/s' as const },
    ...{ over: target(server, 'open').name, under: target(server, 'guarded').name },
  })),
  // The same code twice: how far from 1 chance alone brings a ratio.
  {
    ...ratio('requests/s', 'hand-out', withNode, withForge),
    label: 'hand-out: baseline / the same once more',
  },
]

/** Kunci beside the bare framework and beside the baseline. */
export const comparison: Section = { name: 'comparison', measure: (lab) => compare(lab, TARGETS, RATIOS) }
