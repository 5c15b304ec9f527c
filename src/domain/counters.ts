/** How often each thing happened in this process since its start: cheap enough for every request. */
export type Counters = ReturnType<typeof createCounters>

export function createCounters() {
  const counts = new Map<string, number>()
  return {
    add: (name: string): void => {
      counts.set(name, (counts.get(name) ?? 0) + 1)
    },
    all: (): Record<string, number> => Object.fromEntries([...counts].sort()),
  }
}
