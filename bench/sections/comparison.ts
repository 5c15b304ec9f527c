import { addUsers } from '../accounts.ts'
import type { Ratio } from '../report.ts'
import { bareRoute, baseline, kunci, type Server, target } from '../targets.ts'
import { compare, type Section } from './section.ts'

const onSqlite = kunci({ name: 'Kunci on SQLite', database: 'SQLite', fill: addUsers })
const onMariadb = kunci({ name: 'Kunci on MariaDB', database: 'MariaDB', fill: addUsers })
const withForge = baseline('forge')
const withNode = baseline('node')

const TARGETS = [
  target(bareRoute, 'GET /'),
  ...[onSqlite, onMariadb, withForge, withNode].flatMap((server) => [
    target(server, 'hand-out'),
    target(server, 'check'),
  ]),
  ...[onSqlite, onMariadb].flatMap((server) => [
    target(server, 'GET /health/live'),
    target(server, 'GET /api/auth/me'),
  ]),
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
  ...[onSqlite, onMariadb].map((server) => ({
    ...{
      label: `${server.name}: what a request of somebody signed in costs, in others`,
      of: 'requests/s' as const,
    },
    ...{ over: target(server, 'GET /health/live').name, under: target(server, 'GET /api/auth/me').name },
  })),
  // The same code twice: how far from 1 chance alone brings a ratio.
  {
    ...ratio('requests/s', 'hand-out', withNode, withForge),
    label: 'hand-out: baseline / the same once more',
  },
]

/** Kunci beside the bare framework and beside the baseline. */
export const comparison: Section = { name: 'comparison', measure: (lab) => compare(lab, TARGETS, RATIOS) }
