import type { ComponentType } from '../wire/sealed.ts'

/**
 * When two sightings are of one machine. Judged against what was enrolled, so that sending fewer components never
 * helps: what is left out only lowers the score.
 */

const WEIGHTS: Readonly<Record<ComponentType, number>> = {
  tpm: 4,
  board: 3,
  bios: 3,
  disk: 3,
  mac: 2,
  osid: 2,
  cpu: 1,
}
const ANCHORS: ReadonlySet<string> = new Set<ComponentType>(['tpm', 'board', 'bios', 'disk'])
const MATCH_NUMERATOR = 3
const MATCH_DENOMINATOR = 5
const HAVE_MIN = 6
const ENROL_COMPONENTS_MIN = 3
const ENROL_WEIGHT_MIN = 7

/** The values of each component type, in whatever form equality means the same machine part. */
export type Parts = ReadonlyMap<string, readonly string[]>

export type Match = {
  /** The weight of what is enrolled. */
  readonly have: number
  /** The weight of what of it was seen again. */
  readonly hit: number
  /** Whether a part that is hard to copy was seen again. */
  readonly anchor: boolean
  readonly isSame: boolean
}

function weightOf(type: string): number {
  return WEIGHTS[type as ComponentType] ?? 0
}

/** Compares a machine that is seen with one that is enrolled. */
export function match(enrolled: Parts, seen: Parts): Match {
  let [have, hit, anchor] = [0, 0, false]
  for (const [type, values] of enrolled) {
    have += weightOf(type)
    if (!values.some((value) => seen.get(type)?.includes(value))) continue
    hit += weightOf(type)
    anchor ||= ANCHORS.has(type)
  }
  const isSame = MATCH_DENOMINATOR * hit >= MATCH_NUMERATOR * have && have >= HAVE_MIN && anchor
  return { have, hit, anchor, isSame }
}

/** Whether enough is known of a machine to know it again: three components, a weight of seven, and an anchor. */
export function isEnrollable(parts: Parts): boolean {
  const types = [...parts.keys()].filter((type) => weightOf(type) > 0)
  const weight = types.reduce((sum, type) => sum + weightOf(type), 0)
  return (
    types.length >= ENROL_COMPONENTS_MIN &&
    weight >= ENROL_WEIGHT_MIN &&
    types.some((type) => ANCHORS.has(type))
  )
}
