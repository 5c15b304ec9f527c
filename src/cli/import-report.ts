import { FINDINGS, type Finding, type FindingName } from '../domain/import/findings.ts'
import { aligned, oneLine } from './output.ts'

const SHOWN_ROWS = 10

/** All that was found, by what was found, in the order of the table and of the rows. */
export type Groups = ReadonlyMap<FindingName, readonly Finding[]>

export function grouped(findings: readonly Finding[]): Groups {
  const groups = new Map<FindingName, Finding[]>()
  for (const name of Object.keys(FINDINGS) as FindingName[]) groups.set(name, [])
  for (const found of findings) groups.get(found.finding)?.push(found)
  for (const group of groups.values()) group.sort((a, b) => a.row - b.row)
  return new Map([...groups].filter(([, group]) => group.length > 0))
}

/** How many rows were found to be so, by name; what was not found at all is left out. */
export function countsOf(groups: Groups): Record<string, number> {
  return Object.fromEntries([...groups].map(([name, group]) => [name, group.length]))
}

export function countLeftOut(groups: Groups): number {
  return [...groups].reduce((sum, [name, group]) => sum + (FINDINGS[name][0] === 'out' ? group.length : 0), 0)
}

export function findingView({ finding, row, customer, hash, licenceId, detail }: Finding) {
  return { finding, row, customer, hash, licence_id: licenceId, detail }
}

function groupText(name: FindingName, group: readonly Finding[]): string {
  const rows = group
    .slice(0, SHOWN_ROWS)
    .map(({ row, hash, customer, licenceId, detail }) => [
      '',
      `row ${row}`,
      ...[hash, customer, licenceId, detail].flatMap((cell) => (cell === null ? [] : oneLine(cell) || '-')),
    ])
  const more = group.length - SHOWN_ROWS
  return [
    `${FINDINGS[name][1]}: ${group.length}`,
    aligned(rows),
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ].join('\n')
}

/** Each finding with its count and its first rows. */
export function groupsText(groups: Groups): string {
  return [...groups].map(([name, group]) => groupText(name, group)).join('\n\n')
}
