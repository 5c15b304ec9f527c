/** How often each thing happened, by its name. */
export type Counts = Readonly<Record<string, number>>

/** Counts what happens in this process since its start: cheap enough for every request. */
export type Counters = ReturnType<typeof createCounters>

/** What was counted in several places, together; names in order. */
export function sumCounts(all: Iterable<Counts>): Counts {
  const total = new Map<string, number>()
  for (const counts of all)
    for (const [name, count] of Object.entries(counts)) total.set(name, (total.get(name) ?? 0) + count)
  return Object.fromEntries([...total].sort())
}

export function createCounters() {
  const counts = new Map<string, number>()
  let others: Counts = {}
  const own = (): Counts => Object.fromEntries(counts)
  return {
    add: (name: string): void => {
      counts.set(name, (counts.get(name) ?? 0) + 1)
    },
    own,
    /** Takes note of what the other workers behind this port have counted up to now. */
    learnOthers: (counted: Counts): void => {
      others = counted
    },
    /** Of this server: of this process and of its sisters. */
    all: (): Counts => sumCounts([own(), others]),
  }
}
