/** Tells on stderr what is being done, and about how long it will still take. */
export type Progress = {
  note(text: string): void
  /** Says how many turns there will be, and how long each takes at least. */
  expect(turns: number, seconds: number): void
  /** A turn is over. */
  turn(text: string): void
}

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`
}

export function createProgress(print: (line: string) => void): Progress {
  let left = 0
  let turnS = 0
  let lastMs = performance.now()
  return {
    note: (text) => print(`bench: ${text}`),
    expect: (turns, seconds) => {
      left = turns
      turnS = seconds
      lastMs = performance.now()
      print(`bench: ${turns} turns, about ${duration(turns * seconds)}`)
    },
    turn: (text) => {
      const nowMs = performance.now()
      // A little of each turn's own length: the first ones are shorter, as they only warm up.
      turnS += ((nowMs - lastMs) / 1000 - turnS) / 4
      lastMs = nowMs
      left--
      print(`bench: ${text}${left > 0 ? `; about ${duration(left * turnS)} left` : ''}`)
    },
  }
}
