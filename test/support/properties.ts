import fc from 'fast-check'
import type { Test } from 'tap'

/** Fails with the smallest counterexample and the seed that finds it again. */
export function holds<Values>(t: Test, property: fc.IProperty<Values>, name: string, numRuns = 200): void {
  t.equal(fc.defaultReportMessage(fc.check(property, { numRuns })), undefined, name)
}

/** Exactly so many bytes. */
export const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

/** One ASCII text, cut into so many parts in two ways: what an encoding that forgets a length takes for the same. */
export function twoSplits(parts: number): fc.Arbitrary<[string[], string[]]> {
  const cuts = fc.array(fc.nat(24), { minLength: parts - 1, maxLength: parts - 1 })
  return fc.tuple(fc.string({ unit: 'binary-ascii', maxLength: 24 }), cuts, cuts).map(([text, ...ways]) => {
    const [one = [], other = []] = ways.map((way) => {
      const ends = [0, ...way.sort((a, b) => a - b), text.length]
      return ends.slice(1).map((end, i) => text.slice(ends[i], end))
    })
    return [one, other]
  })
}
